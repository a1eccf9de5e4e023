"""A second session beside a stream: who is connected, and what the catalogue says by now.

A session that streams cannot be asked anything. This one is asked a little at a time and never
waited for; whoever asks is told the catalogue's rows when they are there. When it is lost it is
begun anew; `checked_us` says how long the catalogue has been unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from offswitch.clock import Clock
from offswitch.watch.sensors.postgres.libpq import Lost, Steps, asked, connected
from offswitch.watch.sensors.postgres.opening import Wanted
from offswitch.watch.sensors.postgres.sessions import SESSIONS, Sessions

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn

__all__ = ["Aside"]

_CATALOGUE_US = 1_000_000
_SAMPLE_US = 250_000
_PAUSE_US = 250_000


class Aside:
    """The second session."""

    def __init__(self, info: str, wanted: Wanted, clock: Clock) -> None:
        """Connect by `info`; ask about what is `wanted`."""
        self._info = info
        self._wanted = wanted
        self._clock = clock
        self._connection: PGconn | None = None
        self._connecting: Steps[PGconn] | None = None
        self._asking: Steps[list[tuple[str | None, ...]]] | None = None
        self._asked_catalogue = False
        self._sampled_us = self._catalogue_us = self._not_before_us = 0
        self.sessions = Sessions()
        self.sample_wanted = False
        """Whether something was written of which nobody knows yet who did it."""
        self.checked_us = clock.mono_us()
        """When the catalogue was last known."""

    @property
    def fds(self) -> list[int]:
        """What wakes us for it."""
        steps = (self._connecting, self._asking)
        return [one.fd for one in steps if one is not None and one.fd is not None]

    def go(self, now_us: int) -> Sequence[tuple[str | None, ...]] | None:
        """Ask a little; gives the catalogue's answer when it is there."""
        try:
            return self._go(now_us)
        except Lost:
            self.leave(now_us)
            return None

    def _go(self, now_us: int) -> Sequence[tuple[str | None, ...]] | None:
        if self._connection is None:
            if now_us < self._not_before_us:
                return None
            if self._connecting is None:
                self._connecting = Steps(connected(self._info), self._clock)
            done = self._connecting.go(0)
            if done is None:
                return None
            (self._connection,), self._connecting = done, None
        if self._asking is None and not self._ask(self._connection, now_us):
            return None
        assert self._asking is not None  # noqa: S101 - it was just made
        answer = self._asking.go(0)
        if answer is None:
            return None
        self._asking = None
        if not self._asked_catalogue:
            self.sessions.take(answer[0])
            return None
        self.checked_us = now_us
        return answer[0]

    def _ask(self, connection: PGconn, now_us: int) -> bool:
        """Ask what is due; false: nothing is."""
        self._asked_catalogue = now_us - self._catalogue_us >= _CATALOGUE_US
        if self._asked_catalogue:
            self._catalogue_us = now_us
            query = self._wanted.catalogue(connection.server_version)
        elif self.sample_wanted or now_us - self._sampled_us >= _SAMPLE_US:
            self._sampled_us, self.sample_wanted = now_us, False
            query = SESSIONS
        else:
            return False
        self._asking = Steps(asked(connection, query), self._clock)
        return True

    def leave(self, now_us: int) -> None:
        """Give the session up; another is begun after a pause."""
        for steps in (self._connecting, self._asking):
            if steps is not None:
                steps.close()
        if self._connection is not None:
            self._connection.finish()
        self._connection = self._connecting = self._asking = None
        self._not_before_us = now_us + _PAUSE_US
