"""The one automatic reset, question by question (SR-20), and what a drill remembers of a layer."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from offswitch.control.ids import STATION
from offswitch.control.page import SLOTS
from offswitch.control.place import Place
from offswitch.errors import Busy, NotFound, OffswitchError, Refused
from offswitch.model.latch import Latch
from offswitch.model.level import Level
from offswitch.model.order import Stop
from offswitch.model.scope import parse_scope
from offswitch.model.target import Target
from offswitch.warden.core import Core
from offswitch.warden.drill.drilled import LAYERS, Doubt, Drilled, load, writer
from offswitch.warden.drill.rule import Made, reset_of, why_not
from offswitch.warden.shares import Shares
from offswitch.warden.table import Table, Tracked

NAME = ".drill/canary-1"
BY = "drill:canary-1"


def stop(
    scope: str = NAME, *, by: str = BY, channel: str = "drill", level: Level = Level.KILL
) -> Stop:
    return Stop("here", parse_scope(scope), level, by, channel, f"{scope}{by}{level}", 1)


def said(*stops: Stop, name: str = NAME, known: bool = True) -> OffswitchError | None:
    """Say why the drill `canary-1` may not reset by itself, under these stops."""
    latch = Latch()
    for one in stops:
        latch.add(one)
    row = Tracked(Target(name))
    rows = {name: row} if known else {name: Tracked(Target(name))}
    clock = SimpleNamespace(wall_us=lambda: 5)
    parts = SimpleNamespace(latch=latch, table=rows, installation="here", clock=clock)
    made, core = Made("canary-1", row), cast("Core", parts)
    error = why_not(core, made)
    if error is None:
        order = reset_of(core, made)
        assert order.clears == tuple(sorted(each.digest for each in stops))
        assert order.scope.text == name
    return error


def test_SR_20_the_drills_own_stop_of_its_own_target_may_be_reset() -> None:
    assert said(stop()) is None


@pytest.mark.parametrize(
    "other",
    [
        stop("/"),
        stop(".drill"),
        stop(by="uid:0", channel="cli"),
        stop(by="uid:0"),
        stop(channel="cli"),
        stop(by="drill:canary-2"),
        stop(level=Level.FREEZE),
        stop(by="warden", channel="warden"),
        stop(by="keeper", channel="keeper"),
    ],
    ids=lambda other: f"{other.scope.text} {other.level.label} {other.by} {other.channel}",
)
def test_SR_20_any_other_stop_goes_first(other: Stop) -> None:
    assert isinstance(said(stop(), other), Refused)
    assert isinstance(said(other), Refused)


def test_SR_20_without_a_stop_there_is_nothing_to_reset() -> None:
    assert isinstance(said(), NotFound)
    assert isinstance(said(stop(".drill/canary-2")), NotFound)


@pytest.mark.parametrize("name", [".drillx/canary-1", ".drill", "shop/.drill/canary-1", "shop/a"])
def test_SR_20_a_name_that_only_looks_like_a_drills_is_none(name: str) -> None:
    assert isinstance(said(stop(name), name=name), Refused)


def test_SR_20_a_target_that_this_warden_did_not_make_is_none() -> None:
    assert isinstance(said(stop(), known=False), Refused)


# --- what is remembered ---------------------------------------------------------------


def test_HMI_3_a_layer_in_doubt_is_unproven_until_it_is_raised_and_through_a_restart(
    tmp_path: Path,
) -> None:
    found = Drilled()
    assert found.state("process", "ready") == "ready"
    assert found.note() is None
    found.lower("process", Doubt("canary-1", "nobody saw it act", 7))
    assert found.state("process", "ready") == found.state("process", "degraded") == "unproven"
    assert found.state("process", "absent") == "absent", "what is not there does not become more"
    assert found.state("sweep", "ready") == "ready"
    assert "canary-1: nobody saw it act" in found.detail("process", "well")
    writer(str(tmp_path), found)()
    again = load(str(tmp_path))
    assert again.doubts == found.doubts
    again.raise_("process", 8)
    writer(str(tmp_path), again)()
    assert load(str(tmp_path)).note() is None


@pytest.mark.parametrize(
    "text", ["", "{garbled", "[]", '{"process": 1}', '{"process": {"why": 1}}']
)
def test_what_cannot_be_read_leaves_every_layer_in_doubt(tmp_path: Path, text: str) -> None:
    (tmp_path / "drilled.json").write_text(text)
    assert set(load(str(tmp_path)).doubts) == set(LAYERS)


def test_SEC_4_a_station_that_drills_without_end_has_its_share_and_root_any(
    tmp_path: Path,
) -> None:
    shares, table = Shares(), Table(Place(str(tmp_path), str(tmp_path)), 0)
    for number in range(60):
        shares.drill(STATION, number, table, 0)
    with pytest.raises(Busy):
        shares.drill(STATION, 60, table, 0)
    shares.drill(STATION, 3_600_000_001, table, 0)
    with pytest.raises(Busy):
        shares.drill(STATION + 1, 0, table, SLOTS)
    for number in range(100):
        shares.drill(0, number, table, SLOTS)


def test_a_target_that_is_dropped_is_told_to_who_follows(tmp_path: Path) -> None:
    table = Table(Place(str(tmp_path), str(tmp_path)), 0)
    table.put(Tracked(Target(NAME)))
    table.touched.clear()
    table.drop(NAME)
    table.drop("never/there")
    assert (table.get(NAME), list(table.touched), table.names()) == (None, [NAME], [])


def test_a_layer_that_no_canary_tries_is_not_lowered_by_one() -> None:
    found = Drilled()
    found.lower("gateway", Doubt("canary-1", "nobody saw it act", 7))
    assert found.note() is None
