"""What is usual of one column of a data set, learnt from batches that were not suspicious. Pure.

It begins with what the table held when it was first seen. Each later calm batch may widen a range
by half of its width at the most, so that nobody leads it far in a few steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from offswitch.watch.rows.batches import ColumnFacts, Five

__all__ = ["Usual"]

_ENOUGH = 20
"""So many values make a range; fewer say little."""
_WIDER = 0.5
_NEW_SHARE = 0.05
"""How much a calm batch counts against all before it."""


@dataclass(slots=True)
class Usual:
    """What is usual of one column."""

    kind: str
    rows: int
    unique: bool
    """Whether it names rows: all its values differ, and are whole numbers where they are such."""
    ordered: float
    distinct: int
    nulls: float
    """Share of inserted rows."""
    negative: float
    odd: float
    brim: float
    values: Five | None
    letters: tuple[float, ...]

    @classmethod
    def of(cls, facts: ColumnFacts) -> Usual:
        """Begin with what a column held when it was first seen."""
        seen = max(facts.seen, 1)
        return cls(
            facts.kind,
            facts.inserted,
            facts.unique and _names(facts),
            facts.ordered,
            facts.distinct,
            facts.nulls / max(facts.inserted, 1),
            facts.negative / seen,
            facts.odd / seen,
            facts.brim,
            facts.fresh,
            facts.letters,
        )

    @property
    def known(self) -> bool:
        """Whether enough was seen to call anything unusual."""
        return self.rows >= _ENOUGH and self.values is not None

    def band(self) -> tuple[float, float]:
        """Give between what limits values lie, with room for what was not seen yet."""
        if self.values is None:
            return -math.inf, math.inf
        low, _, middle, _, high = self.values
        if self.kind == "s":
            return -math.inf, 4 * high + 20
        width = high - low
        if low > 0 and self.kind == "n":
            # Sizes vary by factors, and the more so the more they did.
            return low / 4, high * 4
        room = max(width, abs(middle) * _WIDER, 1e-12)
        return low - room, high + room

    def learn(self, facts: ColumnFacts) -> None:
        """Take a calm batch in."""
        if facts.inserted and self.rows:
            share = min(_NEW_SHARE, facts.inserted / (self.rows + facts.inserted))
            self.nulls += share * (facts.nulls / facts.inserted - self.nulls)
            self.negative += share * (facts.negative / max(facts.seen, 1) - self.negative)
            self.rows += facts.inserted
        self.distinct = max(self.distinct, facts.distinct)
        for five in (facts.fresh, facts.new):
            if five is not None:
                self._widen(five)

    def _widen(self, five: Five) -> None:
        if self.values is None:
            self.values = five
            return
        low, tenth, middle, ninetieth, high = self.values
        room = _WIDER * max(high - low, abs(middle) * 0.1)
        low = min(low, max(five[0], low - room))
        high = max(high, min(five[4], high + room))
        self.values = (low, tenth, middle, ninetieth, high)


def _names(facts: ColumnFacts) -> bool:
    """Tell whether values that all differ can be names; what is measured differs, too."""
    return facts.kind != "n" or all(one.is_integer() for one in facts.fresh or ())
