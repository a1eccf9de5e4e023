"""How a sensor of a data set tells what it knows: examples of changes, statistics, names.

All text in it is the target's: it is escaped and cut.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator, Mapping

from offswitch.watch.rows.shadow import Change, Column
from offswitch.watch.sensors.contract import Sample

__all__ = ["column_samples", "example", "place_of", "time_of_day"]

_LONGEST, _LONGEST_VALUE, _MOST_VALUES = 300, 60, 16


def column_samples(
    table: str, name: str, column: Column, baseline: Mapping[str, tuple[float, float]]
) -> Iterator[Sample]:
    """Tell the statistics of a column, and how far it is from where it began."""
    labels = {"table": table, "column": name}
    yield Sample("nulls", float(column.nulls), labels)
    yield Sample("odd", float(column.odd), labels)
    if math.isnan(column.mean) and math.isnan(column.spread):
        return  # of nothing there is no mean
    yield Sample("min", column.low, labels)
    yield Sample("max", column.high, labels)
    yield Sample("mean", column.mean, labels)
    yield Sample("spread", column.spread, labels)
    mean, spread = baseline.get(name, (math.nan, math.nan))
    if not math.isnan(mean):
        unit = max(spread, 0.01 * abs(mean), 1e-12)
        yield Sample("shift", abs(column.mean - mean) / unit, labels)


def example(change: Change) -> str:
    """Show a change."""
    key = ascii(change.key)[:_LONGEST]
    if change.before is None or change.after is None:
        row = (change.before or change.after or ())[:_MOST_VALUES]
        values = ", ".join(ascii(one)[:_LONGEST_VALUE] for one in row)
        return f"{key}: {change.kind} ({values})"[:_LONGEST]
    pairs = zip(change.columns, change.before, change.after, strict=False)
    said = [
        f"{ascii(name)[1:-1]} {ascii(old)[:_LONGEST_VALUE]} -> {ascii(new)[:_LONGEST_VALUE]}"
        for name, old, new in pairs
        if old != new
    ]
    return f"{key}: {', '.join(said[:_MOST_VALUES])}"[:_LONGEST]


def time_of_day(wall_us: int) -> str:
    """Give the time of day."""
    return time.strftime("%H:%M:%S", time.gmtime(wall_us // 1_000_000)) + " UTC"


def place_of(place: int, column: str) -> str:
    """Name a column in a few plain letters, whatever its target calls it."""
    name = column.encode("utf-8", "backslashreplace")
    return f"{place}.{hashlib.blake2b(name, digest_size=8).hexdigest()}"
