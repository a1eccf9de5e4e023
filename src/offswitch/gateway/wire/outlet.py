"""The way to one client: bytes go to the kernel now, or wait here; never in a transport's buffer.

An event loop's transport writes when its turn is over, which may be long after the word was
tested, and what it has taken it cannot be told to forget. So a piece is handed to the kernel at
once; what the kernel does not take waits in a backlog that a stop can drop. A piece is whole in
itself (chunks, events): if it was taken in part, the stream is *torn*, and cannot be ended well.

With TLS there is no such way: its transport encrypts and keeps, and what it keeps is torn.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import struct
from collections import deque
from typing import Protocol

__all__ = ["NOTSENT_LOWAT", "SEND_BUFFER", "Outlet", "Owner", "SealedOutlet", "tune"]

SEND_BUFFER = 64 << 10
"""What the kernel may keep for a client, in bytes (it doubles it): little, for what is in there
goes out after a stop."""
NOTSENT_LOWAT = 16 << 10
"""How much of it may be unsent before the kernel takes no more."""
_TCP_NOTSENT_LOWAT = 25
_SIOCOUTQNSD = 0x894B
_CROWDED = 64 << 10
_RESET = struct.pack("ii", 1, 0)


def tune(sock: socket.socket) -> None:
    """Set up a listening socket; those that it accepts inherit it."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
    sock.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, NOTSENT_LOWAT)


class Owner(Protocol):
    """Whose outlet it is."""

    def crowded(self) -> None:
        """The client reads too slowly: give no more than what is on its way."""
        ...

    def may_write(self) -> bool:
        """Bytes that waited could go out now: say whether they may, as a word is tested again."""
        ...

    def drained(self) -> None:
        """It has read what there was."""
        ...

    def broken(self) -> None:
        """Nothing more can be written; called from within `send`."""
        ...


class Outlet:
    """Plain TCP."""

    __slots__ = (
        "_backlog",
        "_crowded",
        "_fd",
        "_loop",
        "_owner",
        "_send",
        "_size",
        "_sock",
        "_torn",
        "_transport",
        "_twin",
    )

    def __init__(
        self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport, owner: Owner
    ) -> None:
        """Write to the socket that `transport` reads."""
        self._loop = loop
        self._transport = transport
        self._owner = owner
        theirs = transport.get_extra_info("socket")
        self._fd: int = theirs.fileno()
        self._sock = socket.socket(theirs.family, theirs.type, 0, self._fd)
        """The same descriptor; it is the transport's to close."""
        self._send = self._sock.send
        self._twin = -1
        """Another descriptor of the same socket: a loop lets nobody else wait for its own."""
        self._backlog: deque[bytes] = deque()
        self._torn = False
        self._crowded = False
        self._size = 0

    @property
    def waiting(self) -> int:
        """How many bytes wait."""
        return self._size

    def send(self, data: bytes) -> None:
        """Hand a piece to the kernel, or keep it until it can be."""
        if self._backlog:
            self._keep(data)
            return
        try:
            sent = self._send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._owner.broken()
            return
        if sent != len(data):
            self._torn = sent > 0
            self._keep(data[sent:])

    def _keep(self, data: bytes) -> None:
        self._backlog.append(data)
        self._size += len(data)
        self._watch()
        if self._size > _CROWDED and not self._crowded:
            self._crowded = True
            self._owner.crowded()

    def _writable(self) -> None:
        while self._backlog:
            if not self._owner.may_write():
                return
            data = self._backlog[0]
            try:
                sent = self._send(data)
            except BlockingIOError:
                return
            except OSError:
                self.drop()
                self._owner.broken()
                return
            self._size -= sent
            if sent != len(data):
                self._torn = True
                self._backlog[0] = data[sent:]
                return
            self._torn = False
            self._backlog.popleft()
        self._unwatch()
        self._crowded = False
        self._owner.drained()

    def freeze(self) -> None:
        """Hand over nothing of what waits for now."""
        self._unwatch()

    def thaw(self) -> None:
        """Go on handing over."""
        if self._backlog and self._fd >= 0:
            self._watch()

    def _watch(self) -> None:
        if self._twin >= 0:
            return
        try:
            self._twin = os.dup(self._fd)
        except OSError:  # there are no descriptors left: rather lose this client than keep all
            self._owner.broken()
            return
        self._loop.add_writer(self._twin, self._writable)

    def _unwatch(self) -> None:
        if self._twin >= 0:
            self._loop.remove_writer(self._twin)
            os.close(self._twin)
            self._twin = -1

    def drop(self) -> bool:
        """Forget what waits; say whether what went out before ends with a whole piece."""
        self._backlog.clear()
        self._size = 0
        self._unwatch()
        self._crowded = False
        torn, self._torn = self._torn, False
        return not torn

    @property
    def unsent(self) -> int:
        """Bytes that have not left this machine: here, or in the kernel."""
        if self._fd < 0:
            return 0
        left = bytearray(4)
        try:
            fcntl.ioctl(self._fd, _SIOCOUTQNSD, left)
        except OSError:
            return self._size
        return self._size + int.from_bytes(left, "little")

    def forget(self) -> None:
        """The socket is about to be closed: its number will be somebody else's."""
        self.drop()
        self._let_go()

    def _let_go(self) -> None:
        self._fd = -1
        self._sock.detach()

    def abort(self) -> None:
        """Reset the connection: what the kernel still has is thrown away."""
        if self._fd >= 0:
            try:
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            except OSError:
                pass  # it is no longer connected
        self.forget()
        self._transport.abort()


class SealedOutlet(Outlet):
    """TLS: the transport encrypts, and keeps what the kernel does not take."""

    __slots__ = ()

    def __init__(
        self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport, owner: Owner
    ) -> None:
        """Have the transport say when anything waits, and when nothing does any more."""
        super().__init__(loop, transport, owner)
        transport.set_write_buffer_limits(high=1, low=0)

    @property
    def waiting(self) -> int:
        """How many bytes wait, encrypted."""
        return self._transport.get_write_buffer_size()

    def send(self, data: bytes) -> None:
        """Hand a piece to the transport; it says when that is too much (`pause_writing`)."""
        if self._fd >= 0:
            self._transport.write(data)

    def drop(self) -> bool:
        """Say whether nothing waits: what was encrypted cannot be taken back."""
        return self._transport.get_write_buffer_size() == 0

    @property
    def unsent(self) -> int:
        """Bytes that have not left this machine."""
        return super().unsent + self._transport.get_write_buffer_size()

    def forget(self) -> None:
        """The socket is about to be closed."""
        self._let_go()
