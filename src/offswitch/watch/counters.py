"""Counters that only grow, as *how much is new since the last look*; a restart is told.

    increase = value - before           as long as it has not fallen
    increase = value                    when it has: the source began anew at 0 (as Prometheus does)

A counter that is first seen in a source that was looked at before began at 0 since then: all of
it is new. Of a source's first look nothing is: what was counted before is the past.

From two cumulative histograms, `spread` gives quantiles of what came in between, by linear
interpolation within a bucket, as Prometheus' `histogram_quantile` does.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Counters", "Grown", "spread"]


@dataclass(frozen=True, slots=True)
class Grown:
    """What one counter has done since it was last seen."""

    by: float
    """How much is new; never negative."""
    reset: bool
    """Whether it began anew in between."""


class Counters:
    """The last values of so many counters at most."""

    __slots__ = ("_before", "_most", "_seen", "resets")

    def __init__(self, most: int) -> None:
        """Remember `most` of them; one more is not followed."""
        self._before: dict[Hashable, float] = {}
        self._seen: set[Hashable] = set()
        self._most = most
        self.resets = 0
        """How many began anew since this was last set to 0."""

    def grow(self, key: Hashable, value: float, *, new: float = 0.0) -> Grown | None:
        """Take in a value; `new`: how much of it is new where it was never seen. None: unknown."""
        if not math.isfinite(value) or value < 0:
            return None
        before = self._before.get(key)
        if before is None:
            if len(self._before) >= self._most:
                return None
            self._before[key] = value
            self._seen.add(key)
            return Grown(new, reset=False)
        self._before[key] = value
        self._seen.add(key)
        if value < before:
            self.resets += 1
            return Grown(value, reset=True)
        return Grown(value - before, reset=False)

    def turn(self) -> None:
        """End a look: where there is little room left, forget what it did not show."""
        if len(self._before) * 2 > self._most:
            self._before = {key: self._before[key] for key in self._seen}
        self._seen.clear()


def spread(grown: Mapping[float, float], shares: Sequence[float]) -> list[float]:
    """Give quantiles from *cumulative* increases by upper bound; not a number where none came."""
    bounds = sorted(grown)
    total = grown[bounds[-1]] if bounds else 0.0
    if total <= 0 or not math.isinf(bounds[-1]):
        return [math.nan] * len(shares)
    found = []
    for share in shares:
        rank, low, below = share * total, 0.0, 0.0
        value = bounds[-2] if len(bounds) > 1 else math.nan
        for bound in bounds:
            if grown[bound] >= rank:
                if not math.isinf(bound):
                    inside = grown[bound] - below
                    low = min(low, bound)
                    value = low + (bound - low) * ((rank - below) / inside if inside > 0 else 1.0)
                break
            low, below = bound, grown[bound]
        found.append(value)
    return found
