"""A step of a target that a gateway serves, as the warden knows it by its name."""

from __future__ import annotations

from offswitch.gateway.plan.route import Step
from offswitch.model.state import State
from offswitch.model.target import Target
from offswitch.warden.gates.steps import STEPS, whole_of
from offswitch.warden.table import Tracked

SERVED = {"shop/agent", "shop/agent/tools"}


def row(name: str, kind: str = "gateway") -> Tracked:
    return Tracked(Target(name, {}, kind), State.RUNNING)


def test_DEC_6_the_warden_knows_every_step_and_no_more() -> None:
    assert set(STEPS) == {step.value for step in Step}


def test_DEC_6_a_step_is_known_by_what_it_is_below() -> None:
    assert whole_of(row("shop/agent/tools"), SERVED) == "shop/agent"
    assert whole_of(row("shop/agent/rest"), SERVED) == ""
    assert whole_of(row("shop/tools"), SERVED) == "", "no gateway serves what it is below"
    assert whole_of(row("shop/agent/tools", "agent"), SERVED) == "", "it was declared"
    assert whole_of(row("tools"), SERVED) == ""
