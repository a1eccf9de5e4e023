"""What a person is told at one glance: weights, the button, whom it hits."""

from __future__ import annotations

from typing import Any

import pytest

from offswitch.decide.roles import Power
from offswitch.model.scope import EVERYTHING, parse_scope
from offswitch.station.console.drawing import Viewer
from offswitch.station.console.glance import Ready, Weight, button, span, weigh
from offswitch.station.console.scene import Scene
from offswitch.station.picture.picture import Picture
from offswitch.station.picture.rows import TargetRow

LAYERS = {"guard": "ready", "network": "ready", "process": "ready"}
OURS = {"keeper": True, "observer": True}


def target(name: str, state: str = "running", **said: Any) -> TargetRow:  # noqa: ANN401
    return TargetRow(name, state=state, **{"readiness": LAYERS, **said})


def scene(*rows: TargetRow, live: bool = True, **said: Any) -> Scene:  # noqa: ANN401
    targets = {row.name: row for row in rows}
    return Scene(Picture(live=live, targets=targets, **{"processes": OURS, **said}))


@pytest.mark.parametrize(
    ("row", "weight"),
    [
        (target("a"), Weight.CALM),
        (target("a", "exited"), Weight.CALM),
        (target("a", "stopped", level="kill", confirmed=True), Weight.STOPPED),
        (target("a", "stopping", level="kill"), Weight.ALERT),
        (target("a", "unknown"), Weight.ALERT),
        (target("a", blind=True), Weight.ALERT),
        (target("a", stale=("engine",)), Weight.TROUBLE),
        (target("a", "restricted", level="restrict"), Weight.TROUBLE),
        (target("a", readiness={**LAYERS, "network": "absent"}), Weight.TROUBLE),
        (target("a", readiness={**LAYERS, "guard": "absent"}), Weight.CALM),
    ],
)
def test_HMI_3_what_wants_an_eye_weighs_more(row: TargetRow, weight: Weight) -> None:
    assert weigh(row) is weight


def test_HMI_3_the_button_is_ready_only_where_every_counted_layer_of_every_target_is() -> None:
    assert button(scene(target("a")), EVERYTHING).ready is Ready.READY
    for state in ("degraded", "unproven", "absent"):
        short = scene(target("a"), target("b", readiness={**LAYERS, "network": state}))
        shown = button(short, EVERYTHING)
        assert shown.ready is Ready.DEGRADED
        assert shown.lacks == f"network {state} on 1 of 2"
        assert button(short, parse_scope("a")).ready is Ready.READY
    cooperative = scene(target("a", readiness={**LAYERS, "guard": "degraded"}))
    assert button(cooperative, EVERYTHING).ready is Ready.READY


def test_HMI_3_a_button_that_cannot_do_all_never_looks_ready() -> None:
    there = target("a")
    assert button(scene(there, live=False), EVERYTHING).ready is Ready.SILENT
    assert button(scene(there), parse_scope("elsewhere")).ready is Ready.EMPTY
    assert button(scene(there), EVERYTHING, allowed=False).ready is Ready.BARRED
    assert button(scene(there, processes={"keeper": True}), EVERYTHING).lacks == "no observer"
    assert "last drill" in button(scene(there, doubts={"network": "x"}), EVERYTHING).lacks
    assert "no answer from 1 of 2" in button(scene(there, target("b", "unknown")), EVERYTHING).lacks


def test_HMI_2_the_span_names_whom_it_hits_leaves_and_is_not_sure_of() -> None:
    found = span(
        scene(
            target("shop/a"),
            target("shop/b", "stopped"),
            target("shop/c", "unknown"),
            target("shopping"),
            target("lab", "exited"),
            untracked=({"pid": 7, "name": "rogue"},),
        ),
        parse_scope("shop"),
    )
    assert found.hits == ("shop/a", "shop/c")
    assert found.quiet == 1
    assert found.leaves == ("shopping",)
    assert [name for name, _why in found.cannot] == ["shop/c", "rogue (pid 7)"]


def test_SEC_5_whose_scope_or_role_it_is_not_sees_no_button_of_theirs() -> None:
    stops = frozenset({Power.STOP})
    assert Viewer(parse_scope("shop/a"), stops, "shop").may_stop
    assert not Viewer(parse_scope("lab"), stops, "shop").may_stop
    assert not Viewer(EVERYTHING, stops, "shop").may_stop
    assert not Viewer(EVERYTHING, frozenset()).may_stop
