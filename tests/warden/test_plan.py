"""Which layers a stop commands: a plan may add, and take nothing away."""

from __future__ import annotations

import itertools

import pytest

from offswitch.actuators.compose import Shape
from offswitch.model.level import Level
from offswitch.warden.plan import layers_of, may_power_off, shape_of

HAVE = ["guard", "network", "process", "sweep"]
NAMED = ["guard", "process", "data", "power", "network"]


@pytest.mark.parametrize("level", Level)
def test_SR_8_whatever_a_plan_names_all_that_is_there_stays(level: Level) -> None:
    usual = layers_of(level, None, HAVE)
    for count in range(len(NAMED) + 1):
        for named in itertools.permutations(NAMED, count):
            plan = layers_of(level, {"stop": {level.label: list(named)}}, HAVE)
            wanted = {*usual, *named}
            assert set(plan) == (wanted if level is Level.POWEROFF else wanted - {"power"})
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


def test_SR_10_no_plan_and_no_hand_makes_a_poweroff_of_anything_less() -> None:
    plan = {"stop": {"kill": ["power", "data"], "drain": ["power"]}}
    for level in (level for level in Level if level < Level.POWEROFF):
        assert "power" not in layers_of(level, plan, HAVE, {"power", "data"})
    assert "power" in layers_of(Level.POWEROFF, None, HAVE)


@pytest.mark.parametrize(
    ("plan", "allowed"),
    [
        ({"kill": ["power"]}, True),
        ({"escalate": [{"after": 1, "layers": ["power"]}]}, True),
        ({"poweroff": ["power"]}, False),
        ({"escalate": [{"after": 1, "layers": "power"}]}, False),
        ({"escalate": "power"}, False),
        ("power", False),
        (None, False),
    ],
)
def test_SR_10_a_plan_allows_a_poweroff_by_naming_the_power(plan: object, *, allowed: bool) -> None:
    assert may_power_off({"stop": plan}) is allowed


def test_how_layers_are_composed_is_read_from_what_was_declared() -> None:
    plan = {
        "sequence": ["serving", "container"],
        "escalate": [{"after": 500_000, "layers": ["scheduler"]}],
        "deadlines": {"data": 250_000},
    }
    assert shape_of({"stop": plan}) == Shape(
        ("serving", "container"), ((0.5, ("scheduler",)),), {"data": 0.25}
    )


@pytest.mark.parametrize(
    "plan",
    [
        None,
        "sequence",
        {"sequence": "serving"},
        {"escalate": [{"after": "500ms", "layers": ["data"]}]},
        {"escalate": [{"after": 1 << 60, "layers": ["data"]}]},
        {"escalate": [7], "deadlines": [7]},
        {"deadlines": {"data": -1, "relay": True, "gpu": None}},
    ],
)
def test_SR_8_a_broken_plan_puts_nothing_off(plan: object) -> None:
    assert shape_of({"stop": plan}).plain
