"""A trend that outliers do not move, and when it reaches a limit (Theil 1950, Sen 1968).

    slope     = median of (y_j - y_i) / (t_j - t_i) over all pairs i < j
    its range : the pairs' slopes in order, those C places from the middle, where
                C = z * sqrt(n (n - 1) (2 n + 5) / 18), the deviation of Kendall's S
    level     = median of y - slope * t, read at the last time
    reaches 1 after (1 - level) / slope, at the earliest and latest by the ends of the range

A trend counts when even the low end of its range, at z = 4, rises: in 28 points about 29 % of the
pairs may contradict it. Readings that hang together make that bolder than it sounds, so what is
claimed of it is never more than an early sign.

Points are kept on four scales, 28 on each, over the last minute, ten minutes, hour and six hours:
a fast climb after hours of calm is seen on the first, a slow one on the last, in the same small
memory. A scale speaks from ten points on, and carries its trend on by three times its own past at
the most. It speaks of what is new, too: where the longer scales know the time before, the trend
must have left what was usual then, by half of how far that reached above its median, since values
that hang together climb for a while all day long. Of several that reach the limit the soonest
counts.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

__all__ = ["Crossing", "Slope"]

_POINTS = 28
_LEAST = 10
_Z = 4.0
_FAR = 3
_LAST = 5
_US = 1_000_000
_SCALES_US = (60 * _US, 600 * _US, 3_600 * _US, 6 * 3_600 * _US)


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
    """The recent past of one value, on several scales."""

    __slots__ = ("_scales", "due_us")

    def __init__(self) -> None:
        self._scales = [_Scale(span_us) for span_us in _SCALES_US]
        self.due_us = 0
        """When the next point is taken, monotonic microseconds."""

    def add(self, mono_us: int, value: float) -> None:
        """Take a point in, if it is time for one."""
        if mono_us < self.due_us or not math.isfinite(value):
            return
        for scale in self._scales:
            if mono_us < scale.due_us:
                break  # the longer ones take no point more often
            scale.add(mono_us, value)
        self.due_us = self._scales[0].due_us

    def clear(self) -> None:
        """Forget the past."""
        self.due_us = 0
        for scale in self._scales:
            scale.clear()

    def crossing(self, limit: float = 1.0) -> Crossing | None:
        """Say when the trend reaches `limit`; None: there is none that does."""
        found = []
        for number, scale in enumerate(self._scales):
            one = scale.crossing(limit)
            if one is not None and scale.level > self._usual(number, scale.begin_us):
                found.append(one)
        return min(found, key=lambda one: one.in_us, default=None)

    def _usual(self, number: int, before_us: int) -> float:
        """Give what the longer scales say was still usual before; nothing where they do not."""
        past = [y for scale in self._scales[number + 1 :] for y in scale.before(before_us)]
        if len(past) < _LEAST:
            return -math.inf
        top = max(past)
        return top + (top - median(past)) / 2


class _Scale:
    """The last points over one span."""

    __slots__ = ("_found", "_gap_us", "_limit", "_points", "due_us")

    def __init__(self, span_us: int) -> None:
        self._gap_us = span_us // _POINTS
        self._points: deque[tuple[int, float]] = deque(maxlen=_POINTS)
        self._found: Crossing | None = None
        self._limit: float | None = None
        """For which limit `_found` was found; None: it is to be looked for."""
        self.due_us = 0

    def add(self, mono_us: int, value: float) -> None:
        self._points.append((mono_us, value))
        self._limit = None
        self.due_us = mono_us + self._gap_us

    def clear(self) -> None:
        self._points.clear()
        self._found = self._limit = None
        self.due_us = 0

    @property
    def begin_us(self) -> int:
        """When its first point was taken."""
        return self._points[0][0] if self._points else 0

    @property
    def level(self) -> float:
        """Where it has come to: the median of its last points."""
        return median([y for _t, y in self._points][-_LAST:])

    def before(self, mono_us: int) -> list[float]:
        """Give its points before that."""
        return [y for t, y in self._points if t < mono_us]

    def crossing(self, limit: float) -> Crossing | None:
        """Look for the crossing, once for each new point."""
        if self._limit != limit:
            self._limit, self._found = limit, _crossing(self._points, limit)
        return self._found


def _crossing(points: Sequence[tuple[int, float]], limit: float) -> Crossing | None:
    count = len(points)
    if count < _LEAST or points[-1][1] >= limit:
        return None
    listed = list(points)
    slopes = sorted(
        (y2 - y1) / (t2 - t1)
        for number, (t1, y1) in enumerate(listed)
        for t2, y2 in listed[number + 1 :]
    )
    away = _Z * math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    low = math.floor((len(slopes) - away) / 2)
    if low < 0 or slopes[low] <= 0:
        return None
    slope, last = median(slopes), listed[-1][0]
    level = median(y - slope * (t - last) for t, y in listed)
    rest = max(limit - level, 0.0)
    span_us = last - listed[0][0]
    if rest / slope > _FAR * span_us:
        return None
    return Crossing(
        in_us=rest / slope,
        earliest_us=rest / slopes[-1 - low],
        latest_us=rest / slopes[low],
        per_s=slope * _US,
        span_us=span_us,
    )
