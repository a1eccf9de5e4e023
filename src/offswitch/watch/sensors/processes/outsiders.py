"""Processes beside a target: of it by birth, user or descent, and outside of its cell.

An eye finds them, the loop tells the warden, `status` lists them (MON-3). On the way they are
the detail of one reading, a few in each of its texts, since a reading carries nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["MOST_TOLD", "Outsider", "heard", "told"]

_A_TEXT = 6
_TEXTS = 16
_LONGEST_NAME = 40
MOST_TOLD = _A_TEXT * _TEXTS
"""Of one target; there may be more."""


@dataclass(frozen=True, slots=True)
class Outsider:
    """One process that is not under the switch and should be."""

    pid: int
    name: str
    """Its own choice, escaped."""
    since_us: int
    """When it began, UTC in microseconds."""
    why: str
    """What makes it the target's, for people."""


def told(outsiders: Sequence[Outsider]) -> dict[str, str]:
    """Put outsiders into the detail of a reading, so many at most."""
    rows = [
        [one.pid, ascii(one.name)[1:-1][:_LONGEST_NAME], one.since_us, one.why[:_LONGEST_NAME]]
        for one in outsiders[:MOST_TOLD]
    ]
    return {
        f"processes {at}": json.dumps(rows[at : at + _A_TEXT])
        for at in range(0, len(rows), _A_TEXT)
    }


def heard(detail: Mapping[str, str]) -> list[Outsider]:
    """Take them out again; what is no such detail gives none."""
    found: list[Outsider] = []
    for text in detail.values():
        try:
            for pid, name, since_us, why in json.loads(text):
                if type(pid) is int and type(since_us) is int:
                    found.append(Outsider(pid, str(name), since_us, str(why)))
        except (ValueError, TypeError, RecursionError):
            continue
    return found[:MOST_TOLD]
