"""How long each connection is waited for, and for what: nobody holds one for nothing.

    a head        `header_s` from its first byte, or from the connection's begin; slow bytes
                  do not lengthen it (slow-loris)
    a body        `body_s` between two pieces of it
    an answer     `idle_s` between two pieces that the upstream sends
    a reader      `idle_s` in which a client that is behind reads nothing
    the next      `idle_s` between two requests

A flow that is frozen, or on which somebody's leave is waited for, has all time: whoever holds it
sees to its end. One timer looks at all connections, so nothing is paid for each piece but a mark.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from enum import Enum, auto
from typing import Protocol

from offswitch.gateway.plan.front import Limits

__all__ = ["Awaited", "Awaits", "Patience"]

_LOOK_S = 1.0
_SHARE = 4
"""A limit is overstepped by a fourth of it at most, or by a second."""
_SLICE = 128
"""Connections that are looked at before others get their turn."""
_PAUSE_S = 0.002


class Awaits(Enum):
    """What a connection is waited for."""

    NOTHING = auto()
    """By us; or by somebody who knows how long."""
    HEAD = auto()
    BODY = auto()
    ANSWER = auto()
    READER = auto()
    NEXT = auto()


class Awaited(Protocol):
    """A connection that is looked at from time to time."""

    moved: bool
    """Whether anything came since it was looked at: set by the connection."""
    waited: Awaits
    """What it was waited for when it was looked at."""
    since: float
    """Loop time from which that counts."""

    def awaits(self) -> Awaits:
        """Say what it is waited for now, and note in `moved` what came meanwhile."""
        ...

    def late(self, awaits: Awaits) -> None:
        """It did not come in time: end it."""
        ...


class Patience:
    """Looks at the connections of one worker."""

    __slots__ = ("_connections", "_every", "_limit", "_loop", "_now", "_timer")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, limits: Limits, connections: Collection[Awaited]
    ) -> None:
        """Look at `connections`, a live collection, by these limits."""
        self._loop = loop
        self._connections = connections
        self._now: list[Awaited] = []
        """Those that are still to be looked at in this round."""
        self._limit = {
            Awaits.HEAD: limits.header_s,
            Awaits.BODY: limits.body_s,
            Awaits.ANSWER: limits.idle_s,
            Awaits.READER: limits.idle_s,
            Awaits.NEXT: limits.idle_s,
        }
        self._every = min(_LOOK_S, min(self._limit.values()) / _SHARE)
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Look from now on."""
        self._timer = self._loop.call_later(self._every, self._round)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _round(self) -> None:
        self._now = list(self._connections)
        self._look()

    def _look(self) -> None:
        now = self._loop.time()
        for connection in self._now[:_SLICE]:
            awaits = connection.awaits()
            moved, connection.moved = connection.moved, False
            if awaits is not connection.waited or (moved and awaits is not Awaits.HEAD):
                connection.waited = awaits
                connection.since = now
            elif awaits is not Awaits.NOTHING and now - connection.since >= self._limit[awaits]:
                connection.late(awaits)
        del self._now[:_SLICE]
        if self._now:
            self._timer = self._loop.call_later(_PAUSE_S, self._look)
        else:
            self.start()
