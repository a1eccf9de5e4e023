"""`mode = "observe"`: rules, leases and the keeper only record; a stop by hand works (SR-15)."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from installation import Installation, until
from offswitch.config.load import installed_kinds, parse
from offswitch.decide.rules import Act
from offswitch.errors import BadConfig, Usage
from offswitch.guard import Guard
from offswitch.watch.bench import rule_of

RULE = b"""
[[rule]]
name = "alone"
target = "a"
harm = "h"
time_to_harm = "5s"
false_stop_cost = "none"
detectors = [{ kind = "threshold", series = "processes.count", above = 1 }]
act = "auto"
[[target]]
name = "a"
"""


def observing(installation: Installation, mode: str = "observe") -> None:
    installation.ask({"op": "declare", "targets": [], "mode": mode})


def _frozen(installation: Installation) -> list[str]:
    found = []
    for folder in installation.cgroups():
        for cell in Path(folder).glob("c*"):
            events = cell / "cgroup.events"
            text = events.read_text() if events.exists() else ""
            found += [text.splitlines()[1]] if "populated 1" in text else []
    return found


def test_SR_15_a_lost_warden_freezes_nothing_and_the_next_one_says_what_would_have_been(
    installation: Installation,
) -> None:
    installation.run("sleep", "600", target="goes-on")
    observing(installation)
    until((Path(installation.home) / "mode").exists, "it is kept")
    guard = Guard.from_page(installation.place.page, installation.slot("goes-on"))
    installation.kill_warden()
    time.sleep(3.5)  # longer than a lease
    assert _frozen(installation) == ["frozen 0"]
    assert guard.allowed(), "no guard stops for want of a lease"
    installation.restart()
    assert installation.target("goes-on")["state"] == "running"
    said = until(
        lambda: [e for e in installation.entries() if "would have frozen" in str(e.get("what"))],
        "it is in the ledger",
    )
    assert said[0]["targets"] == ["goes-on"]
    assert int(said[0]["no_lease_for_ms"]) > 500
    assert any("OBSERVE MODE" in note for note in installation.status()["notes"])


def test_SR_15_a_stop_by_hand_works_fully_also_by_the_keeper(installation: Installation) -> None:
    first = installation.run("sleep", "600", target="first")
    second = installation.run("sleep", "600", target="second")
    observing(installation)
    assert installation.stop("first")["confirmed"] is True
    assert first.event("exited")["signal"] == 9
    installation.kill_warden()
    Path(installation.place.spool, "second").touch()
    until(lambda: not Path(f"/proc/{second.born['pid']}").exists(), "the keeper obeys by hand")
    installation.restart()
    assert {live["scope"] for live in installation.status()["latched"]} == {"first", "second"}


def test_SR_15_changing_the_mode_is_recorded_and_lowers_no_live_stop(
    installation: Installation,
) -> None:
    installation.run("sleep", "600", target="held")
    assert installation.stop("held")["confirmed"] is True
    observing(installation)
    assert installation.target("held")["level"] == "kill"
    assert installation.word("held") == 5
    observing(installation, "act")
    assert not any("OBSERVE MODE" in note for note in installation.status()["notes"])
    changes = until(
        lambda: [e for e in installation.entries() if e.get("what") == "mode"], "recorded"
    )
    until(
        lambda: (
            [(e["prior"], e["state"]) for e in installation.entries() if e.get("what") == "mode"]
            == [("act", "observe"), ("observe", "act")]
        ),
        f"both changes are recorded: {changes}",
    )
    with pytest.raises(Usage, match="unknown mode"):
        observing(installation, "sleep")
    alive = installation.run("sleep", "600", target="acts-again")
    installation.kill_warden()
    until(lambda: "frozen 1" in _frozen(installation), "the keeper acts again")
    assert alive.born["pid"]


def test_SR_15_the_mode_holds_through_a_hand_over(installation: Installation) -> None:
    installation.run("sleep", "600", target="goes-on")
    observing(installation)
    until((Path(installation.home) / "mode").exists, "it is kept")
    installation.ask({"op": "handover"})
    assert any("OBSERVE MODE" in note for note in installation.status()["notes"])
    os.kill(installation.pids()["warden"], 9)
    assert installation.warden is not None
    installation.warden.wait()
    time.sleep(1)
    assert _frozen(installation) == ["frozen 0"]


def test_SR_15_a_rule_that_stops_by_itself_only_notes_it() -> None:
    kinds = installed_kinds()
    config = parse(b'mode = "observe"\n' + RULE, "offswitch.toml", kinds)
    assert rule_of(config.rule[0], config.mode).act is Act.SHADOW
    config = parse(RULE, "offswitch.toml", kinds)
    assert (config.mode, rule_of(config.rule[0], config.mode).act) == ("act", Act.AUTO)
    with pytest.raises(BadConfig, match="mode"):
        parse(b'mode = "obsrve"\n' + RULE, "offswitch.toml", kinds)
