"""`[target.stop]`: which layers a stop of a target has, in which order, and whom it takes along.

    [target.stop]
    kill = ["credentials", "data", "serving", "container"]
    sequence = ["serving", "container"]                        # the second when the first answered
    escalate = [{ after = "500ms", layers = ["scheduler"] }]   # only where not all was seen by then
    deadlines = { data = "500ms" }                             # not seen by then: escalates at once
    dependents = [{ target = "shop/eu", level = "drain", first = true }]
    tell = [{ who = "the shift" }, { target = "shop/eu/front" }]

A plan adds to a stop and takes nothing away: guard, gateway, network, process and sweep are
commanded at once whatever it says, and two seconds after the order everything is (SR-10). The
warden is told of it, checks it again, and stops all the same where it cannot be understood.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from offswitch.config.duration import format_duration
from offswitch.config.section import Duration, Section, Text
from offswitch.config.size import Size
from offswitch.errors import Usage
from offswitch.model.scope import parse_scope

__all__ = [
    "AT_ONCE",
    "Dependent",
    "EscalateStep",
    "LayerName",
    "Layers",
    "LevelName",
    "StopPlan",
    "Tell",
]

LevelName = Literal["restrict", "drain", "freeze", "kill", "poweroff"]
LayerName = Literal[
    "gateway",
    "guard",
    "tools",
    "process",
    "sweep",
    "network",
    "credentials",
    "data",
    "serving",
    "container",
    "scheduler",
    "gpu",
    "power",
    "relay",
]
Layers = Annotated[list[LayerName], Field(min_length=1)]

AT_ONCE = frozenset({"guard", "gateway", "network", "process", "sweep"})
"""What no plan puts off (`actuators.compose`)."""
_SECOND_US = 1_000_000
_END_US = 2_000_000
_MOST = 64


def _at_most_a_second(value: int) -> int:
    if value > _SECOND_US:
        raise ValueError('at most "1s": a kill is not put off longer')
    return value


def _by_the_end(value: int) -> int:
    if value > _END_US:
        raise ValueError(f'at most "{format_duration(_END_US)}": then everything is commanded')
    return value


def _scope(value: str) -> str:
    try:
        return parse_scope(value).text
    except Usage as error:
        raise ValueError(f"{error.message}; {error.hint}") from None


def _puttable_off(value: list[LayerName]) -> list[LayerName]:
    local = next((name for name in value if name in AT_ONCE), None)
    if local is not None:
        raise ValueError(f"{local} is commanded at once, whatever a plan says; leave it out")
    if len(set(value)) < len(value):
        raise ValueError("a layer is named twice")
    return value


PutOff = Annotated[Layers, AfterValidator(_puttable_off)]
"""Layers that may come later than the first instant."""
InTime = Annotated[Duration, AfterValidator(_by_the_end)]


class EscalateStep(Section):
    """Layers that are commanded only where the others were not all seen in time."""

    after: InTime
    layers: PutOff


class Dependent(Section):
    """What is stopped along with a target, by an order of its own."""

    target: Annotated[str, AfterValidator(_scope)]
    """Its path, or one that covers it, or `label=value`."""
    level: LevelName | None = None
    """As far as the target itself unless given, and never further."""
    first: bool = False
    """Whether it is ordered before the target, in the same instant."""


class Tell(Section):
    """Who is told of a stop before anybody else: in the record, and by whatever calls people."""

    who: Text | None = None
    """In words."""
    target: Annotated[str, AfterValidator(_scope)] | None = None
    """Whoever tells of this one: `stop_impact.told_by` of each target that it covers."""

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.who is None) == (self.target is None):
            raise ValueError("say who is told, or which target's people: one of who and target")
        return self


class StopPlan(Section):
    """Which layers a level has beside those of this machine; it takes none away."""

    restrict: Layers | None = None
    drain: Layers | None = None
    freeze: Layers | None = None
    kill: Layers | None = None
    poweroff: Layers | None = None
    sequence: Annotated[PutOff, Field(min_length=2)] | None = None
    """Each when the one before has answered, was seen, has failed, or is silent past its time."""
    escalate: Annotated[list[EscalateStep], Field(max_length=_MOST)] = Field(default_factory=list)
    """What comes only where the others were not all seen in time."""
    deadlines: dict[LayerName, InTime] = Field(default_factory=dict)
    """By when a layer must have been seen; then it is *not confirmed*, and it escalates at once."""
    dependents: Annotated[list[Dependent], Field(max_length=_MOST)] = Field(default_factory=list)
    """What is stopped along with it."""
    tell: Annotated[list[Tell], Field(max_length=_MOST)] = Field(default_factory=list)
    """Who is told first."""
    snapshot: Annotated[Duration, AfterValidator(_at_most_a_second)] | None = None
    """For how long a kill freezes first, so that evidence can be read; at once unless given."""
    snapshot_memory: Size | None = None
    """How many bytes of its memory are copied in that time; none unless given."""

    @model_validator(mode="after")
    def _seen_or_no_deadline(self) -> Self:
        if "guard" in self.deadlines:
            raise ValueError("guard is cooperative: nobody sees it, so it has no deadline")
        return self

    @model_validator(mode="after")
    def _put_off_once(self) -> Self:
        named = [*(self.sequence or ()), *(name for step in self.escalate for name in step.layers)]
        twice = next((name for name in named if named.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"{twice} is put off twice: in a sequence, or in one escalation")
        return self

    def told(self) -> dict[str, Any]:
        """Give it as the warden is told it: times in microseconds."""
        plan = self.model_dump(mode="json", exclude_defaults=True, exclude_none=True)
        if self.snapshot is not None:
            plan["snapshot"] = self.snapshot
        if self.escalate:
            plan["escalate"] = [
                {"after": step.after, "layers": list(step.layers)} for step in self.escalate
            ]
        if self.deadlines:
            plan["deadlines"] = dict(self.deadlines)
        return plan
