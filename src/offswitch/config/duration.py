"""Durations as people write them: `250ms`, `1s`, `2m`, `1h`. Inside, microseconds."""

from __future__ import annotations

import re

__all__ = ["format_duration", "parse_duration"]

_UNITS_US = {
    "us": 1,
    "ms": 1_000,
    "s": 1_000_000,
    "m": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
}
_WRITTEN = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)(us|ms|s|m|h|d)")


def parse_duration(text: str) -> int:
    """Read a duration above zero; gives microseconds, raises ValueError with the spelling."""
    match = _WRITTEN.fullmatch(text)
    us = round(float(match[1]) * _UNITS_US[match[2]]) if match else 0
    if us <= 0:
        raise ValueError(f'{text[:40]!r} is no duration; write "250ms", "1s", "2m", "1h" or "1d"')
    return us


def format_duration(us: int) -> str:
    """Write microseconds in the largest unit that keeps them whole."""
    for unit in ("d", "h", "m", "s", "ms"):
        if us >= _UNITS_US[unit] and us % _UNITS_US[unit] == 0:
            return f"{us // _UNITS_US[unit]}{unit}"
    return f"{us}us"
