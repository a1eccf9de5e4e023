"""Escapes from a cell, against the parts that stop it: 0 survivors, and nothing acts afterwards."""

from __future__ import annotations

import pytest

from scale import runs
from stage import Stage

PROGRAMS = (
    "ignore_signals",
    "daemon",
    "hopper",
    "fork_bomb",
    "stopped",
    "namespaces",
    "memfd",
    "respawner",
    "pdeathsig",
)


@pytest.mark.parametrize("program", PROGRAMS)
def test_ACT_7_no_program_outlives_the_stop_of_its_cell(stage: Stage, program: str) -> None:
    for _run in range(runs(20)):
        actor = stage.play(program)
        assert stage.stop(actor) == {"process": True, "network": True, "sweep": True}
        stage.assert_nothing_acts(actor)


@pytest.mark.parametrize("program", PROGRAMS)
def test_ACT_7_a_frozen_cell_is_still_and_can_be_killed(stage: Stage, program: str) -> None:
    actor = stage.play(program)
    assert stage.stop(actor, "freeze") == {"process": True, "network": True}
    before = actor.acts
    assert stage.look(actor, ["process"], "freeze") == {"process": True}
    assert actor.acts == before
    assert stage.stop(actor) == {"process": True, "network": True, "sweep": True}
    stage.assert_nothing_acts(actor, 0.02)
