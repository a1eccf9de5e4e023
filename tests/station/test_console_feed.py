"""The live feed: what changes is there at once, and a page that hears nothing says NOT LIVE."""

from __future__ import annotations

import signal
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from installation import until
from scale import LONG, runs
from scripted_world import World, row
from visits import Visits

pytestmark = pytest.mark.usefixtures("as_root")

LONG_ONLY = pytest.mark.skipif(not LONG, reason="OFFSWITCH_LONG=1")

DEAD_S = 3.0
RANG = """name => new Promise(done => {
    const seen = () => {
        const found = [...document.querySelectorAll(".line")].find(
            each => each.textContent.includes(name) && each.textContent.includes("frozen"));
        if (found) requestAnimationFrame(() => done(Date.now() + performance.now() % 1));
        return found;
    };
    new MutationObserver((_, self) => seen() && self.disconnect())
        .observe(document.body, {subtree: true, childList: true, characterData: true});
    seen();
})"""


@pytest.fixture(autouse=True)
def some(world: World) -> Iterator[None]:
    world.clear()
    world.put(row("shop/agent"), row("shop/search"))
    yield
    assert not world.house.said(), world.house.said()


def _is_live(page: Any) -> bool:  # noqa: ANN401
    return bool(page.evaluate("document.body.dataset.live") == "yes")


def _live(page: Any) -> Any:  # noqa: ANN401
    until(lambda: _is_live(page), "it is live", 10)
    return page


@contextmanager
def _frozen(world: World) -> Iterator[None]:
    assert world.house.station is not None
    world.house.station.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        world.house.station.send_signal(signal.SIGCONT)


def _says_not_live_in_time(page: Any, began: float) -> None:  # noqa: ANN401
    banner = page.locator("#not-live")
    banner.wait_for(state="visible", timeout=(DEAD_S - time.monotonic() + began) * 1000)
    assert time.monotonic() - began < DEAD_S
    assert banner.get_attribute("role") == "alert"
    assert page.title().startswith("NOT LIVE")
    assert (
        float(page.locator("main > *:visible").last.evaluate("e => getComputedStyle(e).opacity"))
        < 1
    )


def test_HMI_3_a_feed_that_stalls_silently_makes_the_whole_page_say_not_live(
    world: World, visits: Visits
) -> None:
    page = _live(visits.open())
    began = time.monotonic()
    with _frozen(world):
        _says_not_live_in_time(page, began)
        assert (
            "again and again until the station hears it" in page.locator("#not-live").inner_text()
        )
        stop = page.locator("#stop")
        assert stop.is_enabled()
        assert "not live: it is sent all the same" in stop.inner_text()
        page.keyboard.press("Control+Shift+Enter")
        page.get_by_text("NOT SENT").wait_for(timeout=5000)
        assert "offswitch stop --all" in page.locator("#said").inner_text()
    until(lambda: any(one["op"] == "stop" for one in world.heard), "it is sent once it can be")
    _live(page)
    assert page.locator("#not-live").is_hidden()
    assert not page.title().startswith("NOT LIVE")


@LONG_ONLY
def test_a_page_whose_own_clock_the_browser_holds_back_still_says_not_live(
    world: World, visits: Visits
) -> None:
    """As browsers do in the background; the worker's clock goes on."""
    context = visits.context()
    context.add_init_script("window.setInterval = () => 0")
    page = _live(visits.open(context=context))
    began = time.monotonic()
    with _frozen(world):
        _says_not_live_in_time(page, began)


def test_HMI_3_a_silent_warden_is_not_live_and_stop_says_what_it_will_do(
    world: World, visits: Visits
) -> None:
    page = _live(visits.open())
    world.silent = True
    began = time.monotonic()
    _says_not_live_in_time(page, began)
    stop = page.locator("#stop")
    stop.get_by_text("keeper and spool are pressed, too").wait_for()
    assert stop.is_enabled()
    assert page.locator(".line").first.inner_text().count("unknown") == 1
    world.silent = False
    _live(page)
    page.locator("#bar.is-ready").wait_for()


@LONG_ONLY
def test_without_a_script_a_page_says_that_it_does_not_move_and_loads_itself_again(
    world: World, visits: Visits
) -> None:
    page = visits.open(script=False)
    assert "does not move by itself" in page.locator(".no-script").inner_text()
    page.get_by_text("shop/agent").first.wait_for()
    world.put(row("shop/agent", "frozen", level="freeze", confirmed=True))
    page.get_by_text("frozen").first.wait_for(timeout=8000)


def test_a_change_replaces_the_row_that_changed_and_no_other(world: World, visits: Visits) -> None:
    page = _live(visits.open("/scope/shop"))
    page.get_by_text("shop/search").first.wait_for()
    page.evaluate("document.querySelectorAll('.line').forEach(e => e.mark = 1)")
    touched = """() => { window.touched = new Set(); new MutationObserver(all => all.forEach(
        one => window.touched.add(one.target.parentElement?.closest('.line')?.textContent)))
        .observe(document.querySelector('main'), {subtree: true, characterData: true,
        childList: true, attributes: true}) }"""
    page.evaluate(touched)
    world.put(row("shop/search", kind="model"))
    page.get_by_text("model", exact=True).wait_for()
    assert page.evaluate("[...document.querySelectorAll('.line')].every(e => e.mark)")
    rows = [each for each in page.evaluate("[...window.touched]") if each]
    assert all("shop/search" in each for each in rows), rows


def test_what_is_open_and_typed_outlives_a_change(world: World, visits: Visits) -> None:
    page = _live(visits.open("/scope/shop"))
    world.put(notes=["one", "two"])
    notes = page.locator(".notes")
    notes.locator("summary").click()
    page.get_by_label("Level").select_option("freeze")
    world.put(row("shop/agent", stale=["engine"]), notes=["one", "two", "three"])
    page.get_by_text("STALE: engine").wait_for()
    assert notes.evaluate("e => e.open")
    assert page.get_by_label("Level").input_value() == "freeze"


def test_the_feed_ends_with_the_session(world: World, visits: Visits) -> None:
    context = visits.context(anew=True)
    page = _live(visits.open(context=context))
    other = visits.open(context=context)
    other.get_by_role("button", name="Sign out").click()
    page.get_by_text("The feed has ended: signed out").wait_for(timeout=4000)
    assert not _is_live(page)
    visits._cookies.clear()


def test_a_browser_keeps_four_feeds_so_that_a_press_finds_a_connection(
    world: World, visits: Visits
) -> None:
    context = visits.context()
    pages = [_live(visits.open(context=context)) for _ in range(5)]
    pages[0].get_by_text("newer pages of this browser took the feed").wait_for(timeout=5000)
    pages[-1].keyboard.press("Control+Shift+Enter")
    until(lambda: any(one["op"] == "stop" for one in world.heard), "the press gets through", 2)


def test_fifty_browsers_get_the_same_words(world: World) -> None:
    browsers = runs(52)
    sessions = [world.house.client() for _ in range((browsers + 3) // 4)]
    with ExitStack() as open_ones:
        feeds = [
            open_ones.enter_context(client.stream("GET", "/events?view=scope&scope=shop"))
            for client in (sessions * 4)[:browsers]
        ]
        lines = [feed.iter_lines() for feed in feeds]
        wholes = {_patch_with(each, "shop/search") for each in lines}
        assert len(wholes) == 1, "a page as it is, the same for all"
        world.put(row("shop/search", kind="model-42"))
        changes = {_patch_with(each, "model-42") for each in lines}
        assert len(changes) == 1
        assert "shop/agent" not in next(iter(changes))


def _patch_with(lines: Iterator[str], word: str) -> str:
    return next(each for each in lines if each.startswith("data:") and word in each)


def test_a_feed_is_for_who_is_signed_in(world: World) -> None:
    assert world.house.stranger().get("/events").status_code == 401
    client = world.house.client()
    assert client.get("/events?view=nothing-like-it").status_code == 404
    assert client.get("/events?scope=../..").status_code == 400


@pytest.mark.parametrize("many", [120, 1000] if LONG else [120])
def test_a_change_among_many_targets_is_on_the_screen_at_once(
    world: World, visits: Visits, many: int
) -> None:
    world.put(*(row(f"fleet/r{n // 100}/node-{n:03}") for n in range(many)))
    page = _live(visits.open("/scope/fleet"))
    page.get_by_text(f"fleet/r{(many - 1) // 100}/node-{many - 1:03}").first.wait_for()
    waits = []
    for n in range(7):
        name = f"fleet/r0/node-{n * 3:03}"
        seen = page.evaluate_handle(f"name => {{ window.seen = ({RANG})(name) }}", name)
        began = time.time() * 1000
        world.put(row(name, "frozen", level="freeze", confirmed=True))
        waits.append(page.evaluate("() => window.seen") - began)
        seen.dispose()
    sys.stderr.write(f"change to pixel among {many}: {statistics.median(waits):.0f} ms\n")
    assert statistics.median(waits) < (50 if many == 120 else 200) * (1 if LONG else 6), waits


def test_a_thousand_targets_are_folded_and_the_abnormal_stand_on_top(
    world: World, visits: Visits
) -> None:
    world.put(*(row(f"fleet/r{n // 100}/node-{n:03}") for n in range(1000)))
    world.put(row("fleet/r7/node-700", blind=True))
    page = _live(visits.open())
    page.get_by_text("1002 targets").wait_for()
    assert page.locator("#loud .line").count() == 1
    assert "fleet/r7/node-700" in page.locator("#loud").inner_text()
    assert page.locator("#calm > *").count() == 2
    assert "fleet 999 targets: 999 running" in page.locator("#calm").inner_text().replace("\n", " ")
    assert "all layers ready" in page.locator("#calm").inner_text()


def test_the_first_page_is_under_100_kB_and_asks_no_other_host(
    world: World, visits: Visits
) -> None:
    world.put(*(row(f"fleet/r{n // 100}/node-{n:03}") for n in range(1000)))
    context = visits.context()
    page = context.new_page()
    taken: dict[str, int] = {}
    tools = context.new_cdp_session(page)
    tools.send("Network.enable")
    urls: dict[str, str] = {}
    tools.on(
        "Network.responseReceived", lambda e: urls.update({e["requestId"]: e["response"]["url"]})
    )
    tools.on(
        "Network.loadingFinished",
        lambda e: taken.update({e["requestId"]: e["encodedDataLength"]}),
    )
    page.goto(world.house.url)
    until(lambda: page.evaluate("document.body.dataset.live") == "yes", "it is live", 10)
    assert all(url.startswith(world.house.url) for url in urls.values()), urls
    assert 3000 < sum(taken.values()) < 100_000, taken
