"""The warden's end of the link to a helper that looks; nothing here ever waits.

What cannot be sent because the helper is stuck or gone is dropped, and it counts as gone: a
stop that nobody saw is *not confirmed*, which is the truth.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from offswitch.control import frames
from offswitch.errors import Usage
from offswitch.warden.loop import Loop

__all__ = ["HelperLink"]

_RETRY_S = 0.05


class HelperLink:
    """Asks, and hears answers and events."""

    __slots__ = ("_broken", "_decoder", "_later", "_link", "_out", "_retrying", "pid")

    def __init__(
        self,
        link: socket.socket,
        pid: int,
        later: Callable[[float, Callable[[], None]], object] | None = None,
    ) -> None:
        """Hold the warden's end and the helper's pid.

        `later(seconds, action)` sends what waits again, for a helper that need not answer.
        """
        link.setblocking(False)
        self._link = link
        self._decoder = frames.Decoder()
        self._out = bytearray()
        self._broken = False
        self._later = later
        self._retrying = False
        self.pid = pid

    def fileno(self) -> int:
        """Readable when `messages` has something, or the helper is gone."""
        return self._link.fileno()

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

    def heard(self, loop: Loop) -> list[dict[str, Any]]:
        """Take in what has come. One that hung up, or talks garbage, is ended.

        Its end is the reaper's news, and another one is started then.
        """
        found = self.messages()
        if self._broken:
            loop.forget(self.fileno())
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        return found

    def alive(self) -> bool:
        """Whether the helper still holds its end."""
        if self._broken:
            return False
        try:
            return self._link.recv(1, socket.MSG_PEEK) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False

    def close(self) -> None:
        """End the helper."""
        self._link.close()

    def say(self, message: dict[str, Any], fd: int = -1) -> bool:
        """Send a message, now or with a later one; with a descriptor now or not at all.

        Tells whether it is sent or waits to be.
        """
        if self._broken:
            return False
        data = frames.encode(message)
        if fd >= 0:
            if self._out:
                return False
            try:
                data = data[socket.send_fds(self._link, [data], [fd]) :]
            except OSError:
                return False
        self._out += data
        self._flush()
        return not self._broken

    def _flush(self) -> None:
        while self._out and not self._broken:
            try:
                sent = self._link.send(self._out)
            except BlockingIOError:
                self._retry()
                break
            except OSError:
                self._broken = True
                break
            del self._out[:sent]
        if len(self._out) > frames.MAX_FRAME:
            self._broken = (
                True  # it has not read for a megabyte: it is stuck, so it is as good as gone
            )

    def _retry(self) -> None:
        if self._later is not None and not self._retrying:
            self._retrying = True
            self._later(_RETRY_S, self._again)

    def _again(self) -> None:
        self._retrying = False
        self._flush()
