"""Which layers a stop commands: a plan may add, and take nothing away."""

from __future__ import annotations

import itertools

import pytest

from offswitch.model.level import Level
from offswitch.warden.plan import layers_of

HAVE = ["guard", "network", "process", "sweep"]
NAMED = ["guard", "process", "data", "power", "network"]


@pytest.mark.parametrize("level", Level)
def test_SR_8_whatever_a_plan_names_all_that_is_there_stays(level: Level) -> None:
    usual = layers_of(level, None, HAVE)
    for count in range(len(NAMED) + 1):
        for named in itertools.permutations(NAMED, count):
            plan = layers_of(level, {"stop": {level.label: list(named)}}, HAVE)
            assert set(plan) == {*usual, *named}
            assert plan[: len(usual)] == usual
            assert len(plan) == len(set(plan))


def test_a_poweroff_is_a_kill_first_with_all_that_its_plan_adds() -> None:
    plan = {"stop": {"kill": ["data"], "poweroff": ["relay"]}}
    assert layers_of(Level.POWEROFF, plan, HAVE) == [*HAVE, "power", "data", "relay"]


@pytest.mark.parametrize("plan", [None, 7, "kill", {"kill": 7}, {"kill": {"process": 1}}, []])
def test_a_plan_that_is_none_counts_for_nothing(plan: object) -> None:
    assert layers_of(Level.KILL, {"stop": plan}, HAVE) == HAVE


def test_what_is_absent_is_left_out_unless_the_plan_names_it() -> None:
    assert layers_of(Level.KILL, None, ["process"]) == ["guard", "process"]
    declared = {"stop": {"kill": ["sweep"]}}
    assert layers_of(Level.KILL, declared, ["process"]) == ["guard", "process", "sweep"]
