"""Who looks on: whatever learns from readings without having a say in the next order.

    eye ─► rules judge, orders leave ─► then, and only then: batch ─► survey, store of readings

A batch waits here until the loop has nothing better to do, and is handed on a few at a time, so
that ten thousand series that arrive at once put off no decision. What waits is bounded: beyond
half a million samples the oldest batches are dropped and counted, and that is told.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from offswitch.model.finding import Finding
from offswitch.watch.sensors.contract import Signal

__all__ = ["Batch", "Onlooker", "Onlookers"]

_MOST_WAITING = 500_000
"""Samples, in all batches that wait."""
_A_TURN = 1_000
"""Samples that are handed on before the loop looks again whether something else is due."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one look of one sensor gave."""

    sensor: str
    target: str
    signal: Signal
    hearsay: bool
    """Whether these are the target's own words (SR-6)."""
    mono_us: int
    """When it was heard, monotonic."""
    wall_us: int
    samples: Sequence[tuple[str, float, Mapping[str, str]]]
    """Series, value (not a number: it cannot be known) and detail, hostile text included."""


class Onlooker(Protocol):
    """Learns from readings. Which way it fails: without it less is known, and no stop is later.

    One that has `notes(mono_us)` is asked for what `status` shall show, short and the latest first;
    one whose `waiting` is true has its next turn at once.
    """

    def take(self, batch: Batch) -> None:
        """Take a batch in: at once, bounded, without waiting for anything."""
        ...

    def turn(self, mono_us: int, wall_us: int) -> Sequence[Finding]:
        """Do a little of what is due, a millisecond's worth; give what there is to claim."""
        ...

    def close(self) -> None:
        """Let go of everything; may be called twice."""
        ...


class Onlookers:
    """All of them, and what waits for them."""

    __slots__ = ("_all", "_lost", "_waiting", "_waiting_samples")

    def __init__(self, onlookers: Sequence[Onlooker]) -> None:
        """Hand everything to each of `onlookers`."""
        self._all = tuple(onlookers)
        self._waiting: deque[Batch] = deque()
        self._waiting_samples = 0
        self._lost = 0

    @property
    def waiting(self) -> bool:
        """Whether there is something to be handed on."""
        return bool(self._waiting) or any(getattr(one, "waiting", False) for one in self._all)

    def see(self, batch: Batch) -> None:
        """Keep a batch for them."""
        if not self._all or not batch.samples:
            return
        self._waiting.append(batch)
        self._waiting_samples += len(batch.samples)
        while self._waiting_samples > _MOST_WAITING and len(self._waiting) > 1:
            lost = len(self._waiting.popleft().samples)
            self._waiting_samples -= lost
            self._lost += lost

    def turn(self, mono_us: int, wall_us: int) -> list[Finding]:
        """Hand on a few batches, and let each do what is due."""
        room = _A_TURN
        while self._waiting and room > 0:
            batch = self._waiting.popleft()
            self._waiting_samples -= len(batch.samples)
            room -= len(batch.samples)
            for one in self._all:
                one.take(batch)
        return [finding for one in self._all for finding in one.turn(mono_us, wall_us)]

    def notes(self, mono_us: int) -> list[str]:
        """Give what people should see of it in `status`, of those that have a word for them."""
        told = (getattr(one, "notes", None) for one in self._all)
        return [note for tell in told if tell for note in tell(mono_us)]

    def lost(self) -> int:
        """Give how many samples were dropped since the last call."""
        lost, self._lost = self._lost, 0
        return lost

    def close(self) -> None:
        """End them all."""
        self._waiting.clear()
        self._waiting_samples = 0
        for one in self._all:
            one.close()
