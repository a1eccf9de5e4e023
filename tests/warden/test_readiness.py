"""Since when a layer is as ready as it is, and the entry that each change leaves (DRL-4, REL-7)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from offswitch.control.place import Place
from offswitch.model.target import Target
from offswitch.warden.core import Core
from offswitch.warden.drill.drilled import Doubt, Drilled
from offswitch.warden.readiness import Readiness, since, states
from offswitch.warden.since import kept
from offswitch.warden.table import Table, Tracked

NAME = "shop/a"


@dataclass
class Written:
    """Takes what would be entered."""

    entries: list[dict[str, Any]] = field(default_factory=list)

    def often(self, _key: object, kind: str, sealed: dict[str, Any], **public: Any) -> int:  # noqa: ANN401
        self.entries.append({"kind": kind, **sealed, **public})
        return len(self.entries)


@dataclass
class Ground:
    """What `Readiness` needs of a warden."""

    table: Table
    drilled: Drilled = field(default_factory=Drilled)
    notes: dict[str, str] = field(default_factory=dict)
    doubted_us: int = 0
    recording: Written = field(default_factory=Written)

    @property
    def core(self) -> Core:
        return cast("Core", self)


def grown(folder: Path) -> tuple[Ground, Tracked, Readiness]:
    """Have a target of which two layers are ready, and somebody who has looked at it once."""
    ground = Ground(Table(Place(str(folder), str(folder)), 0))
    row = ground.table.put(Tracked(Target(NAME)))
    row.readiness = {"process": ("ready", "one write"), "data": ("ready", "asked a moment ago")}
    looker = Readiness(ground.core)
    looker.look()
    assert ground.recording.entries == [], "what is new has not changed"
    return ground, row, looker


def test_DRL_4_a_layer_keeps_its_date_until_its_state_changes(tmp_path: Path) -> None:
    ground, row, _looker = grown(tmp_path)
    first = dict(row.ready_since)
    row.readiness = {**row.readiness, "data": ("ready", "asked again")}
    assert row.ready_since == first, "other words are no other state"
    row.readiness = {**row.readiness, "data": ("unproven", "the password was refused")}
    assert row.ready_since["process"] == first["process"]
    assert row.ready_since["data"] > first["data"]
    assert since(ground.core, row) == row.ready_since


def test_DRL_4_a_change_is_entered_once_with_what_was_and_why(tmp_path: Path) -> None:
    ground, row, looker = grown(tmp_path)
    row.readiness = {**row.readiness, "data": ("unproven", "the password was refused")}
    looker.look()
    looker.look()
    [told] = ground.recording.entries
    assert told == {
        "kind": "note", "what": "readiness", "layer": "data", "prior": "ready",
        "state": "unproven", "cause": "layer", "why": "the password was refused",
        "targets": [NAME], "count": 1,
    }  # fmt: skip
    row.readiness = {**row.readiness, "data": ("ready", "asked again")}
    looker.look()
    assert [(one["prior"], one["state"]) for one in ground.recording.entries][1:] == [
        ("unproven", "ready")
    ]


def test_DRL_4_a_layer_that_is_taken_away_is_entered_as_absent(tmp_path: Path) -> None:
    ground, row, looker = grown(tmp_path)
    row.readiness = {"process": row.readiness["process"]}
    looker.look()
    assert [(one["layer"], one["state"]) for one in ground.recording.entries] == [
        ("data", "absent")
    ]


def test_a_thousand_targets_that_fall_at_once_are_two_entries(tmp_path: Path) -> None:
    ground, _row, looker = grown(tmp_path)
    rows = [ground.table.put(Tracked(Target(f"shop/n{number}"))) for number in range(1000)]
    for row in rows:
        row.readiness = {"network": ("ready", "")}
    looker.look()
    looker.look()
    for row in rows:
        row.readiness = {"network": ("absent", "no cgroup v2")}
    looker.look()
    [told] = ground.recording.entries
    assert (told["count"], len(told["targets"])) == (500, 20), "a stop waits for no more than that"
    looker.look()
    assert [one["count"] for one in ground.recording.entries] == [500, 500]


def test_a_target_that_is_known_no_more_has_no_layer_that_has_fallen(tmp_path: Path) -> None:
    ground, row, looker = grown(tmp_path)
    row.readiness = {**row.readiness, "data": ("unproven", "the password was refused")}
    looker.look()
    ground.table.drop(NAME)
    looker.look()
    assert [(one["layer"], one["state"]) for one in ground.recording.entries] == [
        ("data", "unproven"), ("data", "gone"),
    ]  # fmt: skip


def test_DRL_4_a_drills_doubt_dates_the_layer_and_is_entered_as_the_drills(tmp_path: Path) -> None:
    """So that the failed demand is not voided by what it has found itself."""
    ground, row, looker = grown(tmp_path)
    ground.drilled.lower("process", Doubt("canary-1", "nobody saw it act", 10**18))
    looker.look()
    assert states(ground.core, row)["process"] == "unproven"
    assert since(ground.core, row)["process"] == 10**18
    [told] = ground.recording.entries
    assert (told["cause"], told["why"]) == ("drill", "canary-1: nobody saw it act")


def test_SEC_7_with_code_that_was_not_released_every_ready_layer_falls_and_says_when(
    tmp_path: Path,
) -> None:
    ground, row, looker = grown(tmp_path)
    ground.notes["release"] = "UNPROVEN: a file is not what was released"
    ground.doubted_us = 10**18
    looker.look()
    assert set(states(ground.core, row).values()) == {"unproven"}
    assert set(since(ground.core, row).values()) == {10**18}
    assert {(one["layer"], one["cause"]) for one in ground.recording.entries} == {
        ("process", "code"), ("data", "code"),
    }  # fmt: skip


def test_a_drills_own_target_leaves_no_entry(tmp_path: Path) -> None:
    ground, _row, looker = grown(tmp_path)
    row = ground.table.put(Tracked(Target(".drill/canary-1")))
    row.readiness = {"process": ("ready", "")}
    looker.look()
    row.readiness = {"process": ("absent", "")}
    looker.look()
    assert ground.recording.entries == []


def test_dates_outlive_a_renewal_of_the_wardens_code_where_the_state_is_the_same() -> None:
    now = {"process": ("ready", ""), "data": ("unproven", "")}
    dates = {"process": 900, "data": 900}
    passed = {"process": ["ready", 5], "data": ["ready", 5], "gpu": ["ready", 5]}
    assert kept(dates, now, passed) == {"process": 5, "data": 900}
    for odd in (None, [], {"process": 7}, {"process": ["ready", "x"]}):
        assert kept(dates, now, odd) == dates
