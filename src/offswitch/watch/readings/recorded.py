"""The past of a rule, from the store of readings or from a file.

    CSV     time,value (a rule with one series), or time,series,value; a header may come first
    JSONL   {"time", "series", "value", "detail"}     `series` and `detail` may be left out

Times are ISO 8601 (UTC unless they say otherwise) or seconds since the epoch. Whatever is wrong
with a line is told with its number.
"""

from __future__ import annotations

import csv
import heapq
import json
import math
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from typing import TextIO

from offswitch.errors import Usage
from offswitch.watch.readings.reader import kept
from offswitch.watch.readings.replay import Past

__all__ = ["from_file", "from_store", "time_us_of"]

_HINT = "a line is time,value or time,series,value, or an object with these"


def from_store(
    home: str, target: str, series: Collection[str], since_us: int, until_us: int
) -> list[Past]:
    """Give what was kept of `series` of `target`, in the order of the times."""
    by_series: dict[str, list[Past]] = {}
    for (_target, name), block in kept(home, {(target, one) for one in series}, since_us, until_us):
        by_series.setdefault(name, []).extend(
            Past(time_us, name, value, block.details.get(at, {}))
            for at, (time_us, value) in enumerate(zip(block.times_us, block.values, strict=True))
            if since_us <= time_us <= until_us
        )
    ordered = (sorted(each, key=lambda one: one.time_us) for each in by_series.values())
    return list(heapq.merge(*ordered, key=lambda one: one.time_us))


def from_file(file: TextIO, name: str, series: Collection[str]) -> list[Past]:
    """Read a recorded past; `series` are those of the rule, the only one standing for no name."""
    only = next(iter(series)) if len(series) == 1 else ""
    found = list(_jsonl(file, name, only) if name.endswith(".jsonl") else _csv(file, name, only))
    return sorted(found, key=lambda one: one.time_us)


def _csv(file: TextIO, name: str, only: str) -> Iterator[Past]:
    for number, row in enumerate(csv.reader(file), 1):
        if not row or (number == 1 and _is_header(row)):
            continue
        try:
            yield _of_row(row, only)
        except ValueError as error:
            raise Usage(f"{name}:{number}: {error}", _HINT) from None


def _of_row(row: list[str], only: str) -> Past:
    time, *between, value = row
    series = between[0].strip() if between else only
    if not series or len(between) > 1:
        raise ValueError("the rule has several series: say which in each line")
    return Past(time_us_of(time), series, _number(value))


def _jsonl(file: TextIO, name: str, only: str) -> Iterator[Past]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            said = json.loads(line)
            detail = {str(key): str(text) for key, text in (said.get("detail") or {}).items()}
            series = str(said.get("series") or only)
            value = _number(said.get("value"))
            yield Past(time_us_of(str(said["time"])), series, value, detail)
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
            raise Usage(f"{name}:{number}: {error!r}", _HINT) from None


def _is_header(row: list[str]) -> bool:
    try:
        time_us_of(row[0])
    except ValueError:
        return True
    return False


def _number(value: object) -> float:
    return math.nan if value in {None, ""} else float(str(value))


def time_us_of(text: str) -> int:
    """Read a time, in microseconds since the epoch; raises ValueError."""
    text = text.strip()
    try:
        seconds = float(text)
    except ValueError:
        moment = datetime.fromisoformat(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return round(moment.timestamp() * 1e6)
    if not math.isfinite(seconds):
        raise ValueError(f"{text!r} is no time")
    return round(seconds * 1e6)
