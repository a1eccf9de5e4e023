"""One connection to an upstream: a request goes out, an answer comes in, again and again.

Here is the narrowest place of the gateway: `data_received`, once for each chunk of each stream. It
tests the word and the lease, and that what came is one whole chunk that ends an event; then it
hands the very bytes to the kernel. Whatever is more than that is the passage's (`take`).

It always ends by a reset, whoever ends it: nothing of a request that was given up is left to be
sent, and the server is told at once.
"""

from __future__ import annotations

import asyncio
import math
import os
import socket
import struct
import time
from array import array
from collections.abc import Callable
from typing import Protocol, cast

from offswitch.control.flows import Ends
from offswitch.control.page import LEASE_SECONDS, RUN
from offswitch.gateway.exchange import Tap
from offswitch.gateway.wire.bodies import BEGINS, NEVER
from offswitch.gateway.words import Words
from offswitch.model.level import Level

__all__ = ["Attended", "Home", "UpstreamConnection"]

_RESET = struct.pack("ii", 1, 0)
_clock = time.clock_gettime
_BOOT = time.CLOCK_BOOTTIME
_EVENT = (b"\n\n\r\n", b"\n\r\n\r\n")
"""How a chunk ends that ends an event."""
_ALWAYS: memoryview[int] = memoryview(array("Q", [RUN]))
"""A page's words, for what no stop holds back: what only ends something."""
_FOR_EVER: memoryview[float] = memoryview(array("d", [math.inf] * (LEASE_SECONDS + 1)))
_begins = BEGINS.get


class Attended(Protocol):
    """Whose request is on a connection."""

    def stopped(self) -> None:
        """Bytes came for it, and its target's word says that it is to be cut."""
        ...

    def paused(self) -> None:
        """Bytes came for it, and its target's word says that it is to be frozen."""
        ...

    def upstream_ended(self) -> None:
        """The server has ended the connection."""
        ...

    def upstream_full(self, *, full: bool) -> None:
        """It takes no more of the request just now, or takes more again."""
        ...


class Home(Protocol):
    """Where a connection waits for its next request."""

    words: Words

    def lost(self, connection: UpstreamConnection) -> None:
        """It has ended."""
        ...


def _nothing(_: bytes) -> None:
    """Take what nobody waits for any more."""


class UpstreamConnection(asyncio.Protocol):
    """One connection."""

    __slots__ = (
        "_ends",
        "_fd",
        "_frozen",
        "_home",
        "_number",
        "_reads",
        "at",
        "even",
        "flow",
        "held_back",
        "idle_since",
        "moved",
        "seconds",
        "send",
        "slot",
        "take",
        "tap",
        "transport",
        "used",
        "words",
    )

    def __init__(self, home: Home) -> None:
        """Belong to a pool."""
        self._home = home
        self._fd = -1
        self._ends: Ends | None = None
        self._frozen: list[bytes] | None = None
        self.held_back = False
        """Whether nothing is read since the client does not read either."""
        self._reads = True
        self._number = home.words
        self.words = home.words.words
        self.seconds = home.words.seconds
        self.at = 0
        """Where in the page the word of the flow's target is."""
        self.slot = 0
        self.even = False
        """Whether whole chunks may pass as they are: nothing has begun, on either side."""
        self.flow: Attended | None = None
        self.send: Callable[[bytes], None] = _nothing
        """To the client."""
        self.take: Callable[[bytes], None] = self._unasked
        """What is not passed on as it is."""
        self.tap: Tap | None = None
        self.moved = False
        """Whether anything came since somebody looked."""
        self.idle_since = 0.0
        """Loop time."""
        self.used = 0
        """Requests that were sent on it."""

    # --- the narrowest place ------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Pass on what came, if the word allows it now."""
        if (
            self.words[self.at] == RUN and _clock(_BOOT) < self.seconds[LEASE_SECONDS]
        ) or self._goes_on(data):
            self.moved = True
            if self.even:
                begin = _begins(len(data), NEVER)
                if data.startswith(begin) and data.endswith(_EVENT):
                    tap = self.tap
                    if tap is not None:
                        tap.data(data[len(begin) : -2])
                    send = self.send  # called by its own name an attribute takes twice as long
                    send(data)
                    return
            self.take(data)

    def _goes_on(self, data: bytes) -> bool:
        """Do what the word says, which is not simply *run*; true: pass it on all the same."""
        if self.flow is None:
            return True
        level = self._number.level(self.slot)
        if level is None or level < Level.FREEZE:
            return True
        if level is Level.FREEZE:
            self.freeze()
            if self._frozen is not None:
                self._frozen.append(data)
            self.flow.paused()
        else:
            self.flow.stopped()
        return False

    # --- one request --------------------------------------------------------------

    def begin(self, flow: Attended, slot: int, take: Callable[[bytes], None], data: bytes) -> None:
        """Send a request's beginning; the caller has just tested the word.

        Below zero `slot` is nobody's: no word is tested for it.
        """
        self.flow = flow
        self.slot = slot
        if slot < 0:
            self.words, self.seconds = _ALWAYS, _FOR_EVER
            self.at = 0
        else:
            self.at = self._number.index(slot)
        self.take = take
        self.even = False
        self.used += 1
        if self._fd < 0:
            self.transport.write(data)
            return
        try:
            sent = os.write(self._fd, data)
        except BlockingIOError:
            sent = 0
        except OSError:
            return  # it is being lost; the loop will say so
        if sent != len(data):
            self.transport.write(data[sent:])

    def write(self, data: bytes) -> None:
        """Send more of the request."""
        self.transport.write(data)

    def release(self) -> None:
        """The answer is complete: nothing more is expected."""
        self.words, self.seconds = self._number.words, self._number.seconds
        self.flow = None
        self.tap = None
        self.even = False
        self.send = _nothing
        self.take = self._unasked
        self._frozen = None
        self.hold_back(on=False)

    def abort(self) -> None:
        """Reset it now, whatever is on its way."""
        self.release()
        self.take = _nothing
        self._fd = -1
        self.transport.abort()

    def _unasked(self, _: bytes) -> None:
        """The server says something though nobody asked: it cannot be trusted with the next."""
        self.abort()

    def turn_page(self, words: Words) -> None:
        """Read another page from here on."""
        self._number = words
        if self.words is not _ALWAYS:
            self.words, self.seconds = words.words, words.seconds

    # --- reading, or not ----------------------------------------------------------

    def freeze(self) -> None:
        """Read nothing more; what was read is kept."""
        if self._frozen is None:
            self._frozen = []
            self._read_or_not()

    def thaw(self) -> None:
        """Go on, with what was kept first."""
        kept, self._frozen = self._frozen, None
        if kept is not None:
            self._read_or_not()
            for data in kept:
                self.data_received(data)

    def hold_back(self, *, on: bool) -> None:
        """Read nothing while the client does not read either."""
        self.held_back = on
        self._read_or_not()

    def _read_or_not(self) -> None:
        reads = self._frozen is None and not self.held_back
        if reads != self._reads and not self.transport.is_closing():
            self._reads = reads
            if reads:
                self.transport.resume_reading()
            else:
                self.transport.pause_reading()

    # --- the loop's side ----------------------------------------------------------

    @property
    def ends(self) -> Ends | None:
        """Name its socket to others; None: it is connected no more."""
        if self._ends is None:
            try:
                self._ends = Ends.of(self.transport.get_extra_info("socket"))
            except OSError:
                return None
        return self._ends

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is connected."""
        self.transport = cast(asyncio.Transport, transport)
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        if transport.get_extra_info("sslcontext") is None:
            self._fd = sock.fileno()

    def eof_received(self) -> bool:
        """Let it be closed."""
        return False

    def connection_lost(self, _exc: Exception | None) -> None:
        """It has ended: by us, or by the server."""
        self._fd = -1
        flow = self.flow
        self._home.lost(self)
        if flow is not None:
            self._frozen = None
            flow.upstream_ended()

    def pause_writing(self) -> None:
        """It takes no more just now."""
        if self.flow is not None:
            self.flow.upstream_full(full=True)

    def resume_writing(self) -> None:
        """It takes more."""
        if self.flow is not None:
            self.flow.upstream_full(full=False)
