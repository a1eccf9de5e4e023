"""Which entries void what drills have proven of a layer before (DRL-4). Pure.

The warden enters each change of a layer's readiness (`warden.readiness`), and each change of what
the layer was proven on (`warden.drill.proven`). A layer that falls has changed: its code, its
credential, its route, the kernel, what would act. What was proven of it holds for what is not there
any more, so it counts no longer, until the next pass. What a drill itself has found is none of it:
that is a failed demand, and stays one. That a layer is ready again gives nothing back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Void", "void_of"]

_JOURNAL = "journal"
_FALLING = ("proven", "ready", "degraded", "unproven", "absent")
"""Each word is less than those before it."""
_BY_A_DRILL = "drill"


@dataclass(frozen=True, slots=True)
class Void:
    """A layer has changed."""

    layer: str
    time_us: int
    """When, UTC in microseconds."""
    why: str
    """For people: what has changed, as far as is known."""


def void_of(entry: Mapping[str, Any]) -> Void | None:
    """Read an entry (public and sealed fields in one object); None: it voids nothing."""
    if entry.get("kind") != "note" or entry.get("what") != "readiness":
        return None
    if entry.get("via") != _JOURNAL or entry.get("cause") == _BY_A_DRILL:
        return None
    before, now, time_us = entry.get("prior"), entry.get("state"), entry.get("time_us")
    if before not in _FALLING or now not in _FALLING:
        return None
    if _FALLING.index(str(now)) <= _FALLING.index(str(before)):
        return None
    why = entry.get("why") or f"it was {before} and is {now}"
    return Void(str(entry.get("layer")), time_us if type(time_us) is int else 0, str(why))
