"""STOP on every page: one action, told before and after, never ready where it is not."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from installation import until
from scale import LONG
from scripted_world import World, row
from visits import HEIGHT, PAGES, Visits

pytestmark = pytest.mark.usefixtures("as_root")


@pytest.fixture(autouse=True)
def some(world: World) -> Iterator[None]:
    world.clear()
    world.put(row("shop/agent"), row("shop/search"), row("lab/train"))
    until(lambda: "3 targets" in _board(world), "the station sees them")
    yield
    assert not world.house.said(), world.house.said()


def _board(world: World) -> str:
    if not hasattr(world, "client"):
        world.client = world.house.client()  # type: ignore[attr-defined]
    return str(world.client.get("/").text)  # type: ignore[attr-defined]


def _hold(page: Any, seconds: float) -> None:  # noqa: ANN401
    page.locator("#stop").hover()
    page.mouse.down()
    time.sleep(seconds)
    page.mouse.up()


def _confirmed(page: Any, before: str | None, words: str = "CONFIRMED") -> str:  # noqa: ANN401
    """Wait until another press than `before` is confirmed; `benchmarks/station.py` times it."""
    press = page.locator("#press")
    end = time.monotonic() + 10.0
    while True:
        name = str(press.get_attribute("data-press"))
        if name != before and words in press.inner_text():
            return name
        assert time.monotonic() < end, f"not {words}: {press.inner_text()}"
        time.sleep(0.01)


def _stops(world: World) -> list[dict[str, Any]]:
    return [each for each in world.heard if each["op"] == "stop"]


def test_HMI_1_one_click_stops_from_every_page_without_a_script(
    world: World, visits: Visits
) -> None:
    page = visits.open(PAGES[0], script=False)
    for count, path in enumerate(PAGES if LONG else PAGES[::3], 1):
        page.goto(world.house.url + path)
        page.locator("#stop").click()
        page.locator(".outcome").get_by_text("CONFIRMED").first.wait_for()
        assert len(_stops(world)) == count, path
    assert {each["level"] for each in _stops(world)} == {"kill"}
    assert {each["by"] for each in _stops(world)} == {"person:operator"}


def test_HMI_1_a_press_held_for_400_ms_stops_from_every_page_and_from_the_same_place(
    world: World, visits: Visits
) -> None:
    page = visits.open()
    seen, places = page.locator("#press").get_attribute("data-press"), set()
    for count, path in enumerate(PAGES if LONG else PAGES[:3], 1):
        page.goto(world.house.url + path)
        box = page.locator("#stop").bounding_box()
        places.add((box["x"], box["width"]))
        assert HEIGHT - 20 - box["y"] - box["height"] < 140, "at the bottom of the window"
        _hold(page, 0.42)
        seen = _confirmed(page, seen)
        assert len(_stops(world)) == count, path
    assert len(places) == 1
    assert page.errors == []


def test_HMI_1_a_press_that_is_let_go_early_stops_nothing(world: World, visits: Visits) -> None:
    page = visits.open()
    _hold(page, 0.25)
    page.get_by_text("Nothing was stopped").wait_for(timeout=1000)
    time.sleep(0.3)
    assert _stops(world) == []


def test_HMI_1_one_chord_stops_from_wherever_the_focus_is(world: World, visits: Visits) -> None:
    page = visits.open("/scope/shop")
    assert "Ctrl+Shift+Enter" in page.locator("#stop").inner_text().replace(" ", "")
    assert page.locator("#stop").get_attribute("aria-keyshortcuts") == "Control+Shift+Enter"
    before = page.locator("#press").get_attribute("data-press")
    page.get_by_label("Level").focus()
    page.keyboard.press("Control+Shift+Enter")
    _confirmed(page, before)
    assert [each["scopes"] for each in _stops(world)] == [["shop"]]


def test_HMI_1_a_key_on_the_focused_button_stops_at_once(world: World, visits: Visits) -> None:
    page = visits.open("/target/lab/train")
    before = page.locator("#press").get_attribute("data-press")
    for count, key in enumerate(("Enter", "Space"), 1):
        page.locator("#stop").focus()
        page.keyboard.press(key)
        before = _confirmed(page, before)
        assert [each["scopes"] for each in _stops(world)] == [["lab/train"]] * count


def test_HMI_1_a_finger_holds_it_as_a_mouse_does(world: World, visits: Visits) -> None:
    page = visits.open(
        context=visits.context(has_touch=True, viewport={"width": 390, "height": 844})
    )
    box = page.locator("#stop").bounding_box()
    at = [{"x": box["x"] + 50, "y": box["y"] + 20}]
    touch = page.context.new_cdp_session(page)
    for seconds, count in ((0.2, 0), (0.45, 1)):
        touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": at})
        time.sleep(seconds)
        touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        until(lambda want=count: len(_stops(world)) == want, f"{count} after {seconds} s", 2)


def test_HMI_1_what_is_not_confirmed_says_what_may_still_act_and_what_to_do(
    world: World, visits: Visits
) -> None:
    world.confirms = False
    page = visits.open("/scope/lab")
    press = page.locator("#press")
    before = press.get_attribute("data-press")
    page.keyboard.press("Control+Shift+Enter")
    _confirmed(page, before, "NOT CONFIRMED")
    said = press.inner_text()
    assert "May still act: lab/train (process: 7 live)" in said
    assert "Next:" in said
    assert press.get_attribute("aria-live") == "assertive"


def test_HMI_2_whom_it_hits_and_leaves_stands_beside_it_before_and_after(
    world: World, visits: Visits
) -> None:
    world.put(row("shop/lost", "unknown"), untracked=[{"pid": 7, "name": "rogue", "since": 1}])
    page = visits.open("/scope/shop")
    span = page.locator("#span")
    span.get_by_text("shop/lost (no answer").wait_for()
    assert "Hits 3: shop/agent, shop/lost, shop/search" in span.inner_text()
    assert "Leaves 1 running: lab/train" in span.inner_text()
    assert "rogue (pid 7) (under no switch)" in span.inner_text()
    world.stop("shop", "shop/agent", "shop/search")
    span.get_by_text("latches 2 that do not run").wait_for()
    assert "Hits 1: shop/lost" in span.inner_text()


def test_HMI_3_a_layer_that_is_not_ready_changes_look_text_and_aria_within_two_seconds(
    world: World, visits: Visits
) -> None:
    page = visits.open("/scope/shop")
    stop = page.get_by_role("button", name=re.compile("STOP shop"))
    look = "el => getComputedStyle(el).backgroundImage + getComputedStyle(el).borderStyle"
    assert "degraded" not in stop.inner_text()
    assert page.locator("#stop-lacks").text_content() == "Ready."
    before = stop.evaluate(look)
    for state in ("degraded", "unproven", "absent"):
        broken = dict.fromkeys(("guard", "process", "sweep"), "ready") | {"network": state}
        began = time.monotonic()
        world.put(row("shop/agent", readiness=broken))
        stop.get_by_text(f"(degraded: network {state} on 1 of 2)").wait_for(timeout=2000)
        assert time.monotonic() - began < 2
        assert stop.evaluate(look) != before
        assert f"network {state} on 1 of 2" in (page.locator("#stop-lacks").text_content() or "")
    world.put(row("shop/agent"))
    page.locator("#bar.is-ready").wait_for(timeout=2000)
    assert stop.evaluate(look) == before


def test_HMI_3_without_observer_or_after_a_failed_drill_it_is_not_ready(
    world: World, visits: Visits
) -> None:
    page = visits.open()
    stop = page.locator("#stop")
    there = {"keeper": True, "observer": False, "recorder": True}
    world.put(processes=there)
    stop.get_by_text("no observer").wait_for(timeout=2000)
    world.put(processes=there | {"observer": True}, doubts={"sweep": ["nothing was seen", 1]})
    stop.get_by_text("sweep unproven: the last drill").wait_for(timeout=2000)


def test_DEC_2_the_reason_is_asked_for_only_once_it_is_done(world: World, visits: Visits) -> None:
    page = visits.open("/target/lab/train", script=False)
    assert page.locator("textarea").count() == 0
    page.locator("#stop").click()
    page.get_by_text("CONFIRMED").first.wait_for()
    assert [each["reason"] for each in _stops(world)] == [""]
    page.get_by_label("Why did you?").fill("it <b>wrote</b> prices")
    page.get_by_role("button", name="Record").click()
    page.get_by_text("Recorded.").wait_for()


def test_a_level_below_kill_is_chosen_beside_the_button(world: World, visits: Visits) -> None:
    page = visits.open("/scope/lab")
    page.get_by_label("Level").select_option("freeze")
    _hold(page, 0.45)
    until(lambda: _stops(world), "it is pressed", 2)
    assert _stops(world)[0]["level"] == "freeze"
