"""Signs of the rows that watch's desk tells (`alarms`): what the console and the command line show.

An alarm begins with the first of its findings, where it has one. Findings that are the evidence of
an alarm that stands are not signs of their own, and neither is what only announces a limit. Rows
come over a socket from a process of ours; what a target wrote stands in them all the same, so
whatever is not as it should be is left out, never taken for something else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from offswitch.station.alarms.grouping import grouped
from offswitch.station.alarms.sign import Sign, Ties

__all__ = ["Row", "alarm_key", "first_out", "signs_of"]

_ANNOUNCES = frozenset({"announce", "early"})
_GRAVE = frozenset({"asks", "acted", "ordered"})

Row = Mapping[str, Any]


def alarm_key(row: Row) -> str:
    """Give the key of an alarm's sign."""
    return f"rule:{row.get('rule')}"


def signs_of(alarms: Iterable[Row], findings: Iterable[Row] = ()) -> list[Sign]:
    """Make signs of what the desk told."""
    signs, told = [], set()
    for row in alarms:
        evidence = [one for one in row.get("findings") or () if isinstance(one, Mapping)]
        told |= {(one.get("target"), one.get("series")) for one in evidence}
        signs.append(_alarm(row, evidence[0] if evidence else {}))
    signs += [
        _finding(row)
        for row in findings
        if (row.get("target"), row.get("series")) not in told
        and row.get("detector") not in _ANNOUNCES
    ]
    return [sign for sign in signs if sign is not None]


def first_out(alarms: Iterable[Row], ties: Ties | None = None) -> list[list[Row]]:
    """Group the alarms that stand, the root of each group first; none is left out."""
    rows = list(alarms)
    by_key = {alarm_key(row): row for row in rows}
    groups = [
        [by_key.pop(sign.key) for sign in group.ranked(ties or {}) if sign.key in by_key]
        for group in grouped(signs_of(rows), ties)
    ]
    return [group for group in (*groups, *([row] for row in by_key.values())) if group]


def _alarm(row: Row, first: Row) -> Sign | None:
    found_us = first.get("found_us") or row.get("since_us")
    target = row.get("target") or row.get("scope")
    if type(found_us) is not int or not isinstance(target, str):
        return None
    return Sign(
        alarm_key(row),
        str(first.get("target") or target),
        found_us,
        _number(first, "lag_us"),
        _number(first, "wait_us"),
        what=str(first.get("what") or row.get("harm") or ""),
        scope=str(row.get("scope") or ""),
        grave=row.get("state") in _GRAVE,
    )


def _finding(row: Row) -> Sign | None:
    found_us, target, series = row.get("found_us"), row.get("target"), row.get("series")
    if type(found_us) is not int or not isinstance(target, str) or not isinstance(series, str):
        return None
    lag_us, wait_us = _number(row, "lag_us"), _number(row, "wait_us")
    return Sign(series, target, found_us, lag_us, wait_us, what=str(row.get("what") or ""))


def _number(row: Row, key: str) -> int:
    value = row.get(key)
    return value if type(value) is int and value >= 0 else 0
