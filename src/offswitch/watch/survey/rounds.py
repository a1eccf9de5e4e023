"""Readings that wait for the bank, in rounds in which each series speaks at most once.

The bank judges a hundred series in one step as fast as one, but only the next reading of each. So
the first reading of each series that waits makes the first round, the second ones the second; a
round of a thousand is full, which is what a turn may take. A series that says much at once (one
reading for each event) fills many rounds alone; beyond a bound its readings are left out and
counted.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

__all__ = ["Round", "Rounds"]

_MOST = 64
_FULL = 1000


@dataclass(slots=True)
class Round:
    """One reading of each of some series."""

    slots: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    wall_us: list[int] = field(default_factory=list)


class Rounds:
    """All that waits."""

    __slots__ = ("_first", "_next", "_open", "_waiting", "left_out")

    def __init__(self) -> None:
        self._waiting: deque[Round] = deque()
        self._first = 0
        """The number of the first round that waits."""
        self._open = 0
        """The number of the first round that is not full."""
        self._next: dict[int, int] = {}
        """For each slot the number of the first round that it is not in."""
        self.left_out = 0
        """Readings for which there was no round, since the last time that somebody asked."""

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def full(self) -> bool:
        """Whether the first round is full."""
        return self._open > self._first

    def add(self, slot: int, value: float, wall_us: int) -> None:
        """Have a reading wait."""
        number = max(self._next.get(slot, 0), self._open)
        place = number - self._first
        while place < len(self._waiting) and len(self._waiting[place].slots) >= _FULL:
            place += 1
        if place >= _MOST:
            self.left_out += 1
            return
        while place >= len(self._waiting):
            self._waiting.append(Round())
        self._next[slot] = self._first + place + 1
        one = self._waiting[place]
        one.slots.append(slot)
        one.values.append(value)
        one.wall_us.append(wall_us)
        if len(one.slots) >= _FULL and self._first + place == self._open:
            self._open += 1

    def take(self) -> Round:
        """Give the first round."""
        self._first += 1
        self._open = max(self._open, self._first)
        if len(self._waiting) == 1:
            self._next.clear()
        return self._waiting.popleft()

    def clear(self) -> None:
        """Forget all that waits."""
        self._waiting.clear()
        self._next.clear()
