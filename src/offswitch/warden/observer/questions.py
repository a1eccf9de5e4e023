"""Questions over a link to a process that looks or asks for the observer. Nothing here waits.

Each bears a number, by which its answer is known; numbers begin anywhere, so that what is answered
to another's question is none of ours. Half a question would spoil all that follow: then the link is
shut. Whoever has gone, or says nonsense, answers nothing any more.
"""

from __future__ import annotations

import os
import socket
from typing import Any, Generic, TypeVar

from offswitch.control import frames
from offswitch.errors import OffswitchError

__all__ = ["Questions"]

_T = TypeVar("_T")


class Questions(Generic[_T]):
    """One link, and what was asked over it and is not answered."""

    def __init__(self, link: socket.socket) -> None:
        """Ask over `link`."""
        link.setblocking(False)
        self._link = link
        self._decoder = frames.Decoder()
        self._open: dict[int, _T] = {}
        self._count = int.from_bytes(os.urandom(3)) << 7

    def fileno(self) -> int:
        """Readable when `hear` has something to do."""
        return self._link.fileno()

    @property
    def pending(self) -> bool:
        """Whether something was asked and is not answered."""
        return bool(self._open)

    def put(self, message: dict[str, Any], question: _T) -> str:
        """Ask; `question` is given with the answer. Say why it could not be asked, or nothing."""
        self._count += 1
        data = frames.encode({**message, "id": self._count})
        try:
            sent = self._link.send(data, socket.MSG_NOSIGNAL)
        except OSError as error:
            return error.strerror or "it has gone"
        if sent < len(data):
            self._link.shutdown(socket.SHUT_RDWR)
        self._open[self._count] = question
        return ""

    def hear(self) -> list[tuple[_T, dict[str, Any]]] | None:
        """Give what was answered; None: it has gone, or says nonsense."""
        try:
            data = self._link.recv(1 << 16)
        except BlockingIOError:
            return []
        except OSError:
            return None
        try:
            messages = self._decoder.feed(data) if data else []
        except OffswitchError:
            return None
        if not data or not all(type(each.get("id")) is int for each in messages):
            return None
        known = [each for each in messages if each["id"] in self._open]
        return [(self._open.pop(each["id"]), each) for each in known]

    def close(self) -> list[_T]:
        """Hang up; give what has no answer now."""
        self._link.close()
        left, self._open = list(self._open.values()), {}
        return left
