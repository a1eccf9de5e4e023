"""A decision: what was decided on findings, by a rule or a person, "do nothing" included."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from offswitch.model.finding import Finding
from offswitch.model.level import Level
from offswitch.model.scope import Scope

__all__ = ["Choice", "Decision"]


class Choice(StrEnum):
    """What can be decided."""

    STOP = "stop"
    ASK = "ask"
    WOULD_STOP = "would-stop"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided, and what was known at that moment."""

    choice: Choice
    by: str
    """`rule:NAME` or `uid:N`."""
    scope: Scope
    level: Level | None
    """The level of the stop; None where nothing is to be done."""
    why: str
    """One sentence for people."""
    time_us: int
    findings: tuple[Finding, ...] = ()
    known: Mapping[str, str] = field(default_factory=dict)
    """State of each channel of the vote, and what else was on the table."""
    options: Mapping[str, str] = field(default_factory=dict)
    """What could have been decided, doing nothing included, and what each would cost."""
    also: tuple[Scope, ...] = ()
    """What else is stopped, by an order each: all that has the same weights (ACT-13)."""
