"""An e-CUSUM: evidence that adds up, with a false-alarm rate that is declared beforehand.

    M = max(1, M) * e;   the alarm rises when M >= every

Each `e` is a bet against "all is as it was": never negative, and at most 1 on average while that
holds. Then the mean number of readings to a false alarm is at least `every`, whatever else the
readings are distributed like (Shin, Ramdas, Rinaldo: E-detectors, 2024, theorem 2.4). It is kept
as a logarithm, and never more than twice as high as the alarm, so that it can fall again.
"""

from __future__ import annotations

import math

__all__ = ["ECusum"]


class ECusum:
    """The sum of one side."""

    __slots__ = ("_height", "_limit")

    def __init__(self, every: float) -> None:
        """Alarm at most once in `every` readings that are as usual, on average."""
        self._limit = math.log(every)
        self._height = 0.0

    def update(self, log_e: float) -> float:
        """Take in the logarithm of one bet; gives the height as a share of the limit."""
        self._height = min(max(self._height, 0.0) + log_e, 2 * self._limit)
        return max(self._height, 0.0) / self._limit

    def reset(self) -> None:
        """Begin anew."""
        self._height = 0.0
