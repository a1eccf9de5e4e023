"""What the warden keeps of watch's reports, and which way it fails without one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from installation import Installation, until
from offswitch.model.target import Target
from offswitch.warden.door.watch_report import WatchReport

S = 1_000_000
AGENT = Target("shop/eu/agent", {"tenant": "acme"})
ALARM = {"rule": "r", "scope": "shop", "act": "advise", "harm": "h", "since_us": 7}
HOSTILE = [None, 7, "x", [], {}, [None], {"a": 1}, {"a": {"b": 2}}, [{"rule": 7}], -1, 1.5, [[]]]


@pytest.mark.parametrize("auto", ["/", "shop", "shop/eu/agent", "tenant=acme"])
def test_SR_13_a_target_is_blind_when_watch_is_silent_or_its_rule_sees_nothing(auto: str) -> None:
    heard = WatchReport()
    assert not heard.blind(AGENT, 100 * S), "no rule is about it"
    heard.meant([auto])
    assert heard.blind(AGENT, 0), "until watch reports"
    assert heard.take({"auto": [auto], "blind": []}, 10 * S) is False
    assert not heard.blind(AGENT, 13 * S)
    assert heard.blind(AGENT, 13 * S + 1), "it has been silent for too long"
    assert not heard.blind(Target("shop-2/agent"), 99 * S) or auto == "/"
    heard.take({"auto": [auto], "blind": [auto]}, 20 * S)
    assert heard.blind(AGENT, 20 * S)
    assert heard.blind_scopes(20 * S) == [auto]
    assert heard.take({"auto": [], "blind": []}, 21 * S) is True
    assert not heard.blind(AGENT, 99 * S), "its rules are gone, and watch itself said so"


def test_signals_in_parts_are_shown_when_the_last_part_is_there() -> None:
    heard = WatchReport()
    signal = {"data": {"age_ms": 5, "stale": False}}
    heard.take({"part": 0, "of": 2, "signals": {"a": signal}}, S)
    assert heard.signals("a", S) == {}
    heard.take({"part": 1, "of": 2, "signals": {"b": signal}}, S)
    assert heard.signals("a", 2 * S) == {"data": {"age_ms": 1005, "stale": False}}
    assert heard.signals("b", 9 * S)["data"]["stale"], "nobody has said so for 3 s"
    heard.take({"part": 0, "of": 2, "signals": {"c": signal}}, S)
    heard.take({"signals": {"b": signal}}, S)
    assert heard.signals("a", S) == heard.signals("c", S) == {}, "what broke off is forgotten"


@pytest.mark.parametrize("junk", HOSTILE)
def test_nothing_in_a_report_makes_it_raise(junk: object) -> None:
    heard = WatchReport()
    for key in ("auto", "blind", "alarms", "notes", "untracked", "signals", "part", "of"):
        heard.take({"signals": {"a": {"k": junk}}, key: junk}, S)
    heard.take({"alarms": [junk, {**ALARM, "act": junk, "since_us": junk}] * 500}, S)
    json.dumps([heard.alarms, heard.notes, heard.untracked, heard.signals("a", S)])
    assert len(heard.alarms) <= 100
    assert {one["act"] for one in heard.alarms} == {"advise"}, "what is not known asks a person"
    heard.blind(AGENT, S)


def test_SR_13_a_restarted_warden_knows_whose_eyes_are_missing(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    try:
        installation.start()
        installation.run("sleep", "600", target="shop/a")
        said: dict[str, Any] = {"op": "report", "auto": ["shop"], "alarms": [ALARM], "notes": ["n"]}
        installation.ask(said)
        status = installation.status()
        assert [row["blind"] for row in status["targets"]] == [False]
        assert status["alarms"] == [ALARM]
        assert "n" in status["notes"]
        assert installation.status("other")["alarms"] == []
        assert installation.ask({"op": "alarms"}) == {"alarms": [ALARM], "blind": []}
        kept = Path(installation.home, "watched.json")
        until(lambda: kept.exists() and json.loads(kept.read_text()) == ["shop"], "it is kept")
        installation.kill_warden()
        installation.restart()
        assert installation.target("shop/a")["blind"] is True
        assert any(note.startswith("BLIND") for note in installation.status()["notes"])
        installation.ask(said)
        assert installation.target("shop/a")["blind"] is False
        installation.kill_warden()
        kept.write_text("garbled")
        installation.restart()
        assert installation.target("shop/a")["blind"] is True, "then any rule may have been meant"
    finally:
        installation.close()
