"""The entries about drills, and of what voids them, read out of a ledger.

Public and sealed fields come in one object, as far as they were not erased. What was changed since
it was recorded earns nothing, so it is left out; whether the ledger is whole, `verify` says.
"""

from __future__ import annotations

from typing import Any

from offswitch.errors import NotFound
from offswitch.ledger.reader import reading

__all__ = ["drill_entries"]

_MARKS = ('"kind":"drill"', '"what":"readiness"')


def drill_entries(home: str) -> list[dict[str, Any]]:
    """Give them, oldest first; none where there is no ledger yet. Errors say what to do."""
    try:
        with reading(home) as reader:
            size = reader.head.size
            shown = [one for mark in _MARKS for one in reader.shown(0, size, mark)]
    except NotFound:
        return []
    shown.sort(key=lambda one: one.index)
    return [{**one.sealed, **one.public, "index": one.index} for one in shown if one.intact]
