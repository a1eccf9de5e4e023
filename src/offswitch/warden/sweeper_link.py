"""The warden's end of the link to the sweeper."""

from __future__ import annotations

import socket

from offswitch.warden.cells.users import CANARY
from offswitch.warden.children import launch
from offswitch.warden.sweeper import REQUEST, RESULT

__all__ = ["PING", "SweeperLink"]

PING = CANARY
"""The id that is asked for to hear whether anybody answers."""


class SweeperLink:
    """Asks for sweeps without ever waiting."""

    __slots__ = ("_count", "_link", "pid")

    def __init__(self, link: socket.socket, pid: int) -> None:
        """Hold the warden's end and the sweeper's pid."""
        self._link = link
        self._count = 0
        self.pid = pid

    @classmethod
    def start(cls, log: str | int) -> SweeperLink:
        """Start a sweeper (root only); it ends when this end is closed."""
        ours, theirs = socket.socketpair(
            socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC
        )
        ours.setblocking(False)
        with theirs:
            fd = theirs.fileno()
            pid = launch("offswitch.warden.sweeper", ["--link", str(fd)], [fd], log)
        return cls(ours, pid)

    def fileno(self) -> int:
        """Readable when a result is there, or the sweeper has ended."""
        return self._link.fileno()

    def ask(self, uid: int, *, exclusive: bool = False) -> None:
        """Have `uid` swept. What cannot be sent is not: the observer sees what remains."""
        self._count += 1
        try:
            self._link.send(REQUEST.pack(self._count, uid, exclusive))
        except OSError:
            return

    def ping(self) -> None:
        """Have it answer: what is asked for is an id of ours, so that it only refuses."""
        self.ask(PING)

    def results(self) -> list[tuple[int, int]]:
        """Take in what was told: (uid, processes seen at last; -1: refused or failed)."""
        told: list[tuple[int, int]] = []
        while True:
            try:
                data = self._link.recv(64)
            except OSError:
                return told
            if len(data) != RESULT.size:
                return told
            _number, uid, left, _rounds = RESULT.unpack(data)
            told.append((uid, left))

    def alive(self) -> bool:
        """Whether the sweeper is there to hear."""
        try:
            return self._link.recv(1, socket.MSG_PEEK) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False

    def close(self) -> None:
        """End the sweeper."""
        self._link.close()
