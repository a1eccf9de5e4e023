"""Roads to the processes that can stop: their sockets, none of which is ever waited for.

A warden that hangs still has a listener: it accepts some connections, and then `connect`
blocks (SR-11). So each socket is non-blocking from its birth, a full listener is knocked at
again, and `serve` goes round all roads until its time is up. That something was sent means
nothing; only an answer does.

`_socket` is what `socket` is made of; the package around it costs more than a whole stop.
"""

from __future__ import annotations

import select
import time

try:
    import _socket as socket
except ImportError:  # another Python than CPython: slower, and just as right
    import socket  # type: ignore[no-redef]

from offswitch.cli.quick_json import dumps, loads

__all__ = ["Road", "ask_all", "serve"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MOST = 1 << 26
"""Bytes that a road takes in: one answer may be as long (`control.frames.MAX_ANSWER`), since a
fleet's status is; all together no more, since the warden may be somebody else's."""
_HEAD = 4
_KNOCK_AGAIN_MS = 5
_MOST_ANSWERS = 16
_CLOEXEC = 0o2000000
_NONBLOCK = 0o4000


def framed(message: dict[str, Any]) -> bytes:
    """Give the frame of a message, as `control.frames` does (which imports much more)."""
    body = dumps(message).encode()
    return len(body).to_bytes(_HEAD, "big") + body


class Road:
    """One connection under way, from the first knock to the last answer. Never blocks."""

    __slots__ = ("_in", "_left", "_out", "_sock", "answers", "ended", "heard_ns", "path", "why")

    def __init__(self, path: str, message: dict[str, Any]) -> None:
        """Knock at `path`, and send `message` as soon as somebody takes it."""
        self.path = path
        self.answers: list[dict[str, Any]] = []
        """What came so far."""
        self.heard_ns = time.monotonic_ns()
        """When something came last, CLOCK_MONOTONIC."""
        self.ended = False
        """Whether nothing more can come."""
        self.why = ""
        """Why it ended: `absent`, `barred` (not for us), `broken`; empty where it simply ended."""
        self._in = bytearray()
        self._left = _MOST
        self._out = framed(message)
        self._sock: Any = None
        self.go()

    def go(self) -> None:
        """Connect if that is still to be done; send what is still to be sent."""
        if self.ended:
            return
        try:
            if self._sock is None and not self._connect():
                return
            while self._out:
                sent = self._sock.send(self._out, socket.MSG_NOSIGNAL)
                self._out = self._out[sent:]
        except BlockingIOError:
            return
        except OSError:
            self._end("broken")

    def _connect(self) -> bool:
        kind = socket.SOCK_STREAM | _NONBLOCK | _CLOEXEC
        try:
            sock = socket.socket(socket.AF_UNIX, kind)
        except OSError:
            self._end("broken")  # no descriptor is left for us
            return False
        try:
            sock.connect(self.path)
        except BlockingIOError:
            sock.close()  # the listener is full: it hangs, or it is busy
            return False
        except PermissionError:
            sock.close()
            self._end("barred")
            return False
        except OSError:
            sock.close()
            self._end("absent")
            return False
        self._sock = sock
        return True

    def read(self) -> None:
        """Take in what came."""
        try:
            data = self._sock.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._end("broken" if self._in or not self.answers else "")
            return
        self._left -= len(data)
        if self._left < 0:
            self._end("broken")
            return
        self._in += data
        while len(self._in) >= _HEAD:
            size = _HEAD + int.from_bytes(self._in[:_HEAD], "big")
            if size > _MOST:
                self._end("broken")
                return
            if len(self._in) < size:
                return
            body = self._in[_HEAD:size]
            del self._in[:size]
            self._take(body)

    def _take(self, body: bytearray) -> None:
        try:
            answer = loads(body)
        except ValueError:
            answer = None
        self.heard_ns = time.monotonic_ns()
        if not isinstance(answer, dict) or len(self.answers) >= _MOST_ANSWERS:
            self._end("broken")
        elif "pong" not in answer:
            self.answers.append(answer)

    def ping(self) -> None:
        """Ask whether anybody is still there; the answer moves `heard_ns`."""
        if not self._out and self._sock is not None:
            self._out = framed({"op": "ping"})
            self.go()

    def _end(self, why: str) -> None:
        self.ended = True
        self.why = why
        self.close()

    def close(self) -> None:
        """Hang up."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    @property
    def fd(self) -> int:
        """Its descriptor, or -1 while nobody has opened."""
        return -1 if self._sock is None else int(self._sock.fileno())

    @property
    def sending(self) -> bool:
        """Whether not everything could be sent yet."""
        return bool(self._out)


def serve(roads: list[Road], patience_ms: float) -> None:
    """Go round once: wait at most `patience_ms` for any of `roads`, take in what came."""
    poll = select.poll()
    by_fd: dict[int, Road] = {}
    for road in roads:
        if road.ended:
            continue
        if road.fd < 0:
            patience_ms = min(patience_ms, _KNOCK_AGAIN_MS)
            continue
        by_fd[road.fd] = road
        poll.register(road.fd, select.POLLIN | (select.POLLOUT if road.sending else 0))
    for fd, events in poll.poll(max(patience_ms, 0)):
        if events & select.POLLOUT:
            by_fd[fd].go()
        if events & ~select.POLLOUT and not by_fd[fd].ended:
            by_fd[fd].read()
    for road in roads:
        if road.fd < 0:
            road.go()


def ask_all(paths: list[str], message: dict[str, Any], patience_s: float) -> list[Road]:
    """Ask all of `paths` the same, and give the roads when each answered or the time is up."""
    roads = [Road(path, message) for path in paths]
    end = time.monotonic_ns() + int(patience_s * 1e9)
    while any(not road.answers and not road.ended for road in roads):
        left_ms = (end - time.monotonic_ns()) / 1e6
        if left_ms <= 0:
            break
        serve([road for road in roads if not road.answers], left_ms)
    for road in roads:
        road.close()
    return roads
