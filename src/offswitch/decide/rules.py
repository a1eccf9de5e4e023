"""A rule in force: which channels, how they vote, who decides, what is ordered."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from offswitch.decide.budget import Budget
from offswitch.decide.votes import OnFailed, Vote
from offswitch.model.level import Level
from offswitch.model.scope import Scope

__all__ = ["Act", "Rule"]


class Act(StrEnum):
    """What a rule does when its vote trips."""

    SHADOW = "shadow"
    """Notes that it would have stopped."""
    ADVISE = "advise"
    """Asks a person, and stops when nobody answers (DEC-3)."""
    AUTO = "auto"
    """Stops by itself."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One trip function, as declared and checked."""

    name: str
    target: str
    scope: Scope
    level: Level
    act: Act
    vote: Vote
    on_failed: OnFailed
    decider: str
    """`AUTO`, `HUMAN-1` or `HUMAN-2` (DEC-1)."""
    harm: str
    time_to_harm_us: int
    false_stop_cost: str
    people: int = 1
    """How many people must let it go on, where it asks."""
    answer_us: int = 60_000_000
    """How long they may take, where it asks; then silence has answered."""
    unanswered: Level = Level.RESTRICT
    """What is ordered when two thirds of the time to harm are over and nobody has answered."""
    paced_us: int = 0
    """What a question's thirds are of, in microseconds; 0: of the time to harm."""
    budget: Budget | None = None
    """How many stops in a while are usual; more are an alarm, and stop all the same (SR-12)."""
    observe: bool = False
    """Nothing is stopped in this installation, by silence neither (SR-15)."""

    dependent: frozenset[str] = frozenset()
    """Series of channels that stop nothing alone: a monitor that can be talked to (DET-7)."""
    also: tuple[Scope, ...] = ()
    """What it stops besides, where it stops at its own level: the same weights (ACT-13)."""

    @property
    def acts_before(self) -> bool:
        """Whether what it orders at two thirds is less than its own level."""
        return self.unanswered < self.level

    @property
    def by(self) -> str:
        """Who orders, as orders and entries say it."""
        return f"rule:{self.name}"
