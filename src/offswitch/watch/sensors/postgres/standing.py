"""What a column holds just now, kept up to date change by change.

    one of them for each column of a table that is followed row by row in a stream

Of numbers and times it knows the least, the greatest, the mean and the spread: sums over the
distance from a first value, so that little is lost by subtraction, and a count of each value, so
that the greatest is known again after it is deleted. Of everything else it knows how many rows
have a value, as long as all are different or few are.

What cannot be known is not a number: the least and greatest of a table beyond the rows that are
counted, once a value was taken away; the mean while a number is too large to be squared.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from offswitch.watch.rows.shadow import Column

__all__ = ["Standing", "Value", "as_number"]

Value: TypeAlias = "str | float | None"

_LARGE = 1e100
"""Beyond it a square does not fit well with others."""
_SLACK = 1000
_FEW = 256


def as_number(text: str | None) -> float:
    """Give the number that a text spells; what is none is not a number."""
    try:
        return float(text) if text is not None else math.nan
    except ValueError:
        return math.nan


@dataclass(slots=True)
class Standing:
    """One column."""

    numeric: bool
    """Whether its values are numbers (or times as numbers), given as float; else text."""
    counting: bool = True
    """Whether each value is counted; not beyond so many rows."""
    present: int = 0
    nulls: int = 0
    odd: int = 0
    """Values that are neither null nor a finite number."""
    unique: bool = False
    """Whether all values were different when it was first read."""
    counts: dict[Value, int] = field(default_factory=dict)
    _origin: float | None = None
    _sum: float = 0.0
    _squares: float = 0.0
    _large: int = 0
    _low: list[float] = field(default_factory=list)
    _high: list[float] = field(default_factory=list)
    _narrowed: bool = False
    """Whether a value went of which no count was kept."""

    def begin(self, values: Iterable[Value]) -> None:
        """Take in all that stands there when it is first read."""
        for value in values:
            self.add(value)
        self.unique = self.counting and len(self.counts) == self.present and self.nulls == 0
        if not (self.numeric or self.unique or len(self.counts) <= _FEW):
            self.counting, self.counts = False, {}

    def add(self, value: Value) -> None:
        """A row came, or has this value now."""
        if value is None:
            self.nulls += 1
            return
        self.present += 1
        if self.numeric:
            if not isinstance(value, float) or not math.isfinite(value):
                self.odd += 1
                return
            self._sums(value, 1)
            if not self.counting or value not in self.counts:
                heapq.heappush(self._low, value)
                heapq.heappush(self._high, -value)
        if self.counting:
            self.counts[value] = self.counts.get(value, 0) + 1
        if len(self._low) > 2 * len(self.counts) + _SLACK:
            self._trim()

    def remove(self, value: Value) -> None:
        """A row went, or no longer has this value."""
        if value is None:
            self.nulls -= 1
            return
        self.present -= 1
        if self.numeric:
            if not isinstance(value, float) or not math.isfinite(value):
                self.odd -= 1
                return
            self._sums(value, -1)
        if not self.counting:
            self._narrowed = True
            return
        left = self.counts.get(value, 0) - 1
        if left > 0:
            self.counts[value] = left
        else:
            self.counts.pop(value, None)

    def set(self, rows: int, present: int, four: Sequence[float]) -> None:
        """Take in what the server counted: `four` are least, greatest, mean and spread."""
        low, high, mean, spread = four
        self.present, self.nulls, self.odd = present, rows - present, 0
        self._low, self._high = [low], [-high]
        self._origin = mean if math.isfinite(mean) else None
        self._sum = 0.0
        self._squares = present * spread * spread if math.isfinite(spread) else 0.0

    def clear(self) -> None:
        """All rows went."""
        fresh = Standing(self.numeric, self.counting, unique=self.unique)
        for name in ("present", "nulls", "odd", "counts", "_origin", "_sum", "_squares", "_large"):
            setattr(self, name, getattr(fresh, name))
        self._low, self._high, self._narrowed = [], [], False

    def _sums(self, value: float, sign: int) -> None:
        if abs(value) > _LARGE:
            self._large += sign
            return
        if self._origin is None:
            self._origin = value
        away = value - self._origin
        self._sum += sign * away
        self._squares += sign * away * away

    def _trim(self) -> None:
        """Forget in the heaps what is there no more."""
        if self.counting:
            values = [value for value in self.counts if isinstance(value, float)]
            self._low, self._high = values, [-value for value in values]
        else:
            self._low = heapq.nsmallest(1, self._low)
            self._high = heapq.nsmallest(1, self._high)
        heapq.heapify(self._low)
        heapq.heapify(self._high)

    def _edge(self, heap: list[float], sign: int) -> float:
        if self.counting:
            while heap and sign * heap[0] not in self.counts:
                heapq.heappop(heap)
        elif self._narrowed:
            return math.nan
        return sign * heap[0] if heap else math.nan

    def statistics(self) -> Column:
        """Say what stands there now."""
        count = self.present - self.odd
        if count <= 0:
            return Column(self.nulls, self.odd, math.nan, math.nan, math.nan, math.nan)
        low, high = self._edge(self._low, 1), self._edge(self._high, -1)
        if self._large or self._origin is None:
            return Column(self.nulls, self.odd, low, high, math.nan, math.inf)
        mean = self._sum / count
        spread = math.sqrt(max(self._squares / count - mean * mean, 0.0))
        return Column(self.nulls, self.odd, low, high, self._origin + mean, spread)

    def up_to(self, value: float) -> float:
        """Count the rows that hold no more than `value`."""
        if not self.counting:
            return math.nan
        return float(
            sum(n for one, n in self.counts.items() if isinstance(one, float) and one <= value)
        )
