"""What a table held when it was last looked at, and what has changed since. Pure.

A table with a key and few enough rows is kept whole: then each change is known with the
row as it was before. Of any other only totals are kept. Statistics are exact, over the
numbers in a column; what stands there and is no number is counted apart, since a column's
declared type binds nobody in SQLite.
"""

from __future__ import annotations

import hashlib
import marshal
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

__all__ = [
    "Change",
    "Column",
    "Diff",
    "Key",
    "Layout",
    "Row",
    "Rows",
    "Statistics",
    "Totals",
    "Value",
    "diff",
    "digest",
]

Value: TypeAlias = "int | float | str | bytes | None"
Row: TypeAlias = tuple[Value, ...]
Key: TypeAlias = "Value | Row"
"""A row's key: the value itself where one column is the key, else a tuple."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of a table."""

    columns: tuple[str, ...]
    key: tuple[int, ...]
    """Places of the primary key's columns, in the key's order; empty: no key."""
    numeric: tuple[int, ...]
    """Places of the columns whose declared type is a number."""


@dataclass(frozen=True, slots=True)
class Column:
    """The statistics of one numeric column."""

    nulls: int
    odd: int
    """Values that are neither null nor a finite number."""
    low: float
    high: float
    mean: float
    spread: float
    """The standard deviation of the whole column."""


Statistics: TypeAlias = Mapping[str, Column]


@dataclass(frozen=True, slots=True)
class Rows:
    """A table that is kept whole."""

    layout: Layout
    rows: Mapping[Key, Row]
    """Each row by its key."""

    @property
    def count(self) -> int:
        """How many rows there are."""
        return len(self.rows)

    def statistics(self) -> Statistics:
        """Give the statistics of each numeric column."""
        rows = self.rows.values()
        return {
            self.layout.columns[place]: _column([row[place] for row in rows])
            for place in self.layout.numeric
        }


@dataclass(frozen=True, slots=True)
class Totals:
    """A table of which only totals are kept."""

    layout: Layout
    count: int
    columns: Statistics
    why: str
    """Why it is not kept whole, for people."""

    def statistics(self) -> Statistics:
        """Give the statistics of each numeric column."""
        return self.columns


@dataclass(frozen=True, slots=True)
class Change:
    """One row that is not as it was."""

    table: str
    kind: str
    """`inserted`, `changed` or `deleted`."""
    columns: tuple[str, ...]
    key: Key
    before: Row | None
    """The row as it was; None where it was not there."""
    after: Row | None
    key_columns: tuple[str, ...] = ()
    """The names of the key's columns, where they are told."""
    by: str = ""
    """Who did it, as far as that is known; the target's words are in it."""


@dataclass(frozen=True, slots=True)
class Diff:
    """What happened to one table."""

    inserted: int = 0
    changed: int | None = 0
    """None where it cannot be known."""
    deleted: int = 0
    changes: Sequence[Change] = field(default_factory=tuple)
    """The rows themselves, where they are known."""


def _column(values: Sequence[Value]) -> Column:
    numbers = [value for value in values if isinstance(value, int | float) and math.isfinite(value)]
    nulls = values.count(None)
    odd = len(values) - nulls - len(numbers)
    if not numbers:
        return Column(nulls, odd, math.nan, math.nan, math.nan, math.nan)
    low, high = float(min(numbers)), float(max(numbers))
    # Shares of the largest, so that no sum and no square can run over, whatever stands there.
    largest = max(-low, high) or 1.0
    mean = math.fsum(number / largest for number in numbers) / len(numbers) * largest
    farthest = max(high / 2 - mean / 2, mean / 2 - low / 2) * 2 or 1.0
    if not math.isfinite(farthest):
        return Column(nulls, odd, low, high, mean, math.inf)
    squares = math.fsum(((number - mean) / farthest) ** 2 for number in numbers)
    return Column(nulls, odd, low, high, mean, math.sqrt(squares / len(numbers)) * farthest)


def diff(table: str, before: Rows | Totals | None, now: Rows | Totals | None) -> Diff:
    """Say what has changed between two looks; None is a table that is not there."""
    if isinstance(before, Rows) and (isinstance(now, Rows) or now is None):
        if now is not None and now.layout.columns != before.layout.columns:
            # Another shape: nothing can be compared, so all of it went and all of it came.
            gone, came = diff(table, before, None), diff(table, _nothing(now), now)
            changes = (*gone.changes, *came.changes)
            return Diff(came.inserted, 0, gone.deleted, changes)
        return _keyed(table, before, now.rows if now else {})
    old = before.count if before is not None else 0
    new = now.count if now is not None else 0
    if before is None and isinstance(now, Rows):
        return _keyed(table, _nothing(now), now.rows)
    return Diff(max(new - old, 0), None, max(old - new, 0))


def digest(table: Rows | Totals | None) -> str:
    """Name what is known of a table: how many rows, and a digest of them in the order read.

    Equal digests mean equal tables, as far as the table is known at all.
    """
    if table is None:
        return "0 nothing"
    # Of this form of marshal equal values have equal bytes, and it is written in C.
    if isinstance(table, Rows):
        known: tuple[Any, ...] = (table.layout.columns, list(table.rows.values()))
    else:
        known = (table.layout.columns, repr(table.columns))
    held = hashlib.blake2b(marshal.dumps(known, 2), digest_size=16).hexdigest()
    return f"{table.count} {held}"


def _nothing(like: Rows) -> Rows:
    return Rows(like.layout, {})


def _keyed(table: str, before: Rows, now: Mapping[Key, Row]) -> Diff:
    old = before.rows
    touched = [key for key, row in now.items() if old.get(key, row) != row]
    fresh: list[Key] = []
    gone: list[Key] = []
    if now.keys() != old.keys():
        fresh = [key for key in now if key not in old]
        gone = [key for key in old if key not in now]
    columns = before.layout.columns
    changes = [
        *(Change(table, "changed", columns, key, old[key], now[key]) for key in touched),
        *(Change(table, "deleted", columns, key, old[key], None) for key in gone),
        *(Change(table, "inserted", columns, key, None, now[key]) for key in fresh),
    ]
    return Diff(len(fresh), len(touched), len(gone), changes)
