"""When the next drill is due, from what the ledger says of the last ones. Pure.

The station's loop asks `due` now and then and runs a drill when it says so; it remembers itself
when it last tried, since a drill that cannot even begin leaves no entry. Which way it fails: with
nothing in the ledger a drill is due, and one that is long overdue says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from offswitch.drills.figures import Figures, State, figures

__all__ = ["Due", "due", "due_of"]

_OVERDUE = 2
"""After so many intervals without a drill that counts it is overdue."""


@dataclass(frozen=True, slots=True)
class Due:
    """What the schedule says at one moment."""

    now: bool
    """Whether a drill should be run now."""
    next_us: int | None
    """When the next one is due, UTC in microseconds; None: never, drills are off."""
    last_us: int | None
    """When the last one began, or was tried."""
    proven_us: int | None
    """When the last clean one ended."""
    overdue: bool
    """Whether nothing was proven for more than twice as long as it may take."""
    note: str
    """What a person should know; empty: nothing."""


def due(
    entries: Iterable[Mapping[str, Any]], now_us: int, every_us: int | None, tried_us: int = 0
) -> Due:
    """Say when the next drill is due: `every_us` apart (None: off), last tried at `tried_us`."""
    return due_of(figures(entries, now_us), every_us, tried_us)


def due_of(known: Figures, every_us: int | None, tried_us: int = 0) -> Due:
    """Likewise, where the figures are known already; the moment is theirs."""
    now_us = known.now_us
    clean = [row.last_clean_us for row in known.combined if row.last_clean_us is not None]
    proven_us = max(clean, default=None)
    begun = max(known.last_us or 0, tried_us)
    last_us = begun or None
    if every_us is None:
        note = 'degraded: no drill runs by itself ([drill] canary = "off")'
        return Due(False, None, last_us, proven_us, overdue=True, note=note)
    # A clock that was set back must not put it off: what lies ahead of now was not then.
    next_us = min(begun + every_us, now_us + every_us) if begun else now_us
    voided = [row for row in known.layers if row.voided_us is not None and not row.n]
    if any(begun <= (row.voided_us or 0) <= now_us for row in voided):
        next_us = now_us  # what was proven is not there any more: nothing is known until the next
    overdue = proven_us is None or now_us - proven_us > _OVERDUE * every_us
    failed = [row.layer for row in known.layers if row.state is State.UNPROVEN and row.n]
    changed = list(dict.fromkeys(row.layer for row in voided))
    notes = [f"UNPROVEN by the last drill: {', '.join(failed)}"] if failed else []
    notes += [f"UNPROVEN, changed since the last drill: {', '.join(changed)}"] if changed else []
    note = "; ".join(notes)
    if not note and overdue:
        note = "overdue: no clean drill for more than twice as long as it may take"
    return Due(next_us <= now_us, next_us, last_us, proven_us, overdue, note)
