"""Looks in turn at how near each channel comes to its limit, a few at a time.

A trend costs a tenth of a millisecond to judge, and there may be thousands of channels, so they
are gone through round by round, a few milliseconds' worth at each tick: nothing here makes a stop
later (`watch.approach` says what there is to be said of one).
"""

from __future__ import annotations

from collections.abc import Sequence

from offswitch.model.finding import Finding
from offswitch.watch.bench import Bench

__all__ = ["Lookout"]

_A_TURN = 24


class Lookout:
    """Remembers where the round stands."""

    __slots__ = ("_next",)

    def __init__(self) -> None:
        self._next = 0

    def turn(self, benches: Sequence[Bench], mono_us: int, wall_us: int) -> list[Finding]:
        """Look at the next few rules' channels; gives what there is to be said of them."""
        found: list[Finding] = []
        for _ in range(min(_A_TURN, len(benches))):
            self._next = (self._next + 1) % len(benches)
            for judge in benches[self._next].judges:
                found += judge.signs(mono_us, wall_us)
        return found
