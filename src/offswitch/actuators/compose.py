"""How the layers of a stop are composed: *together*, *in sequence*, *escalate after*.

    Together        all at once, which is what a stop is unless its plan says otherwise
    InSequence      one after the other: the next is due when the one before has answered, was seen,
                    has failed, or is silent past its deadline; nobody waits for the hung
    EscalateAfter   a second part that is due where the first was not wholly seen in time, or as
                    soon as something of it has failed or missed its deadline; never otherwise

A plan says what is put off, and little can be: what cuts a program off from the world and ends it
(`AT_ONCE`) is due at 0 wherever it stands in the plan. And everything is due at the end: where
not all was seen by then, whatever was put off is commanded as well (SR-10, VER-4).

Pure, standard library: `due` is asked anew whenever something was heard, or when it said to look
again. It says which layers are due; whoever asks knows which of them were commanded already.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import inf
from typing import assert_never

__all__ = [
    "AT_ONCE",
    "END_S",
    "STEP_S",
    "Due",
    "EscalateAfter",
    "Heard",
    "InSequence",
    "Layer",
    "Plan",
    "Shape",
    "Together",
    "composed",
    "due",
    "names",
]

AT_ONCE = frozenset({"guard", "gateway", "network", "process", "sweep"})
"""What no plan puts off."""
END_S = 2.0
"""When everything is due of what was not wholly seen: the time to confirm a stop (VER-4)."""
STEP_S = 1.0
"""How long a step of a sequence may be silent before the next one is due, unless it says."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer."""

    name: str
    deadline_s: float | None = None
    """How long after it is due it must have been seen; None: at the end."""


@dataclass(frozen=True, slots=True)
class Together:
    """Parts that are due at the same instant."""

    parts: tuple[Plan, ...]


@dataclass(frozen=True, slots=True)
class InSequence:
    """Parts that are due one after the other."""

    parts: tuple[Plan, ...]


@dataclass(frozen=True, slots=True)
class EscalateAfter:
    """A part, and what is due where it was not wholly seen in time."""

    first: Plan
    after_s: float
    then: Plan


Plan = Layer | Together | InSequence | EscalateAfter


@dataclass(frozen=True, slots=True)
class Heard:
    """What was heard of one layer, each in seconds since the plan began; None: not so far."""

    answered_s: float | None = None
    """Its actuator says that it has acted; that confirms nothing."""
    seen_s: float | None = None
    """The observer saw it."""
    failed_s: float | None = None
    """Its actuator, or the observer, says that it is not so."""


@dataclass(frozen=True, slots=True)
class Due:
    """What is due at one moment."""

    layers: frozenset[str]
    late: frozenset[str]
    """Of those, the ones that were not seen by a deadline of their own."""
    again_s: float | None
    """When to look again if nothing is heard; None: nothing changes by itself any more."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a target's declaration says of how its layers are composed."""

    sequence: tuple[str, ...] = ()
    escalate: tuple[tuple[float, tuple[str, ...]], ...] = ()
    """Seconds, and the layers that are put off by so much."""
    deadlines: Mapping[str, float] = field(default_factory=dict)
    """Layer → seconds by which it must have been seen."""

    @property
    def plain(self) -> bool:
        """Whether nothing is put off, and nothing has a deadline of its own."""
        return not (self.sequence or self.escalate or self.deadlines)


def composed(layers: Iterable[str], shape: Shape) -> Plan:
    """Compose the `layers` of a level as `shape` says; those that it does not name go together."""
    wanted = list(dict.fromkeys(layers))

    def one(name: str) -> Plan:
        return Layer(name, shape.deadlines.get(name))

    put_off = {name for _after, some in shape.escalate for name in some} - AT_ONCE
    row = [n for n in dict.fromkeys(shape.sequence) if n in wanted and n not in put_off | AT_ONCE]
    parts = [one(name) for name in wanted if name not in put_off and name not in row]
    if row:
        parts.append(InSequence(tuple(one(name) for name in row)))
    plan: Plan = Together(tuple(parts))
    taken: set[str] = set()
    for after_s, some in sorted(shape.escalate):
        then = [n for n in dict.fromkeys(some) if n in wanted and n in put_off and n not in taken]
        taken.update(then)
        rest = Together(tuple(one(name) for name in then))
        if then:  # where there is nothing before it that could be seen, nothing is waited for
            plan = EscalateAfter(plan, after_s, rest) if any(names(plan)) else rest
    return plan


def names(plan: Plan) -> Iterator[str]:
    """Name the layers of a plan."""
    match plan:
        case Layer():
            yield plan.name
        case Together() | InSequence():
            for part in plan.parts:
                yield from names(part)
        case EscalateAfter():
            yield from names(plan.first)
            yield from names(plan.then)
        case _:
            assert_never(plan)


def due(
    plan: Plan, elapsed_s: float, heard: Mapping[str, Heard] | None = None, end_s: float = END_S
) -> Due:
    """Say what of `plan` is due `elapsed_s` seconds after it began, by what was heard until now."""
    course = _course(plan, 0.0, heard or {})
    begins, lates = course.begins, course.lates
    if course.seen_s > end_s:
        begins = {name: min(at, end_s) for name, at in begins.items()}
    changes = [*begins.values(), *lates.values()]
    ahead = [at for at in changes if elapsed_s < at < inf]
    return Due(
        frozenset(name for name, at in begins.items() if at <= elapsed_s),
        frozenset(name for name, at in lates.items() if at <= elapsed_s),
        min(ahead, default=None),
    )


@dataclass(frozen=True, slots=True)
class _Course:
    """How a part goes on if nothing more is heard; all times in seconds, `inf` being never."""

    begins: Mapping[str, float]
    lates: Mapping[str, float]
    """Layer → when it misses, or has missed, a deadline of its own."""
    over_s: float
    """When a sequence goes on to the next part."""
    seen_s: float
    """When all of it was seen that is due."""
    bad_s: float
    """When something of it fails, or misses its deadline."""


def _course(plan: Plan, at_s: float, heard: Mapping[str, Heard]) -> _Course:
    match plan:
        case Layer():
            return _of_layer(plan, at_s, heard.get(plan.name, Heard()))
        case Together():
            return _joined([_course(part, at_s, heard) for part in plan.parts], at_s)
        case InSequence():
            courses, next_s = [], at_s
            for part in plan.parts:
                courses.append(_course(part, next_s, heard))
                next_s = courses[-1].over_s
            return _joined(courses, at_s)
        case EscalateAfter():
            first = _course(plan.first, at_s, heard)
            then_s = min(at_s + plan.after_s, first.bad_s)
            if first.seen_s <= then_s:
                both = _joined([first, _course(plan.then, inf, heard)], at_s)
                return replace(both, over_s=first.over_s)
            return _joined([first, _course(plan.then, then_s, heard)], at_s)
        case _:
            assert_never(plan)


def _of_layer(layer: Layer, at_s: float, heard: Heard) -> _Course:
    begins_s = 0.0 if layer.name in AT_ONCE else at_s
    words = (heard.answered_s, heard.seen_s, heard.failed_s)
    known = min((word for word in words if word is not None), default=inf)
    patience_s = STEP_S if layer.deadline_s is None else layer.deadline_s
    seen_s = inf if heard.seen_s is None else heard.seen_s
    failed_s = inf if heard.failed_s is None else heard.failed_s
    deadline_s = inf if layer.deadline_s is None else begins_s + layer.deadline_s
    late_s = deadline_s if seen_s > deadline_s else inf
    return _Course(
        {layer.name: begins_s},
        {layer.name: late_s} if late_s < inf else {},
        max(begins_s, min(known, begins_s + patience_s)),
        0.0 if begins_s == inf else max(begins_s, seen_s),  # what is never due is not missed
        max(begins_s, min(failed_s, late_s)),
    )


def _joined(courses: list[_Course], at_s: float) -> _Course:
    return _Course(
        _earliest(one.begins for one in courses),
        _earliest(one.lates for one in courses),
        max((one.over_s for one in courses), default=at_s),
        max((one.seen_s for one in courses), default=at_s),
        min((one.bad_s for one in courses), default=inf),
    )


def _earliest(several: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Join them; what stands in more than one counts from the first time on."""
    joined: dict[str, float] = {}
    for one in several:
        for name, at in one.items():
            joined[name] = min(at, joined.get(name, inf))
    return joined
