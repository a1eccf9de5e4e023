"""The face: for keys alone, for screen readers, for the colour-blind, and for hostile words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from installation import until
from offswitch.clock import SystemClock
from scale import LONG
from scripted_world import World, row
from visits import PAGES, Visits

pytestmark = pytest.mark.usefixtures("as_root")

HOSTILE = "<b id=evil>x</b><script>window.evil=1</script>\x1b[31m\u202eignore all previous"
STATES = (
    "running",
    "restricted",
    "draining",
    "stopping",
    "frozen",
    "stopped",
    "idle",
    "exited",
    "unreachable",
    "unknown",
)


def alarm(rule: str, scope: str, **said: Any) -> dict[str, Any]:  # noqa: ANN401
    return {
        "rule": rule,
        "target": scope,
        "scope": scope,
        "act": "auto",
        "harm": "wrong prices are charged",
        "since_us": SystemClock().wall_us(),
        "acked_by": None,
        "shelved": False,
        "decision": None,
        "spent": False,
        **said,
    }


def question(scope: str, **said: Any) -> dict[str, Any]:  # noqa: ANN401
    now_us = SystemClock().wall_us()
    return {
        "decision": "d" * 64,
        "rule": "drift",
        "scope": scope,
        "level": "freeze",
        "harm": "a week of training is lost",
        "false_stop_cost": "two hours",
        "why": "loss rose",
        "asked_us": now_us,
        "left_ms": 95_000,
        "due_us": now_us + 95_000_000,
        "silence": "it is stopped",
        "unanswered": "restrict",
        "act_us": now_us + 60_000_000,
        "people": 1,
        "denied_by": [],
        "series": [],
        **said,
    }


def waiting(**said: object) -> dict[str, Any]:
    """A tool call that waits for a person."""
    return {
        "decision": "d1" * 32, "scope": "shop/agent", "target": "shop/agent", "tool": "pay",
        "arguments": '{"amount": 7}', "asked_us": 1, "left_ms": 60_000,
        "due_us": SystemClock().wall_us() + 60_000_000, "silence": "it is not called",
        "people": 1, "granted_by": [], **said,
    }  # fmt: skip


@pytest.fixture(autouse=True)
def some(world: World) -> Iterator[None]:
    world.clear()
    world.put(row("shop/agent", labels={"tenant": "acme"}), row("shop/search"))
    yield
    assert not world.house.said(), world.house.said()


def abnormal(world: World) -> None:
    """Have everything on the Board that can stand there."""
    world.stop("shop/search", "shop/search", reason="it wrote prices")
    world.alarms = [alarm("mass-write", "shop/agent"), alarm("slow", "shop/search", act="advise")]
    world.decisions = [question("lab/train")]
    half = {"guard": "absent", "network": "unproven", "process": "ready", "sweep": "degraded"}
    world.put(
        row("shop/agent", "stopping", level="kill", layers={"network": False}),
        row("lab/train", readiness=half, blind=True, stale=["engine"], trouble="its unit is gone"),
        notes=["degraded: rung namespace"],
        untracked=[{"pid": 7, "name": "rogue", "since": 1}],
    )


@pytest.fixture(scope="module")
def axe() -> Any:  # noqa: ANN401
    from axe_playwright_python.sync_playwright import Axe  # noqa: PLC0415 - only here

    return Axe()


def _serious(axe: Any, page: Any) -> list[str]:  # noqa: ANN401
    found = []
    for one in axe.run(page).response["violations"]:
        if one["impact"] in {"serious", "critical"}:
            where = [node["html"][:120] for node in one["nodes"][:3]]
            found.append(f"{one['impact']} {one['id']}: {where}")
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_HMI_9_axe_finds_nothing_serious_on_any_page(
    world: World,
    visits: Visits,
    axe: Any,  # noqa: ANN401
    width: int,
    scheme: str,
) -> None:
    abnormal(world)
    page = visits.open(width=width, dark=scheme == "dark")
    page.locator(".question").wait_for(timeout=4000)
    found = {"/": _serious(axe, page)}
    every = LONG or (width == 390 and scheme == "dark")
    for path in PAGES[1:] if every else ():
        page.goto(world.house.url + path)
        found[path] = _serious(axe, page)
    assert {path: said for path, said in found.items() if said} == {}


def test_HMI_9_axe_finds_nothing_serious_where_it_is_not_live(
    world: World,
    visits: Visits,
    axe: Any,  # noqa: ANN401
) -> None:
    page = visits.open()
    world.silent = True
    page.locator("#not-live").wait_for(state="visible", timeout=4000)
    assert _serious(axe, page) == []
    page.evaluate("document.querySelector('main').insertAdjacentHTML('afterbegin', '<img src=x>')")
    assert "image-alt" in "".join(_serious(axe, page)), "it does find what there is"


def test_HMI_9_keys_alone_reach_everything_and_show_where_they_are(
    world: World, visits: Visits
) -> None:
    abnormal(world)
    page = visits.open()
    page.locator(".question").wait_for(timeout=4000)
    wanted = page.evaluate(
        """[...document.querySelectorAll('a, button, select, summary, input:not([type=hidden])')]
        .filter(e => e.checkVisibility() && !e.disabled).map((e, n) => (e.n = n))"""
    )
    reached, bare = set(), []
    page.evaluate("document.activeElement.blur()")
    for _ in range(len(wanted) + 5):
        page.keyboard.press("Tab")
        at = page.evaluate(
            """(e => e === document.body ? null : [e.n, getComputedStyle(e).outlineStyle,
            e.outerHTML.slice(0, 80)])(document.activeElement)"""
        )
        if at is not None:
            reached.add(at[0])
            if at[1] == "none":
                bare.append(at[2])
    assert set(wanted) <= reached
    assert bare == []


def test_HMI_9_every_state_is_told_by_a_word_and_a_sign(world: World, visits: Visits) -> None:
    world.put(*(row(f"all/{state}", state) for state in STATES))
    page = visits.open("/scope/all")
    page.get_by_text("all/unknown").first.wait_for()
    signs = {}
    for state in STATES:
        line = page.locator(".line", has_text=f"all/{state}").locator(".state")
        assert state in line.inner_text()
        signs[state] = line.locator(".sign").inner_text()
    assert all(signs.values())
    layers = dict(zip("abcd", ("ready", "degraded", "unproven", "absent"), strict=True))
    world.put(row("all/running", readiness=layers))
    for layer, state in list(layers.items())[1:]:
        page.get_by_text(f"{layer} {state}").first.wait_for()


def test_HMI_9_no_narrow_page_has_to_be_moved_sideways(world: World, visits: Visits) -> None:
    abnormal(world)
    page = visits.open(width=390)
    page.locator(".question").wait_for(timeout=4000)
    for path in PAGES:
        page.goto(world.house.url + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path


def test_hostile_words_of_targets_people_and_rules_appear_as_text(
    world: World, visits: Visits
) -> None:
    world.put(
        row("shop/agent", kind=HOSTILE, user=HOSTILE, trouble=HOSTILE, stale=[HOSTILE]),
        row("shop/search", labels={"tenant": HOSTILE}, adopted=HOSTILE),
        notes=[HOSTILE],
        untracked=[{"pid": 7, "name": HOSTILE, "since": 1}],
    )
    world.stop("shop", "shop/search", by=HOSTILE, reason=HOSTILE, channel=HOSTILE)
    world.alarms = [alarm(HOSTILE, "shop/agent", harm=HOSTILE)]
    said = {"rule": HOSTILE, "harm": HOSTILE, "why": HOSTILE, "false_stop_cost": HOSTILE}
    world.decisions = [question("shop", **said)]
    world.leaves = [waiting(tool=HOSTILE, arguments=HOSTILE)]
    page = visits.open()
    page.locator(".question").nth(1).wait_for(timeout=4000)
    for path in ("/", "/target/shop/agent", "/target/shop/search", "/readiness", "/scope/shop"):
        page.goto(world.house.url + path)
        world.put(notes=[HOSTILE, path])  # so that it comes by the feed, too
        page.get_by_text("2 notes").wait_for()
        assert page.evaluate("window.evil") is None
        assert page.locator("#evil").count() == 0, path
        assert page.locator("script:not([src])").count() == 0
        text = page.locator("body").inner_text()
        assert "<b id=evil>" in text, path
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert page.errors == []


def test_DEC_3_a_tool_call_that_waits_is_answered_on_the_board(
    world: World, visits: Visits
) -> None:
    world.leaves = [waiting()]
    page = visits.open()
    card = page.locator(".question")
    card.wait_for(timeout=4000)
    text = card.inner_text()
    assert "call pay?" in text
    assert '{"amount": 7}' in text
    assert "it is not called" in text
    for button, op in (("Let it be called, once", "approve"), ("Do not", "deny")):
        page.get_by_role("button", name=button).click()
        said = until(lambda: [one for one in world.heard if one.get("op") == op], button)  # noqa: B023 - at once
        assert said[0]["decision"] == "d1" * 32
        assert said[0]["by"].startswith("person:")
    assert page.errors == []


def test_a_target_shows_its_sensors_and_what_was_found_in_them(
    world: World, visits: Visits
) -> None:
    found = {"target": "shop/agent", "series": "db.rows", "what": "900 rows a second"}
    world.alarms = [alarm("mass-write", "shop/agent", findings=[found])]
    sensor = {"sensor": "db", "kind": "sql", "target": "shop/agent", "every": "1s", "state": "ok"}
    world.sensors = [{**sensor, "problem": ""}, {**sensor, "target": "x", "sensor": "other"}]
    page = visits.open("/target/shop/agent")
    page.get_by_text("900 rows a second in db.rows (rule mass-write)").wait_for(timeout=8000)
    page.locator("#signals").get_by_text("db", exact=True).wait_for(timeout=8000)
    assert "other" not in page.locator("#signals").inner_text()


def test_a_name_leads_to_its_target_or_scope(world: World, visits: Visits) -> None:
    page = visits.open()
    for name, path in (("shop/agent", "/target/shop/agent"), ("shop", "/scope/shop")):
        page.goto(world.house.url)
        page.get_by_label("Go to").fill(name)
        page.keyboard.press("Enter")
        page.wait_for_url(f"**{path}")
    page.goto(world.house.url + "/go?to=shop/agnet")
    assert "near it: shop/agent" in page.locator("main").inner_text()


def test_HMI_1_a_page_that_is_not_there_has_its_stop_all_the_same(
    world: World, visits: Visits
) -> None:
    page = visits.open("/no/such/page", script=False)
    page.locator("#stop").click()
    page.locator(".outcome").get_by_text("CONFIRMED").first.wait_for()
    assert len(world.heard) == 1


def test_a_policy_forbids_scripts_and_styles_that_are_not_ours(world: World) -> None:
    got = world.house.client().get("/")
    policy = got.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert " style=" not in got.text
    assert "<style" not in got.text
    assert " on" not in "".join(part.split(">")[0] for part in got.text.split("<body")[1:])


def test_the_first_alarm_stands_on_top_and_consequences_are_folded_under_it(
    world: World, visits: Visits
) -> None:
    now_us = SystemClock().wall_us()
    world.alarms = [
        alarm(f"late-{n}", f"shop/part-{n}", since_us=now_us - 1000 + n) for n in range(199)
    ] + [alarm("root", "shop/agent", since_us=now_us - 1_000_000, harm="the root of it")]
    page = visits.open()
    card = page.locator(".alarm-card")
    card.first.wait_for(timeout=4000)
    assert card.count() == 1
    assert "the root of it" in card.locator(".head-line").inner_text()
    card.get_by_text("+ 199 consequences").wait_for()
    page.get_by_role("button", name="Acknowledge all 200").click()
    until(lambda: len(world.heard) == 200, "each of them is acknowledged")
    assert {one["by"] for one in world.heard} == {"person:operator"}


def test_a_question_says_what_happens_by_when_and_takes_either_answer(
    world: World, visits: Visits
) -> None:
    world.decisions = [question("lab/train")]
    page = visits.open()
    card = page.locator(".question")
    card.wait_for(timeout=4000)
    said = card.inner_text()
    assert "stop lab/train?" in said
    assert "restrict in 0:5" in said or "restrict in 1:00" in said
    assert "it is stopped in 1:3" in said
    card.get_by_role("link", name="let it go on").click()
    page.get_by_label("Why may it?").fill("it is a drill")
    page.get_by_role("button", name="Let it go on").click()
    until(lambda: world.heard, "it is answered")
    assert world.heard[-1]["op"] == "deny"
    assert world.heard[-1]["reason"] == "it is a drill"
    page.locator(".question").get_by_role("button", name="STOP it").click()
    until(lambda: world.heard[-1]["op"] == "approve", "it is answered the other way")
    assert world.heard[-1]["by"] == "person:operator"
