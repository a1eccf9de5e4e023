"""What was done to one table at once, in numbers: the *batch* that a data-set band judges.

A sensor of data spells one as the detail of a reading of `batch{table}`, whose value is the number
of rows that were touched; a detector reads it back. Old and new values never leave the sensor this
way, only counts, quantiles and shares do, so that a batch of a million rows is as short as one of
ten. What a table holds when it is first seen is spelt in the same way, as a batch of inserts.

Names of columns are the target's, and so is everything that was counted: a batch that cannot be
read is an error, never a calm one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

__all__ = ["BatchFacts", "ColumnFacts", "Five", "read_batch", "spell_batch"]

Five = tuple[float, float, float, float, float]
"""Least, tenth, middle, ninetieth, greatest."""

_LONGEST_TEXT = 1000
_MOST_TEXTS = 14
_MOST_DETAIL = 64_000
_DIGITS = 7
_DIGITS_OF_TIMES, _LIKE_A_TIME = 12, 1e6


@dataclass(frozen=True, slots=True)
class ColumnFacts:
    """What a batch did to one column, over rows inserted and rows in which it changed."""

    name: str
    kind: str
    """`n` numbers, `t` times in seconds since 1970, `s` text, `o` others."""
    inserted: int = 0
    """Rows inserted."""
    nulls: int = 0
    """Of these null."""
    changed: int = 0
    """Rows in which it changed."""
    emptied: int = 0
    """Of these to null."""
    filled: int = 0
    """Of these from null."""
    seen: int = 0
    """Old and new values that all below rests on: at most a few thousand of each."""
    distinct: int = 0
    """Different values among the new ones, inserted or changed."""
    distinct_old: int = 0
    """Different values among the old ones of the changed."""
    permuted: bool = False
    """Whether the new values of all changed rows are their old ones in another order."""
    only: str = ""
    """A name for the new value, if there is but one; it does not tell the value."""
    again: int = 0
    """New values that another row has, too; where every value was different before."""
    unique: bool = False
    """Whether every value was different before."""
    ordered: float = 0.0
    """Share of neighbours by key that are in the same order by this column; of a first look."""
    fresh: Five | None = None
    """Inserted values; of text their lengths."""
    new: Five | None = None
    """Values that changed ones have now; of text their lengths."""
    old: Five | None = None
    """Values that changed ones had."""
    ratio: Five | None = None
    """New over old of the changed numbers, in natural logarithms of the ratio of their sizes; of
    times new less old in seconds."""
    negative: int = 0
    """New values below nought."""
    mirrored: int = 0
    """Changed numbers that are now exactly the negative of what they were."""
    odd: int = 0
    """New values that are not finite numbers, where numbers are expected."""
    cut: int = 0
    """Changed texts that are now a beginning of what they were."""
    brim: float = 0.0
    """Share of the new texts that are exactly as long as the longest of them."""
    length: float = 0.0
    """Mean length of the new texts."""
    letters: tuple[float, ...] = ()
    """Text: shares of vowels, other letters, capitals, digits, spaces, punctuation, others."""
    letters_old: tuple[float, ...] = ()
    """The same of what the changed had."""
    rest: float = math.nan
    """Rows left that are no younger by this column than the youngest that was deleted."""


@dataclass(frozen=True, slots=True)
class BatchFacts:
    """What was done to one table in one transaction, or in several short ones."""

    first: bool
    """Whether this is what the table held when it was first seen."""
    transactions: int
    rows: int
    """How many rows the table has after it."""
    inserted: int
    changed: int
    deleted: int
    largest: int
    """Rows that the largest of the transactions touched."""
    time_us: int
    """When it was committed, UTC in microseconds."""
    left_out: int = 0
    """Columns for which there was no room."""
    columns: tuple[ColumnFacts, ...] = field(default_factory=tuple)

    @property
    def touched(self) -> int:
        """How many rows were inserted, changed or deleted."""
        return self.inserted + self.changed + self.deleted


_PLAIN = {one.name: one.default for one in fields(ColumnFacts)}


def _number(value: float) -> float | str:
    if not math.isfinite(value):
        return str(value)
    digits = _DIGITS_OF_TIMES if abs(value) > _LIKE_A_TIME else _DIGITS
    return float(f"{value:.{digits}g}")


def _plain(value: object) -> object:
    if isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, tuple):
        return [_number(one) for one in value]
    return value


def _column(facts: ColumnFacts) -> str:
    told = {
        name: _plain(value)
        for name, default in _PLAIN.items()
        if (value := getattr(facts, name)) != default and value == value  # noqa: PLR0124 - NaN
    }
    return json.dumps(told, separators=(",", ":"))


def spell_batch(facts: BatchFacts) -> dict[str, str]:
    """Spell a batch as the detail of a reading: `batch`, `columns_0`, `columns_1` and so on."""
    parts: list[str] = []
    left_out = facts.left_out
    for column in facts.columns:
        text = _column(column)
        if parts and len(parts[-1]) + len(text) + 1 <= _LONGEST_TEXT - 2:
            parts[-1] += "," + text
        elif len(parts) < _MOST_TEXTS and len(text) <= _LONGEST_TEXT - 2:
            parts.append(text)
        else:
            left_out += 1
    names = ("first", "transactions", "rows", "inserted", "changed", "deleted", "largest")
    head = {name: getattr(facts, name) for name in names}
    head |= {"time_us": facts.time_us, "left_out": left_out}
    detail = {"batch": json.dumps(head, separators=(",", ":"))}
    return detail | {f"columns_{number}": f"[{part}]" for number, part in enumerate(parts)}


def read_batch(detail: Mapping[str, str]) -> BatchFacts:
    """Read a batch back; `ValueError` if that is none."""
    if sum(map(len, detail.values())) > _MOST_DETAIL:
        raise ValueError("the batch is too long")
    try:
        head = dict(json.loads(detail["batch"]))
        columns = [
            _read_column(raw)
            for number in range(_MOST_TEXTS)
            for raw in json.loads(detail.get(f"columns_{number}", "[]"))
        ]
        counts = {name: _count(head[name]) for name in head if name != "first"}
        return BatchFacts(first=bool(head["first"]), columns=tuple(columns), **counts)
    except (LookupError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(f"this is no batch: {error!r}") from None


def _count(value: object) -> int:
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"{value!r} is no count")
    return value


def _read_column(raw: Mapping[str, Any]) -> ColumnFacts:
    values: dict[str, Any] = {}
    for name, value in raw.items():
        default = _PLAIN[name]
        if name in {"name", "kind", "only"}:
            values[name] = str(value)
        elif isinstance(default, bool):
            values[name] = bool(value)
        elif isinstance(default, int):
            values[name] = _count(value)
        elif isinstance(default, float):
            values[name] = float(value)
        else:
            values[name] = tuple(float(one) for one in value)
    for name in ("fresh", "new", "old", "ratio"):
        if name in values and len(values[name]) != 5:  # noqa: PLR2004
            raise ValueError(f"{name} has not five numbers")
    return ColumnFacts(**values)
