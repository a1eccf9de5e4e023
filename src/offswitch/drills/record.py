"""The entries about drills, read out of a ledger for `figures` and `schedule`.

Public and sealed fields come in one object, as far as they were not erased. What was changed since
it was recorded earns nothing, so it is left out; whether the ledger is whole, `verify` says.
"""

from __future__ import annotations

from typing import Any

from offswitch.errors import NotFound
from offswitch.ledger.reader import reading

__all__ = ["drill_entries"]

_MARK = '"kind":"drill"'


def drill_entries(home: str) -> list[dict[str, Any]]:
    """Give them, oldest first; none where there is no ledger yet. Errors say what to do."""
    try:
        with reading(home) as reader:
            shown = list(reader.shown(0, reader.head.size, _MARK))
    except NotFound:
        return []
    return [{**one.sealed, **one.public, "index": one.index} for one in shown if one.intact]
