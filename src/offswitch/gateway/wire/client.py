"""One connection of a client: requests come in, one is served at a time, in their order.

It is read even while an answer streams, since that is how one learns that the client has gone; what
it sends ahead waits, and when that is much nothing more is read. A client that is refused while it
still sends gets its refusal first: the connection is half closed, and what still comes is thrown
away for a second, for closing at once would reset it, and the answer with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol, cast

from offswitch.control.flows import Ends
from offswitch.gateway.exchange import Reply
from offswitch.gateway.wire.answer import reply_head
from offswitch.gateway.wire.outlet import Outlet, SealedOutlet
from offswitch.gateway.wire.patience import Awaits
from offswitch.gateway.wire.request import END, Event, Requests
from offswitch.gateway.wire.rules import Refusal, Rules
from offswitch.gateway.wire.strict import Begun

__all__ = ["ClientConnection", "Serving", "Visited"]

_MOST_WAITING = 64 << 10
"""Bytes that a client may send ahead."""
_MOST_SKIPPED = 64 << 10
"""Bytes of a body that are read and thrown away, so that the connection can be kept."""
_LINGER_S = 1.0


class Serving(Protocol):
    """One request in work."""

    def body(self, piece: bytes) -> None:
        """Some of its body has come."""
        ...

    def complete(self) -> None:
        """All of it has come."""
        ...

    def client_gone(self) -> None:
        """Nobody waits for the answer any more."""
        ...

    def client_full(self, *, full: bool) -> None:
        """The client reads too slowly, or reads again."""
        ...

    def goes_on(self) -> bool:
        """Test the word again, and do what it says; true: what waits for the client may go out."""
        ...

    def awaits(self) -> Awaits:
        """Say what is waited for."""
        ...

    def moves(self) -> bool:
        """Say whether the upstream sent anything since this was asked."""
        ...

    def late(self, awaits: Awaits) -> None:
        """It did not come in time."""
        ...

    def go_down(self) -> None:
        """End it now, in words."""
        ...


class Visited(Protocol):
    """Whom a client visits."""

    loop: asyncio.AbstractEventLoop
    rules: Rules
    leaving: bool
    """Whether it is going down: requests that still come are the last on their connections."""

    def came(self, client: ClientConnection) -> None:
        """Take it in, or send it away."""
        ...

    def left(self, client: ClientConnection) -> None:
        """It has gone."""
        ...

    def serve(self, client: ClientConnection, begun: Begun) -> None:
        """Begin to serve a request: set `serving`, or answer at once."""
        ...

    def refusal(self, refused: Refusal) -> Reply:
        """Word a refusal of what is no request."""
        ...


class ClientConnection(asyncio.Protocol):
    """One client."""

    __slots__ = (
        "_ends",
        "_going",
        "_host",
        "_lingers",
        "_mark",
        "_reads",
        "_received",
        "_requests",
        "_short",
        "_skips",
        "_tunnel",
        "moved",
        "outlet",
        "serving",
        "since",
        "transport",
        "waited",
    )

    def __init__(self, host: Visited) -> None:
        """Visit a worker."""
        self._host = host
        self._requests = Requests(host.rules)
        self._ends: Ends | None = None
        self._lingers = False
        self._reads = True
        self._received = False
        """Whether the request in work has come whole."""
        self._short = True
        """Whether what is still to come of it can be read and thrown away."""
        self._skips = False
        """Whether it is: the request is answered."""
        self._tunnel: Callable[[bytes], None] | None = None
        self._going = False
        self.serving: Serving | None = None
        self.since = 0.0
        """Loop time since which it is waited for."""
        self.waited = Awaits.HEAD
        """What for: a new connection's first request is to come as soon as any other's."""
        self.moved = False
        """Whether anything came from it since somebody looked."""
        self._mark = 0
        """How many bytes waited for it then."""

    # --- bytes in -----------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is connected."""
        self.transport = cast(asyncio.Transport, transport)
        sealed = transport.get_extra_info("sslcontext") is not None
        self.outlet = (SealedOutlet if sealed else Outlet)(self._host.loop, self.transport, self)
        self.since = self._host.loop.time()
        self._host.came(self)

    def data_received(self, data: bytes) -> None:
        """Take what it sends."""
        self.moved = True
        if self._lingers:
            return
        if self._tunnel is not None:
            self._tunnel(data)
            return
        self._heed(self._requests.feed(data))
        if self._requests.waiting > _MOST_WAITING:
            self.read(on=False)

    def _heed(self, events: Sequence[Event]) -> None:
        for event in events:
            if self._lingers or self._going:
                return
            if isinstance(event, Begun):
                self.waited = Awaits.NOTHING
                self._received = event.framing == 0
                self._short = 0 <= event.framing <= _MOST_SKIPPED and not event.expects
                last = self._host.leaving
                self._host.serve(self, replace(event, keep=False) if last else event)
            elif isinstance(event, Refusal):
                self.reply(self._host.refusal(event), keep=False)
            elif event is END:
                self._received = True
                if self.serving is not None:
                    self.serving.complete()
                elif self._skips:
                    self._skips = False
                    self._next()
            elif self.serving is not None and isinstance(event, bytes):
                self.serving.body(event)

    def tunnel(self, take: Callable[[bytes], None]) -> None:
        """Give all that comes from now on to `take`: it is HTTP no more, and ends with its end."""
        self._tunnel = take
        self._received = False
        rest = self._requests.rest()
        self.read(on=True)
        if rest:
            take(rest)

    def read(self, *, on: bool) -> None:
        """Read what it sends, or let it wait."""
        if self._reads is on or self.transport.is_closing():
            return
        self._reads = on
        if on:
            self.transport.resume_reading()
        else:
            self.transport.pause_reading()

    # --- bytes out ----------------------------------------------------------------

    def reply(self, reply: Reply, *, keep: bool, bodiless: bool = False) -> None:
        """Answer the request with an answer of our own, whole."""
        keep = keep and (self._received or self._short)
        head = reply_head(reply, close=not keep)
        self.outlet.send(head if bodiless else head + reply.body)
        self.done(keep=keep)

    def refuse(self, status: int, text: str) -> None:
        """Answer that there is nothing that could be served, and end it."""
        self.reply(self._host.refusal(Refusal(status, text)), keep=False)

    def proceed(self) -> None:
        """Tell a client that waits for it to send the body."""
        self.outlet.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    def done(self, *, keep: bool) -> None:
        """The request is answered: on to the next, or the end."""
        self.serving = None
        if keep and self._received:
            self._next()
        elif keep and self._short:
            self._skips = True
            self.read(on=True)
        else:
            self.close()

    def _next(self) -> None:
        self.read(on=True)
        if self._requests.waiting:
            self._host.loop.call_soon(self._go_on)
        else:
            self._requests.go_on()

    def _go_on(self) -> None:
        if not self._going and self.serving is None:
            self._heed(self._requests.go_on())

    # --- the end ------------------------------------------------------------------

    def close(self) -> None:
        """End it, once what was given is sent."""
        if self._going or self._lingers:
            return
        if self._received and not self._requests.waiting and not self.outlet.waiting:
            self._end()
            return
        self._lingers = True
        self.read(on=True)
        if not self.outlet.waiting:
            self._half_close()

    def _half_close(self) -> None:
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._host.loop.call_later(_LINGER_S, self._end)

    def _end(self) -> None:
        if not self._going:
            self._going = True
            self.outlet.forget()
            self.transport.close()

    def abort(self) -> None:
        """Reset it: whatever is on its way is thrown away."""
        if not self._going:
            self._going = True
            self.outlet.abort()

    @property
    def idle(self) -> bool:
        """Whether it is between two requests: it may be closed unhurt."""
        return self.serving is None and self._requests.idle and not self._lingers

    def awaits(self) -> Awaits:
        """Say what it is waited for now, and note what came meanwhile."""
        mark, self._mark = self._mark, self.outlet.waiting
        if mark != self._mark:
            self.moved = True
        if self._going:
            return Awaits.NOTHING
        if self._lingers:
            return Awaits.READER
        if self.serving is not None:
            self.moved = self.serving.moves() or self.moved
            return self.serving.awaits()
        if self._skips:
            return Awaits.BODY
        if self._requests.begun or self.waited is Awaits.HEAD:
            return Awaits.HEAD
        return Awaits.NEXT

    def late(self, awaits: Awaits) -> None:
        """It did not come in time."""
        if self.serving is not None:
            self.serving.late(awaits)
        elif awaits is Awaits.HEAD and self._requests.begun:
            self.refuse(408, "the head of the request did not come in time")
        elif awaits is Awaits.READER:
            self.abort()
        else:
            self.close()

    # --- the loop's side, and the outlet's ----------------------------------------

    @property
    def ends(self) -> Ends | None:
        """Name its socket to others; None: it is connected no more."""
        if self._ends is None:
            try:
                self._ends = Ends.of(self.transport.get_extra_info("socket"))
            except OSError:
                return None
        return self._ends

    def eof_received(self) -> bool:
        """It has gone, or will send nothing more: as most proxies do, take that for gone."""
        return self._lingers and self.outlet.waiting > 0  # then it may still read

    def connection_lost(self, _exc: Exception | None) -> None:
        """It has gone."""
        self._going = True
        self.outlet.forget()
        self._host.left(self)
        if self.serving is not None:
            serving, self.serving = self.serving, None
            serving.client_gone()

    def crowded(self) -> None:
        """It reads too slowly."""
        if self.serving is not None:
            self.serving.client_full(full=True)

    def may_write(self) -> bool:
        """Say whether bytes that waited may go out."""
        return self.serving is None or self.serving.goes_on()

    def drained(self) -> None:
        """It has read what there was."""
        if self.serving is not None:
            self.serving.client_full(full=False)
        elif self._lingers:
            self._half_close()

    def broken(self) -> None:
        """It cannot be written to."""
        if self.serving is not None:
            serving, self.serving = self.serving, None
            serving.client_gone()
        self.abort()

    def pause_writing(self) -> None:
        """With TLS: its transport keeps much."""
        self.crowded()

    def resume_writing(self) -> None:
        """With TLS: its transport keeps little."""
        self.drained()
