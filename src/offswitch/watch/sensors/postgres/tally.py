"""Adds up what is done to a table until it is told as a batch.

Counts are exact; what is measured rests on at most a few thousand values of each kind, drawn
evenly from all of them, so that a batch of any size costs a bounded amount of memory and time.
Nothing here knows what is usual: that is a detector's business.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from offswitch.watch.rows.batches import BatchFacts, ColumnFacts, Five
from offswitch.watch.sensors.postgres.standing import Standing, Value

__all__ = ["Kind", "Tally"]

Kind = str
"""`n`, `t`, `s` or `o`, as in `ColumnFacts`."""

_MOST_VALUES = 2048
_SEVERAL = 5
"""What is left beside fewer deleted rows says nothing."""
_MOST_LETTERS = 100_000
_VOWELS = "aeiouyäöüAEIOUYÄÖÜ"


class _Drawn:
    """An even draw from values of which nobody knows how many will come (Vitter 1985)."""

    __slots__ = ("_state", "count", "values")

    def __init__(self) -> None:
        self.values: list[tuple[Value, ...]] = []
        self.count = 0
        self._state = 88172645463325252

    def add(self, value: tuple[Value, ...]) -> None:
        self.count += 1
        if len(self.values) < _MOST_VALUES:
            self.values.append(value)
            return
        # Marsaglia's xorshift: evenness is all that is asked of it.
        self._state ^= self._state << 13 & 0xFFFF_FFFF_FFFF_FFFF
        self._state ^= self._state >> 7
        self._state ^= self._state << 17 & 0xFFFF_FFFF_FFFF_FFFF
        place = self._state % self.count
        if place < _MOST_VALUES:
            self.values[place] = value


@dataclass(slots=True)
class _Touched:
    """What happened to one column."""

    fresh: _Drawn = field(default_factory=_Drawn)
    """Inserted values."""
    pairs: _Drawn = field(default_factory=_Drawn)
    """Old and new values where they differ."""
    youngest: float = -math.inf
    """The greatest value that was deleted."""
    nulls: int = 0
    emptied: int = 0
    filled: int = 0
    balance: int = 0
    """A number for each new value less those of the old ones: nought if they are the same."""


class Tally:
    """What was done to one table since it was last told."""

    def __init__(self, columns: Sequence[tuple[str, Kind]]) -> None:
        """`columns`: the name and the kind of each."""
        self._columns = columns
        self._touched = [_Touched() for _ in columns]
        self.inserted = self.changed = self.deleted = 0
        self.transactions = self.largest = 0

    @property
    def rows(self) -> int:
        """How many rows were touched."""
        return self.inserted + self.changed + self.deleted

    def widen(self, columns: Sequence[tuple[str, Kind]]) -> None:
        """There are more columns from now on."""
        self._touched += [_Touched() for _ in columns[len(self._columns) :]]
        self._columns = columns

    def insert(self, row: Sequence[Value]) -> None:
        """A row came."""
        self.inserted += 1
        for value, touched in zip(row, self._touched, strict=True):
            if value is None:
                touched.nulls += 1
            else:
                touched.fresh.add((value,))

    def change(self, old: Sequence[Value], new: Sequence[Value]) -> None:
        """A row has other values."""
        self.changed += 1
        for before, after, touched in zip(old, new, self._touched, strict=True):
            if before == after or (before != before and after != after):  # noqa: PLR0124 - NaN
                continue
            touched.emptied += after is None
            touched.filled += before is None
            touched.balance += hash((after,)) - hash((before,))
            touched.pairs.add((before, after))

    def unknown(self, *, deleted: bool) -> None:
        """A row was changed or deleted, and what it was is not known."""
        self.deleted += deleted
        self.changed += not deleted

    def delete(self, row: Sequence[Value]) -> None:
        """A row went."""
        self.deleted += 1
        for value, touched in zip(row, self._touched, strict=True):
            if isinstance(value, float) and value > touched.youngest:
                touched.youngest = value

    def end(self, rows: int) -> None:
        """A transaction ended that touched so many rows of this table."""
        self.transactions += 1
        self.largest = max(self.largest, rows)

    def told(
        self, standing: Sequence[Standing | None], rows: int, time_us: int, *, first: bool = False
    ) -> BatchFacts:
        """Say what was done; the table is now as `standing` says."""
        columns = []
        for (name, kind), touched, now in zip(self._columns, self._touched, standing, strict=True):
            facts = self._facts(name, kind, touched, now)
            if self.inserted or facts.changed or not math.isnan(facts.rest):
                columns.append(facts)
        return BatchFacts(
            first=first,
            transactions=self.transactions,
            rows=rows,
            inserted=self.inserted,
            changed=self.changed,
            deleted=self.deleted,
            largest=self.largest,
            time_us=time_us,
            columns=tuple(columns),
        )

    def _facts(self, name: str, kind: Kind, touched: _Touched, now: Standing | None) -> ColumnFacts:
        fresh = [value for (value,) in touched.fresh.values]
        pairs = touched.pairs.values
        old = [one[0] for one in pairs if one[0] is not None]
        new = [one[1] for one in pairs if one[1] is not None]
        both = [(one[0], one[1]) for one in pairs if None not in one]
        present = fresh + new
        counts = Counter(present)
        rest = math.nan
        whole = self.transactions <= 1 and self.deleted >= _SEVERAL
        if whole and touched.youngest > -math.inf and now is not None:
            rest = now.up_to(touched.youngest)
        again = 0
        if now is not None and now.unique and now.counting:
            again = sum(n for value, n in counts.items() if now.counts.get(value, 0) > 1)
        told: dict[str, Any] = {}
        if kind in {"n", "t"}:
            told = _numbers(kind, fresh, new, old, both)
        elif kind == "s":
            told = _texts(fresh, new, old, both)
        return ColumnFacts(
            name=name,
            kind=kind,
            inserted=self.inserted,
            nulls=touched.nulls,
            changed=touched.pairs.count,
            emptied=touched.emptied,
            filled=touched.filled,
            seen=len(present) + len(old),
            distinct=len(counts),
            distinct_old=len(set(old)),
            permuted=touched.pairs.count > 1 and touched.balance == 0,
            only=_only(counts),
            again=again,
            unique=bool(now is not None and now.unique),
            rest=rest,
            **told,
        )


def _five(values: Sequence[float]) -> Five | None:
    ordered = sorted(value for value in values if math.isfinite(value))
    if not ordered:
        return None
    last = len(ordered) - 1
    low, tenth, middle, ninetieth, high = (
        ordered[round(last * share)] for share in (0, 0.1, 0.5, 0.9, 1)
    )
    return low, tenth, middle, ninetieth, high


def _only(counts: Counter[Value]) -> str:
    """Name the only new value without telling it; empty: there are several."""
    if len(counts) != 1:
        return ""
    (value,) = counts
    spelt = repr(value).encode("utf-8", "backslashreplace")
    return hashlib.blake2b(spelt, digest_size=6).hexdigest()


def _numbers(
    kind: Kind,
    fresh: Sequence[Value],
    new: Sequence[Value],
    old: Sequence[Value],
    both: Sequence[tuple[Value, Value]],
) -> dict[str, Any]:
    def numbers(values: Sequence[Value]) -> list[float]:
        return [value for value in values if isinstance(value, float)]

    pairs = [(a, b) for a, b in both if isinstance(a, float) and isinstance(b, float)]
    if kind == "t":
        ratios = [after - before for before, after in pairs]
    else:
        ratios = [
            math.log(abs(b / a)) for a, b in pairs if a and b and math.isfinite(b / a) and b / a
        ]
    present = [*numbers(fresh), *numbers(new)]
    return {
        "fresh": _five(numbers(fresh)),
        "new": _five(numbers(new)),
        "old": _five(numbers(old)),
        "ratio": _five(ratios),
        "negative": sum(value < 0 for value in present),
        "mirrored": sum(before == -after != 0 for before, after in pairs),
        "odd": len(fresh) + len(new) - sum(map(math.isfinite, present)),
    }


def _texts(
    fresh: Sequence[Value],
    new: Sequence[Value],
    old: Sequence[Value],
    both: Sequence[tuple[Value, Value]],
) -> dict[str, Any]:
    def lengths(values: Sequence[Value]) -> list[float]:
        return [float(len(value)) for value in values if isinstance(value, str)]

    present = [value for value in (*fresh, *new) if isinstance(value, str)]
    longest = max(map(len, present), default=0)
    pairs = [(a, b) for a, b in both if isinstance(a, str) and isinstance(b, str)]
    return {
        "fresh": _five(lengths(fresh)),
        "new": _five(lengths(new)),
        "old": _five(lengths(old)),
        "cut": sum(
            len(after) < len(before) and before.startswith(after) for before, after in pairs
        ),
        "brim": sum(len(one) == longest for one in present) / len(present) if present else 0.0,
        "letters": _letters(present),
        "length": sum(map(len, present)) / len(present) if present else 0.0,
        "letters_old": _letters([one for one in old if isinstance(one, str)]),
    }


def _is_cut(before: str, after: str) -> bool:
    """Tell whether more than spaces at its end was taken from a text."""
    return len(after) < len(before.rstrip()) and before.startswith(after)


def _letters(texts: Sequence[str]) -> tuple[float, ...]:
    """Give the shares of the kinds of characters in texts."""
    room, parts = _MOST_LETTERS, []
    for text in texts:
        parts.append(text[: min(room, 1000)])
        room -= len(parts[-1])
        if room <= 0:
            break
    counts = Counter("".join(parts))
    total = counts.total()
    if not total:
        return ()
    shares = [0] * 7
    for letter, n in counts.items():
        shares[_letter_kind(letter)] += n
    return tuple(one / total for one in shares)


def _letter_kind(letter: str) -> int:
    if letter.isspace():
        return 4
    if letter.isdigit():
        return 3
    if letter.isalpha() and letter.isprintable():
        if letter.isupper():
            return 2
        return 0 if letter in _VOWELS else 1
    return 5 if letter.isascii() and letter.isprintable() else 6
