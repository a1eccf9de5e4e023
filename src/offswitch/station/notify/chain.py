"""The chain: who is called when nobody acknowledges. Pure.

    called ─► within T nobody has acknowledged ─► the next one is called ─► … ─► the first again,
              `rounds` times; then it is recorded that nobody answered, and nobody is called more

A question of which a third of the time is over goes to the second at once (`backup`). Whoever
acknowledges ends it; what then becomes worse (not confirmed, stopped again, overdue) calls anew.
All times are UTC, since a chain outlives a restart, and a machine that was off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from offswitch.config.notify import Step

__all__ = ["Calling", "begun", "forward", "to_backup"]


@dataclass(frozen=True, slots=True)
class Calling:
    """How far a chain has come for one thread."""

    step: int
    """The number of the step that was called last; -1: nobody yet."""
    round: int
    due_us: int
    """When the next one is called; 0: nobody more is."""

    @property
    def over(self) -> bool:
        """Whether nobody more is called."""
        return not self.due_us


def begun(now_us: int) -> Calling:
    """Begin: the first is called now."""
    return Calling(-1, 0, max(now_us, 1))


def forward(
    calling: Calling, steps: Sequence[Step], rounds: int, now_us: int
) -> tuple[Calling, Step | None]:
    """Go on where it is time; gives whom to call now, if anybody.

    One step at a time: a station that was away for a day calls the next one, not all of them.
    """
    if calling.over or now_us < calling.due_us:
        return calling, None
    step, turn = calling.step + 1, calling.round
    if step >= len(steps):
        step, turn = 0, turn + 1
    if turn >= rounds or not steps:
        return replace(calling, due_us=0), None
    return Calling(step, turn, now_us + steps[step].within), steps[step]


def to_backup(calling: Calling, now_us: int) -> Calling:
    """Let the second be called now, unless that was done."""
    if calling.over or calling.step > 0 or calling.round:
        return calling
    return Calling(0, 0, max(now_us, 1))
