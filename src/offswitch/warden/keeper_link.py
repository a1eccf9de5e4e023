"""The warden's end of the link to its keeper; nothing here ever waits (SR-22).

A cell is handed over with its descriptors, and its target may begin only when the keeper
has acknowledged it. What the keeper cannot take at once is kept and sent later, in order;
a keeper that takes nothing acknowledges nothing, so nothing new starts.
"""

from __future__ import annotations

import array
import json
import os
import select
import socket
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from offswitch.control.place import Place
from offswitch.warden.children import launch

__all__ = ["KILL_AFTER_S", "KeeperLink"]

KILL_AFTER_S = 10.0
_DATAGRAM = 1 << 18
_BACKLOG = 65536


class KeeperLink:
    """Hands cells to the keeper, and hears what it did."""

    __slots__ = ("_link", "_out", "_pidfd", "pid")

    def __init__(self, link: socket.socket, pid: int) -> None:
        """Hold the warden's end and the keeper's pid."""
        link.setblocking(False)
        self._link = link
        self._out: deque[tuple[bytes, tuple[int, ...]]] = deque(maxlen=_BACKLOG)
        self._pidfd = os.pidfd_open(pid)
        self.pid = pid

    @classmethod
    def start(
        cls,
        place: Place,
        page: str,
        epoch: int,
        kill_after_s: float = KILL_AFTER_S,
        log: str | int = os.devnull,
    ) -> KeeperLink:
        """Start a keeper for the warden of `epoch`. It stays when the warden dies.

        What it freezes for the loss of the warden it kills after `kill_after_s`.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            fd = theirs.fileno()
            args = ["--link", str(fd), "--home", place.home, "--run", place.run]
            args += ["--page", page, "--epoch", str(epoch), "--kill-after-s", str(kill_after_s)]
            pid = launch("offswitch.warden.keeper", args, [fd], log)
        return cls(ours, pid)

    @classmethod
    def again(cls, fd: int, pid: int) -> KeeperLink:
        """Hold the link to a keeper of our code before; OSError if it is gone."""
        return cls(socket.socket(fileno=fd), pid)

    def fileno(self) -> int:
        """Readable when `messages` has something, or the keeper is gone."""
        return self._link.fileno()

    def hand(
        self,
        facts: Mapping[str, Any],
        fds: Mapping[str, int],
        target: str,
        labels: Mapping[str, str],
        slot: int,
    ) -> None:
        """Hand over a cell; the keeper answers `{"ack": NAME}`."""
        message = {"facts": dict(facts), "target": target, "labels": dict(labels), "slot": slot}
        self._say({"op": "hand", "keys": list(fds), **message}, tuple(fds.values()))

    def drop(self, name: str) -> None:
        """Take a cell back that is empty and gone."""
        self._say({"op": "drop", "name": name})

    def obeyed(self, nonces: Sequence[str]) -> None:
        """Say which presses this warden has carried out, so that the keeper need not."""
        self._say({"op": "obeyed", "nonces": list(nonces)})

    def joined(self, digests: Sequence[str]) -> None:
        """Say which orders of keepers are durable in the latch's own file: it may forget them."""
        if digests:
            self._say({"op": "joined", "digests": list(digests)})

    def ping(self) -> None:
        """Have it say how many cells it holds: `{"pong": COUNT}`."""
        self._say({"op": "ping"})

    def dismiss(self) -> None:
        """Have it leave: at a planned end with nothing alive."""
        self._say({"op": "leave"})

    def messages(self) -> list[dict[str, Any]]:
        """Take in what has come; also sends what could not be sent before."""
        self._flush()
        found: list[dict[str, Any]] = []
        while True:
            try:
                data = self._link.recv(_DATAGRAM)
            except OSError:  # nothing more, or the keeper is gone: its death is the reaper's news
                return found
            if not data:
                return found
            found.append(json.loads(data))

    def alive(self) -> bool:
        """Whether the process is there."""
        return not select.select([self._pidfd], [], [], 0)[0]

    def close(self) -> None:
        """Let go of the link; the keeper stays as long as it holds anything."""
        self._link.close()
        os.close(self._pidfd)

    def _say(self, message: dict[str, Any], fds: tuple[int, ...] = ()) -> None:
        self._out.append((json.dumps(message).encode(), fds))
        self._flush()

    def _flush(self) -> None:
        while self._out:
            data, fds = self._out[0]
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
            try:
                self._link.sendmsg([data], rights if fds else [], socket.MSG_NOSIGNAL)
            except BlockingIOError:
                return
            except OSError:  # the keeper is gone, or the cell was closed meanwhile
                pass
            self._out.popleft()
