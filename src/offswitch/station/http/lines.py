"""The connections: none may wait for ever, and there is always room for one more (a STOP).

    10 s     for the whole head of a request
    30 s     until one begins, or what we sent is taken
    16,000   connections (or as many as there are descriptors); beyond, the neighbour that has most
             loses the one that has asked for nothing the longest

A new connection is never turned away because old ones do nothing: they give way to it. So
neither slow heads (slowloris) nor a thousand open sockets stand between a person and STOP.
"""

from __future__ import annotations

import asyncio
import resource
import socket
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from offswitch.station.people.pauses import neighbourhood

__all__ = ["Lines", "protocol"]

_HEAD_S = 10.0
_SILENT_S = 30.0
_TAKEN_MS = 30_000
_MOST = 16_000
_KEPT_FREE = 256
"""Descriptors for all else: the warden, the record, files."""
_GARBLED = (
    b'{"type":"about:blank","title":"Usage","status":400,'
    b'"detail":"that is no HTTP request","kind":"usage","hint":""}'
)


class Lines:
    """All connections, by neighbour; the oldest first."""

    def __init__(
        self,
        tell: Callable[[str, str], None],
        is_inmate: Callable[[tuple[str, int], tuple[str, int]], bool],
    ) -> None:
        """Have `tell(address, what)` hear of what was refused; `is_inmate(there, here)` never."""
        self.tell = tell
        self._is_inmate = is_inmate
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard > soft:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.most = min(max(hard - _KEPT_FREE, _KEPT_FREE), _MOST)
        self._of: dict[str, OrderedDict[Line, None]] = {}
        self._count = 0

    def hears(self, line: Line) -> bool:
        """Tell whether whoever is at the other end may be heard at all."""
        if line.client is None or line.server is None or line.server[1] is None:
            return True
        return not self._is_inmate(line.client, (line.server[0], line.server[1]))

    def add(self, line: Line) -> None:
        """Take a connection in; others give way where there are too many."""
        if self._count >= self.most and not self._give_way():
            line.transport.abort()
        self._of.setdefault(line.neighbour, OrderedDict())[line] = None
        self._count += 1

    def drop(self, line: Line) -> None:
        """Forget a connection that has ended."""
        mine = self._of.get(line.neighbour)
        if mine is None or mine.pop(line, None) is None:
            return
        self._count -= 1
        if not mine:
            del self._of[line.neighbour]

    def _give_way(self) -> bool:
        """End the oldest that asks for nothing, of the neighbour that has most."""
        for line in max(self._of.values(), key=len):
            if not line.busy:
                self.drop(line)
                line.transport.abort()
                self.tell(line.neighbour, "a connection that asks for nothing, of too many")
                return True
        return False


class Line(H11Protocol):
    """One connection."""

    lines: Lines
    neighbour = ""
    _head: asyncio.TimerHandle | None = None
    _begun = False
    """Whether a head has begun that is not whole."""

    @property
    def busy(self) -> bool:
        """Whether a request is under way."""
        cycle: Any = self.cycle  # None before the first request, whatever its type says
        return cycle is not None and not cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin."""
        super().connection_made(transport)
        self.neighbour = neighbourhood(self.client[0] if self.client else "")
        sock = cast("socket.socket | None", transport.get_extra_info("socket"))
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _TAKEN_MS)
        self.lines.add(self)
        if not self.lines.hears(self):
            self.lines.tell(self.neighbour, "a connection out of a cell")
            transport.abort()
            return
        self._head = self.loop.call_later(_SILENT_S, self._too_slow)

    def data_received(self, data: bytes) -> None:
        """Hear; a head that has begun has to end in time."""
        super().data_received(data)
        if self.busy:
            self._stop_waiting()
        elif not self._begun and not self.transport.is_closing():
            self._stop_waiting()
            self._begun = True
            self._head = self.loop.call_later(_HEAD_S, self._too_slow)

    def on_response_complete(self) -> None:
        """Wait for the next request, as long as a connection may be idle."""
        self._stop_waiting()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._stop_waiting()
        self.lines.drop(self)
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no request, in our way."""
        del msg
        self.lines.tell(self.neighbour, "what is no HTTP request")
        headers: list[tuple[bytes, bytes]] = [
            (b"content-type", b"application/problem+json"),
            (b"content-length", b"%d" % len(_GARBLED)),
            (b"cache-control", b"no-store"),
            (b"connection", b"close"),
        ]
        try:
            for event in (
                h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
                h11.Data(data=_GARBLED),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        except h11.LocalProtocolError:  # an answer is under way already
            self.transport.abort()
            return
        self.transport.close()

    def _stop_waiting(self) -> None:
        self._begun = False
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _too_slow(self) -> None:
        self._head = None
        if self.busy:
            return
        if self._begun:  # a browser opens some that it never uses, and that is no offence
            self.lines.tell(self.neighbour, "a request that did not come to its end in time")
        self.transport.abort()


def protocol(lines: Lines) -> type[asyncio.Protocol]:
    """Give what a server makes of each connection, all of which are in `lines`."""
    members: dict[str, Any] = {"lines": lines}
    return type("Line", (Line,), members)
