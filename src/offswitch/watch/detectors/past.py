"""The past of a stream of numbers, in order of size: ranks, quantiles, and how rare a number is.

    share(q)   the q-quantile of the last `room` numbers (the one at q (n - 1), rounded down)
    surprise   -log10((1 + how many of the past are at least as large) / (n + 1))

A surprise of 2 says: one in a hundred of those before it was as large. It knows no
distribution, so that streams of any unit and shape can be added up once each is ranked
against its own past; and it cannot be driven beyond log10(n + 1), however absurd a number.

Two arrays of doubles are all that is kept: the numbers as they came, in a ring, and the
same in order. A number costs a binary search and the moving of half an array.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, insort

__all__ = ["Past", "Surprise", "bounded", "spread"]

_LARGEST = 1e150
_RELATIVE_FLOOR = 1e-6
_SMALLEST = 1e-12


class Past:
    """The last `room` numbers of a stream."""

    __slots__ = ("_arrivals", "_next", "_ordered", "_room")

    def __init__(self, room: int) -> None:
        """Keep at most `room` numbers; none of them may be a NaN."""
        self._room = room
        self._arrivals = array("d")
        self._ordered = array("d")
        self._next = 0

    def __len__(self) -> int:
        """Say how many are kept."""
        return len(self._ordered)

    def learn(self, number: float) -> None:
        """Take in the next number, and forget the oldest where there is no room."""
        ordered = self._ordered
        if len(ordered) < self._room:
            self._arrivals.append(number)
        else:
            place = self._next
            del ordered[bisect_left(ordered, self._arrivals[place])]
            self._arrivals[place] = number
            self._next = (place + 1) % self._room
        insort(ordered, number)

    def share(self, quantile: float) -> float:
        """Give a quantile: 0 is the smallest, 1 the largest. There must be a number."""
        return self._ordered[int(quantile * (len(self._ordered) - 1))]

    def at_least(self, number: float) -> int:
        """Count those that are as large as `number` or larger."""
        return len(self._ordered) - bisect_left(self._ordered, number)

    def nearest(self, number: float, count: int) -> float:
        """Give the distance to the `count`-th nearest; there must be as many."""
        ordered = self._ordered
        above = bisect_left(ordered, number)
        below, distance = above - 1, 0.0
        for _ in range(count):
            down = number - ordered[below] if below >= 0 else math.inf
            up = ordered[above] - number if above < len(ordered) else math.inf
            if down <= up:
                below, distance = below - 1, down
            else:
                above, distance = above + 1, up
        return distance


class Surprise:
    """How rare each number of a stream is among those before it."""

    __slots__ = ("_past",)

    def __init__(self, room: int) -> None:
        """Rank against the last `room` numbers."""
        self._past = Past(room)

    def of(self, number: float) -> float:
        """Give the surprise of the next number, in powers of ten, and learn it."""
        past = self._past
        one_in = (len(past) + 1) / (1 + past.at_least(number))
        past.learn(number)
        return math.log10(one_in)


def bounded(value: float) -> float:
    """Bring infinity and the like to where sums and squares still are numbers."""
    return min(max(value, -_LARGEST), _LARGEST)


def spread(past: Past, inner: float, floor: float) -> float:
    """Measure how wide the past is, robustly: one absurd number does not move it.

    It is the width between the quantiles `inner` and 1 - `inner`; where most of the past is
    one value, at least the share `floor` of the width of all but the outermost 0.5 %; and
    never so small that the rounding of a large value would count.
    """
    low, high = past.share(inner), past.share(1 - inner)
    return max(
        high - low,
        floor * (past.share(0.995) - past.share(0.005)),
        _RELATIVE_FLOOR * max(abs(low), abs(high)),
        _SMALLEST,
    )
