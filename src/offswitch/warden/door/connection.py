"""One peer of the control socket: its frames, its descriptors, its answers.

Whoever connects is who the kernel says. A frame that is garbled, too long or cut off ends
its connection, and so does one that drips in for too long; nothing of it is obeyed, and
what was whole before it is. A peer that asks faster than it listens, or for much at once,
is served a little in each pass, so that it holds up nobody: the loop that serves it renews
the lease. Nothing here ever waits, not even a `close` (see `closer`).
"""

from __future__ import annotations

import array
import base64
import fcntl
import os
import select
import socket
import struct
import termios
import time
from collections import deque
from typing import Any, Protocol

from offswitch.control import frames
from offswitch.control.peer import Peer
from offswitch.errors import Internal, OffswitchError
from offswitch.warden.door.closer import Closer
from offswitch.warden.loop import Loop

__all__ = ["Connection", "Host"]

_CHUNK = 65536
_A_PASS = 8
"""Messages of one peer that are served before all others have their turn."""
_UNHEARD = 1 << 16
"""Bytes of answers that a peer may leave unread before its next question is served."""
_MOST_UNHEARD = 8 << 20
"""Beyond this, of what comes unasked, it is hung up on."""
_GARBAGE = b"\xff\xff\xff\xff"
"""The length of a frame that is too long: whoever reads it hangs up."""
_HELD = -1
_MOST_RIGHTS = 253
"""What the kernel lets through in one message: what is not taken in here, `recvmsg` closes."""


class Host(Protocol):
    """Whoever serves connections (`server.Server`)."""

    loop: Loop
    closer: Closer

    def serve(self, connection: Connection, message: dict[str, Any]) -> None:
        """Serve one message; never raises."""
        ...

    def holds(self, message: dict[str, Any]) -> bool:
        """Tell whether this message is to wait for the warden's next code."""
        ...

    def broken(self, connection: Connection, what: str) -> None:
        """Hear of a peer that sent garbage."""
        ...

    def gone(self, connection: Connection) -> None:
        """Forget a connection that closes."""
        ...


class Connection:
    """One peer. `context` belongs to whoever serves it (a run's session)."""

    __slots__ = (
        "_decoder",
        "_events",
        "_host",
        "_messages",
        "_out",
        "_since",
        "_unheard",
        "_working",
        "closed",
        "closing",
        "context",
        "fds",
        "peer",
        "sock",
    )

    def __init__(self, host: Host, sock: socket.socket, peer: Peer) -> None:
        """Hold an accepted socket that does not block, and listen to it."""
        self._host = host
        self._decoder = frames.Decoder()
        self._messages: deque[dict[str, Any]] = deque()
        self._out: deque[tuple[bytes, int | None]] = deque()
        self._unheard = 0
        self._working = False
        self._since: float | None = None
        self._events = select.EPOLLIN
        self.sock = sock
        self.peer = peer
        self.fds: list[int] = []
        self.context: Any = None
        self.closed = False
        self.closing = False
        host.loop.watch(sock.fileno(), self.ready)

    # --- answers ------------------------------------------------------------------

    def reply(self, message: dict[str, Any], fd: int | None = None) -> None:
        """Send a message, with a descriptor if one is given (it stays the caller's)."""
        if self.closed:
            return
        try:
            data = frames.encode(message, frames.MAX_ANSWER)
        except OffswitchError as error:
            internal = Internal(f"the answer cannot be sent: {error.message}")
            data = frames.encode({"error": internal.as_dict(), "exit": internal.exit_code})
        self._say(data, None if fd is None else os.dup(fd))

    def push(self, frame: bytes) -> None:
        """Send a frame that is made already, as it is made once for all who follow."""
        if not self.closed:
            self._say(frame, None)

    @property
    def unheard(self) -> int:
        """Bytes that the peer has not taken yet."""
        return self._unheard

    def _say(self, data: bytes, fd: int | None) -> None:
        self._out.append((data, fd))
        self._unheard += len(data)
        if self._unheard > _MOST_UNHEARD + len(data):
            self.close()
            return
        self._flush()

    def error(self, error: OffswitchError, code: int | None = None) -> None:
        """Send an error with its exit code."""
        exit_code = error.exit_code if code is None else code
        self.reply({"error": error.as_dict(), "exit": exit_code})

    def finish(self) -> None:
        """Close as soon as everything was sent."""
        self.closing = True
        self._flush()

    def _flush(self) -> None:
        while self._out and not self.closed:
            data, fd = self._out[0]
            try:
                sent = self._send(data, fd)
            except BlockingIOError:
                break
            except OSError:
                self.close()
                return
            self._unheard -= sent
            if fd is not None:
                os.close(fd)
            if sent < len(data):
                self._out[0] = (data[sent:], None)
            else:
                self._out.popleft()
        if self.closing and not self._out:
            self.close()
            return
        self._listen()

    def _send(self, data: bytes, fd: int | None) -> int:
        if fd is None:
            return self.sock.send(data, socket.MSG_NOSIGNAL)
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]
        return self.sock.sendmsg([data], ancillary, socket.MSG_NOSIGNAL)

    def _listen(self) -> None:
        """Ask the loop for what this connection waits for, where that has changed."""
        if self.closed:
            return
        busy = self._messages or self._unheard > _UNHEARD
        events = (0 if busy else select.EPOLLIN) | (select.EPOLLOUT if self._out else 0)
        if events != self._events:
            self._events = events
            self._host.loop.watch(self.sock.fileno(), self.ready, events)

    # --- questions ----------------------------------------------------------------

    def ready(self, events: int) -> None:
        """Write what waits, serve what came, read more."""
        if events & select.EPOLLOUT:
            self._flush()
            if not self._working:
                self._work()
        if not self.closed and events & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
            self.read()

    def read(self) -> None:
        """Take in what is there and serve the frames that are complete."""
        if self.closed or self._messages:
            return  # what came before is served first
        try:
            space = socket.CMSG_SPACE(_MOST_RIGHTS * 4)
            flags = socket.MSG_CMSG_CLOEXEC
            data, ancillary, _flags, _address = self.sock.recvmsg(_CHUNK, space, flags)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                self.fds.extend(array.array("i", payload[: len(payload) // 4 * 4]))
        if len(self.fds) > frames.MAX_FDS:
            self._garbage(f"{len(self.fds)} descriptors at once")
            return
        if not data:
            if self._decoder.broken:
                self._host.broken(self, "a message that breaks off")
            self.close()
            return
        self._take_in(data)

    def _take_in(self, data: bytes) -> None:
        try:
            self._messages.extend(self._decoder.feed(data))
        except OffswitchError as error:
            self.error(error)
            self._garbage(error.message)
            return
        if not self._decoder.broken:
            self._since = None
        elif self._messages or self._since is None:
            self._since = time.monotonic()
        self._work()

    def _garbage(self, what: str) -> None:
        self._host.broken(self, what)
        self.close()

    def dripping(self, before: float) -> bool:
        """Tell whether a frame began earlier than `before` (CLOCK_MONOTONIC) and has not ended."""
        return self._since is not None and self._since < before and not self._messages

    def drop(self) -> None:
        """Hang up on a peer whose frame drips in."""
        self._garbage("a message that takes too long")

    def _work(self) -> None:
        """Serve what was taken in: a little now, the rest after everybody else's turn."""
        self._working = False
        for _ in range(_A_PASS):
            if self.closed or not self._messages or self._unheard > _UNHEARD:
                break
            if self._host.holds(self._messages[0]):
                self._host.loop.forget(self.sock.fileno())
                self._events = _HELD
                return
            self._host.serve(self, self._messages.popleft())
        if self.closed:
            return
        if self._messages:
            if self._unheard <= _UNHEARD:
                self._working = True
                self._host.loop.later(0, self._work)
        else:
            if not self._decoder.broken:
                self.drop_fds(self.take_fds())  # nobody wanted them
            if self._decoder.garbled:
                self._take_in(b"")
                return
        self._listen()

    def serve_on(self) -> None:
        """Serve what was held back."""
        if not self.closed and self._events == _HELD:
            self._work()

    def take_fds(self) -> list[int]:
        """Give the descriptors that came so far; they are the caller's from now on."""
        taken, self.fds = self.fds, []
        return taken

    def drop_fds(self, fds: list[int]) -> None:
        """Close descriptors that came here and are not wanted any more."""
        self._host.closer.close(fds, self.peer.uid)

    # --- the hand-over to new code (SR-23) ----------------------------------------

    def passed(self) -> dict[str, Any]:
        """Give what the next code needs to go on with this peer; the descriptors stay open."""
        heard = b"".join(frames.encode(each, frames.MAX_ANSWER) for each in self._messages)
        heard += _GARBAGE if self._decoder.garbled else self._decoder.rest
        return {
            "fd": self.sock.fileno(),
            "heard": base64.b64encode(heard).decode(),
            "out": [[base64.b64encode(data).decode(), fd] for data, fd in self._out],
            "fds": self.fds,
            "since": self._since,
            "closing": self.closing,
        }

    def take_up(self, passed: dict[str, Any]) -> None:
        """Go on where the code before stopped: say what it had to say, serve what it had heard."""
        self.fds = list(passed["fds"])
        self._out.extend((base64.b64decode(data), fd) for data, fd in passed["out"])
        self._unheard = sum(len(data) for data, _fd in self._out)
        self.closing = bool(passed["closing"])
        heard = base64.b64decode(passed["heard"])
        if heard:
            self._take_in(heard)
            self._since = self._since and passed["since"]
        if not self.closed:
            self._flush()

    # --- the end ------------------------------------------------------------------

    def close(self) -> None:
        """Hang up, once; what it still wanted served is not."""
        if self.closed:
            return
        self.closed = True
        self._host.gone(self)
        self._messages.clear()
        for _data, fd in self._out:
            if fd is not None:
                os.close(fd)
        self._out.clear()
        self.drop_fds(self.take_fds())
        if _unread(self.sock):
            self._host.closer.close([self.sock.detach()], self.peer.uid)
        else:
            self.sock.close()


def _unread(sock: socket.socket) -> bool:
    """End both directions; tell whether something unread is left, that may hold descriptors."""
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # the other side was faster
    left = fcntl.ioctl(sock.fileno(), termios.FIONREAD, bytes(4))
    return struct.unpack("i", left) != (0,)
