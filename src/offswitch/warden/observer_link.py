"""The warden's end of the link to the observer; nothing here ever waits.

What cannot be sent because the observer is stuck or gone is dropped: a stop that nobody
saw is *not confirmed*, which is the truth.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

from offswitch.control import frames
from offswitch.errors import Usage
from offswitch.warden.children import launch

__all__ = ["ObserverLink"]


class ObserverLink:
    """Asks, and hears answers and events."""

    __slots__ = ("_broken", "_decoder", "_link", "_out", "pid")

    def __init__(self, link: socket.socket, pid: int) -> None:
        """Hold the warden's end and the observer's pid."""
        link.setblocking(False)
        self._link = link
        self._decoder = frames.Decoder()
        self._out = bytearray()
        self._broken = False
        self.pid = pid

    @classmethod
    def start(cls, log: str | int) -> ObserverLink:
        """Start an observer, its errors going to the file `log`; it ends when this end closes."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        with theirs:
            fd = theirs.fileno()
            pid = launch("offswitch.warden.observer", ["--link", str(fd)], [fd], log)
        return cls(ours, pid)

    def fileno(self) -> int:
        """Readable when `messages` has something, or the observer is gone."""
        return self._link.fileno()

    def look(
        self,
        number: int,
        facts: dict[str, Any],
        layers: Sequence[str],
        level: str,
        deadline_ms: int,
    ) -> None:
        """Have a cell looked at; one answer a layer comes under `number`."""
        self._send(
            {
                "op": "look",
                "id": number,
                "cell": facts,
                "layers": list(layers),
                "level": level,
                "deadline_ms": deadline_ms,
            }
        )

    def watch(self, facts: dict[str, Any], level: str) -> None:
        """Have a cell watched from now on."""
        self._send({"op": "watch", "cell": facts, "level": level})

    def unwatch(self, name: str) -> None:
        """Have it watched no longer."""
        self._send({"op": "unwatch", "name": name})

    def messages(self) -> list[dict[str, Any]]:
        """Take in what has come; also sends what could not be sent before."""
        self._flush()
        while not self._broken:
            try:
                data = self._link.recv(1 << 16)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                self._broken = True
                break
            try:
                return self._decoder.feed(data)
            except Usage:
                self._broken = True
        return []

    def alive(self) -> bool:
        """Whether the observer still holds its end."""
        if self._broken:
            return False
        try:
            return self._link.recv(1, socket.MSG_PEEK) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False

    def close(self) -> None:
        """End the observer."""
        self._link.close()

    def _send(self, message: dict[str, Any]) -> None:
        self._out += frames.encode(message)
        self._flush()

    def _flush(self) -> None:
        while self._out and not self._broken:
            try:
                sent = self._link.send(self._out)
            except BlockingIOError:
                break
            except OSError:
                self._broken = True
                break
            del self._out[:sent]
        if len(self._out) > frames.MAX_FRAME:
            self._broken = (
                True  # it has not read for a megabyte: it is stuck, so it is as good as gone
            )
