"""What a reset is judged by: most of it looked up where a disk may hang (`core.errands`).

The secret and the authority with its people lie in `home`, and a one-time code is burnt
there before it counts. None of it may hold up the loop, so each look is one errand, and what
it found is a value.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from offswitch.control.peer import Peer
from offswitch.decide.authority import Authority, Mode, again
from offswitch.decide.secret import check_secret, is_secret_set
from offswitch.errors import Latched, NotFound, OffswitchError
from offswitch.model.scope import Scope, parse_scope
from offswitch.warden.cells.cell import is_gone
from offswitch.warden.core import Core
from offswitch.warden.table import Tracked

__all__ = [
    "OURSELVES",
    "Known",
    "lives",
    "look",
    "named_now",
    "nothing_there",
    "taken_up",
]

OURSELVES = Peer(0, os.geteuid(), os.getegid(), ())
"""Who asks where nobody does: the warden itself."""


@dataclass(frozen=True, slots=True)
class Known:
    """What `home` says about who may reset."""

    authority: Authority
    secret_set: bool
    secret_ok: bool
    """Whether the secret that was brought is the one that is set."""


def look(home: str, owner: int, current: Callable[[], Authority], secret: str | None) -> Known:
    """Look it up; takes 50 ms of a processor where a secret is checked. For the disk's thread."""
    is_set = is_secret_set(home)
    ok = is_set and secret is not None and check_secret(home, secret, owner)
    return Known(again(current(), home, owner), is_set, ok)


def taken_up(current: Authority, found: Authority) -> Authority:
    """Give the authority in force from now on: two looks may overtake, `people` stays."""
    if current.mode is Mode.PEOPLE and found.mode is Mode.LOCAL:
        return current
    return found


def nothing_there(core: Core, scope: Scope, uid: int) -> OffswitchError:
    """Say why there is nothing to reset at `scope`, and what of it was reset before."""
    wider = core.wider(scope)
    if wider:
        stop = wider[0].stop
        hint = f"reset that one: offswitch reset {stop.scope.text} --reason TEXT"
        return Latched(f"{scope.text} is held by a wider stop of {stop.scope.text}", hint)
    names = core.news.names(f"uid:{uid}", core.authority.people)
    told = core.news.of(names, scope, core.clock.wall_us())
    hint = "; ".join(told[-1:]) or "see: offswitch status"
    return NotFound(f"no stop is latched at {scope.text} or below", hint)


def lives(row: Tracked) -> bool:
    """Whether something of it may live in its cell; a cell that somebody removed holds nothing."""
    return row.cell is not None and row.alive and not is_gone(row.cell)


def named_now(core: Core, scope: str) -> frozenset[str]:
    """Name the stops that a reset may clear: what comes while it is looked at holds."""
    try:
        within = core.latch.within(parse_scope(scope))
    except OffswitchError:
        return frozenset()  # its opening says so
    return frozenset(live.stop.digest for live in within)
