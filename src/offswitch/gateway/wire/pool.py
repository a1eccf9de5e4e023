"""The connections to one upstream that wait for their next request; the last one used goes first.

One that has waited longer than most servers do is not used again: it may just be ended by the
other side, and a request that was lost so may have taken effect, so it is not sent twice.
"""

from __future__ import annotations

import asyncio
import ssl

from offswitch.gateway.plan.upstream import Upstream
from offswitch.gateway.wire.upstream import UpstreamConnection
from offswitch.gateway.words import Words

__all__ = ["IDLE_S", "Pool"]

IDLE_S = 4.0
"""Seconds for which a connection may wait: uvicorn, which serves most models, closes after five."""
_MOST_IDLE = 1024


class Pool:
    """The connections to one upstream."""

    __slots__ = ("_context", "_idle", "_loop", "_open", "_upstream", "words")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        words: Words,
        upstream: Upstream,
        context: ssl.SSLContext | None = None,
    ) -> None:
        """Have none yet; `context` where TLS is spoken."""
        self._loop = loop
        self._upstream = upstream
        self._context = context
        self._idle: list[UpstreamConnection] = []
        self._open: set[UpstreamConnection] = set()
        self.words = words

    def take(self) -> UpstreamConnection | None:
        """Give one that waits; None: connect."""
        oldest = self._loop.time() - IDLE_S
        while self._idle:
            connection = self._idle.pop()
            if connection.transport.is_closing():
                continue
            if connection.idle_since >= oldest:
                return connection
            connection.abort()
        return None

    async def connect(self) -> UpstreamConnection:
        """Connect; OSError where that fails. The caller limits the time."""
        upstream, context = self._upstream, self._context
        _, connection = await self._loop.create_connection(
            lambda: UpstreamConnection(self),
            upstream.host,
            upstream.port,
            ssl=context,
            server_hostname=upstream.host if context else None,
        )
        self._open.add(connection)
        return connection

    def give(self, connection: UpstreamConnection) -> None:
        """Have it wait for its next request."""
        connection.release()
        if connection.transport.is_closing():
            return
        if len(self._idle) >= _MOST_IDLE or connection.transport.get_write_buffer_size():
            connection.abort()  # what is still to go out would meet the next request's bytes
            return
        connection.idle_since = self._loop.time()
        self._idle.append(connection)

    def lost(self, connection: UpstreamConnection) -> None:
        """It has ended."""
        self._open.discard(connection)
        if connection.flow is None and connection in self._idle:
            self._idle.remove(connection)

    def tidy(self) -> None:
        """End those that have waited too long."""
        oldest = self._loop.time() - IDLE_S
        while self._idle and self._idle[0].idle_since < oldest:
            self._idle.pop(0).abort()

    def turn_page(self, words: Words) -> None:
        """Read another page from here on, in every connection."""
        self.words = words
        for connection in self._open:
            connection.turn_page(words)

    def close(self) -> None:
        """End all."""
        for connection in list(self._open):
            connection.abort()
