"""A trend that outliers do not move, and when it reaches a limit (Theil 1950, Sen 1968).

    slope     = median of (y_j - y_i) / (t_j - t_i) over all pairs i < j
    its range : the pairs' slopes in order, those C places from the middle, where
                C = z * sqrt(n (n - 1) (2 n + 5) / 18), the deviation of Kendall's S
    level     = median of y - slope * t, read at the last time
    reaches 1 after (1 - level) / slope, at the earliest and latest by the ends of the range

A trend counts when even the low end of its range, at z = 4, rises: in 28 points about 29 % of the
pairs may contradict it. Readings that hang together make that bolder than it sounds, so what is
claimed of it is never more than an early sign.

Up to 28 points are kept. When they are full every second one is dropped and from then on half as
many are taken, until they span `longest`; then the oldest go. So a fast climb is seen within
seconds of its begin, and a slow one is not forgotten, in the same small memory.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median

__all__ = ["Crossing", "Slope"]

_POINTS = 28
_LEAST = 10
_Z = 4.0
_US = 1_000_000


@dataclass(frozen=True, slots=True)
class Crossing:
    """When a trend reaches the limit, in microseconds from now."""

    in_us: float
    earliest_us: float
    latest_us: float
    per_s: float
    """The slope: limits a second."""
    span_us: int
    """How long the past is that it rests on."""


class Slope:
    """The recent past of one value, thinned out."""

    __slots__ = ("_gap_us", "_longest_us", "_points", "due_us")

    def __init__(self, longest_us: int = 6 * 3_600 * _US) -> None:
        self._longest_us = longest_us
        self._gap_us = 0
        self._points: list[tuple[int, float]] = []
        self.due_us = 0
        """When the next point is taken, monotonic microseconds."""

    def add(self, mono_us: int, value: float) -> None:
        """Take a point in, if it is time for one."""
        if mono_us < self.due_us or not math.isfinite(value):
            return
        points = self._points
        points.append((mono_us, value))
        if len(points) > _POINTS:
            span_us = points[-1][0] - points[0][0]
            if span_us >= self._longest_us:
                del points[0]
            else:
                del points[-2::-2]
                self._gap_us = max(span_us // _POINTS, 2 * self._gap_us, 1)
        self.due_us = mono_us + self._gap_us

    def clear(self) -> None:
        """Forget the past."""
        self._points.clear()
        self._gap_us = self.due_us = 0

    def crossing(self, limit: float = 1.0) -> Crossing | None:
        """Say when the trend reaches `limit`; None: there is none that does."""
        points = self._points
        count = len(points)
        if count < _LEAST or points[-1][1] >= limit:
            return None
        slopes = sorted(
            (y2 - y1) / (t2 - t1)
            for number, (t1, y1) in enumerate(points)
            for t2, y2 in points[number + 1 :]
            if t2 > t1
        )
        away = _Z * math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
        low = math.floor((len(slopes) - away) / 2)
        if low < 0 or slopes[low] <= 0:
            return None
        slope, last = median(slopes), points[-1][0]
        level = median(y - slope * (t - last) for t, y in points)
        rest = max(limit - level, 0.0)
        return Crossing(
            in_us=rest / slope,
            earliest_us=rest / slopes[-1 - low],
            latest_us=rest / slopes[low],
            per_s=slope * _US,
            span_us=last - points[0][0],
        )
