"""What a drill sees with its own senses: who beats, when each acted last, what still gets through.

    beats      a pipe that everything in the cell writes on; at its end nobody is left to write
    outside    the same of the stray, which lives outside of the cell
    road       a connection that the target made and gave away: we send over it ourselves, so it
               goes quiet only when the network layer ends it, whoever else is dead

None of it asks the warden or its observer anything. All times are CLOCK_MONOTONIC in nanoseconds,
taken when something came: the last act was no later than that.
"""

from __future__ import annotations

import os
import select
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

__all__ = ["Senses"]

_GULP = 1 << 16
_NAMES = {b"m": "the target", b"c": "its child", b"w": "the witness", b"s": "the stray"}


@dataclass(slots=True)
class _Heard:
    """One channel, as far as it was heard."""

    last_ns: int | None = None
    """When something came last."""
    ended: bool = False
    """Whether nothing can come any more."""
    last_of: dict[bytes, int] = field(default_factory=dict)
    """Letter → when it came last."""


class Senses:
    """All channels of one drill. Use it in a `with`."""

    def __init__(self) -> None:
        """Open everything; nobody is there yet."""
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.setblocking(False)
        self.port: int = self._server.getsockname()[1]
        """Where the target is to connect to."""
        self._link, self._theirs = socket.socketpair()
        self._link.setblocking(False)
        self._read, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._read_outside, self._write_outside = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        for fd in (self._write, self._write_outside):
            os.set_blocking(fd, True)
        self._null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        self._peer: socket.socket | None = None
        self._given: socket.socket | None = None
        self.no_road = False
        """Whether the target has said that it cannot reach us."""
        self.beats, self.outside, self.road = _Heard(), _Heard(), _Heard()
        self._cut = False

    def __enter__(self) -> Self:
        """Use it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close everything; what is left of the drill's processes ends by that."""
        self.hand_over()
        for sock in (self._server, self._link, self._peer, self._given):
            if sock is not None:
                sock.close()
        for fd in (self._read, self._read_outside):
            os.close(fd)

    @property
    def fds(self) -> tuple[int, int, int, int]:
        """What the warden is handed: link, beats, null, beats outside."""
        return (self._theirs.fileno(), self._write, self._null, self._write_outside)

    def hand_over(self) -> None:
        """Close our copies of what was handed over, so that an end can be seen."""
        if self._null < 0:
            return
        self._theirs.close()
        for fd in (self._write, self._write_outside, self._null):
            os.close(fd)
        self._null = -1

    # --- listening ----------------------------------------------------------------

    def listen(self, patience_s: float, beside: int = -1) -> bool:
        """Take in what comes for so long, or until `beside` can be read; says whether it can."""
        end = time.monotonic() + patience_s
        while True:
            self._send()
            left = min(max(end - time.monotonic(), 0), 0.001)
            wanted = [fd for fd in self._open() if fd >= 0] + ([beside] if beside >= 0 else [])
            ready = select.select(wanted, [], [], left)[0]
            self._take(ready)
            if beside in ready:
                return True
            if time.monotonic() >= end:
                return False

    def _open(self) -> list[int]:
        """List what something may still come from."""
        return [
            -1 if self.beats.ended else self._read,
            -1 if self.outside.ended else self._read_outside,
            self._server.fileno() if self._peer is None else -1,
            self._link.fileno() if self._given is None and not self.no_road else -1,
            self._peer.fileno() if self._peer is not None and not self.road.ended else -1,
        ]

    def _take(self, ready: list[int]) -> None:
        now = time.monotonic_ns()
        if self._read in ready:
            self._drain(self._read, self.beats, now)
        if self._read_outside in ready:
            self._drain(self._read_outside, self.outside, now)
        if self._server.fileno() in ready and self._peer is None:
            with suppress(BlockingIOError):
                self._peer = self._server.accept()[0]
                self._peer.setblocking(False)
        if self._link.fileno() in ready and self._given is None:
            self._take_road()
        if self._peer is not None and self._peer.fileno() in ready:
            self._hear_road(self._peer, now)

    def _drain(self, fd: int, heard: _Heard, now: int) -> None:
        try:
            data = os.read(fd, _GULP)
        except BlockingIOError:
            return
        if not data:
            heard.ended = True
            return
        heard.last_ns = now
        for letter in _NAMES:
            if letter in data:
                heard.last_of[letter] = now

    def _take_road(self) -> None:
        try:
            data, fds, _flags, _address = socket.recv_fds(self._link, 16, 1)
        except BlockingIOError:
            return
        if fds:
            self._given = socket.socket(fileno=fds[0])
            self._given.setblocking(False)
        elif data != b"+":
            self.no_road = True

    def _hear_road(self, peer: socket.socket, now: int) -> None:
        try:
            data = peer.recv(_GULP)
        except BlockingIOError:
            return
        except OSError:
            self.road.ended = True
            return
        if data:
            self.road.last_ns = now
        else:
            self.road.ended = True

    def _send(self) -> None:
        """Send over the road that was given to us, as a broker would that has it."""
        if self._given is None or self._cut:
            return
        try:
            self._given.send(b"!")
        except BlockingIOError:
            pass
        except PermissionError:
            pass  # denied for now: that is a pause, and no end
        except OSError:
            self._cut = True

    # --- judging ------------------------------------------------------------------

    def missing(self, *, witness: bool, since_ns: int) -> list[str]:
        """Name who was not heard since then: before a press all must act, or it proves nothing."""
        wanted = {b"m", b"c"} | ({b"w", b"s"} if witness else set())
        heard = {**self.beats.last_of, **self.outside.last_of}
        lacking = [_NAMES[letter] for letter in sorted(wanted) if heard.get(letter, 0) < since_ns]
        if not self.no_road and (self._given is None or (self.road.last_ns or 0) < since_ns):
            lacking.append("the connection")
        return lacking

    @property
    def cut(self) -> bool:
        """Whether the connection is over for whoever holds it."""
        return self._cut

    def still_beats(self, heard: _Heard, since_ns: int) -> str:
        """Say who acted after that; empty: nobody."""
        late = [_NAMES[letter] for letter, at in heard.last_of.items() if at > since_ns]
        return " and ".join(sorted(late))
