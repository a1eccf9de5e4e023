"""The observer's voice: has a gateway's own listener asked whether it would still serve a target.

    observer ─ {"id", "at", "target"} ─► prober ─ GET /.offswitch/probe ─► the listener
             ◄─ {"id", "status", "why"} ─┘          x-offswitch-target: NAME

The observer can make no socket to anybody, and the stop path speaks no HTTP. Another process can,
and does nothing else (`offswitch.gateway.prober`); this is the link to it, which the warden made.
What comes back is a number: 503 is what a latched target's probe is answered; and where nobody
listens any more, nobody is served. A prober that answers nothing any more is told of to the
warden, which ends it and starts another: until then nothing that it was asked is seen.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable

from offswitch.control import frames
from offswitch.errors import OffswitchError

__all__ = ["LATCHED", "NOBODY", "Answer", "Ask", "Prober"]

LATCHED = 503
NOBODY = 1
"""Instead of a status: nobody listens there."""
_SILENT_S, _BEGINS_S = 3.0, 10.0
"""How long it may answer nothing that it was asked; longer while it comes up."""


class Answer:
    """What became of one question; filled in when it is known."""

    __slots__ = ("status", "why")

    def __init__(self) -> None:
        """Nothing is known yet."""
        self.status: int | None = None
        """Of HTTP; `NOBODY`; 0: no answer; None: it is under way."""
        self.why = ""


class Prober:
    """The observer's end. Never waits."""

    def __init__(
        self, link: socket.socket, number: int = 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Ask over `link`; `number` is what the warden calls it."""
        self.number = number
        self._clock = clock
        self._silent_since = 0.0
        """Since when something is asked and nothing was answered."""
        self._patience_s = _BEGINS_S
        link.setblocking(False)
        self._link = link
        self._decoder = frames.Decoder()
        self._open: dict[int, Answer] = {}
        self._count = int.from_bytes(os.urandom(3)) << 7  # what is answered to another is not ours

    def fileno(self) -> int:
        """Readable when `hear` has something to do."""
        return self._link.fileno()

    def ask(self, at: str, target: str) -> Answer:
        """Ask the listener `at` about `target`; the answer fills in by itself."""
        answer = Answer()
        self._count += 1
        data = frames.encode({"id": self._count, "at": at, "target": target})
        try:
            sent = self._link.send(data, socket.MSG_NOSIGNAL)
        except OSError as error:
            answer.status, answer.why = 0, f"nobody can ask: {error.strerror}"
            return answer
        if sent < len(data):
            self._link.shutdown(socket.SHUT_RDWR)  # half a question spoils all that follow
        if not self._open:
            self._silent_since = self._clock()
        self._open[self._count] = answer
        return answer

    @property
    def stuck(self) -> bool:
        """Whether it has answered nothing for so long that it never will."""
        return bool(self._open) and self._clock() - self._silent_since > self._patience_s

    def hear(self) -> bool:
        """Take in what has come; false when it has gone."""
        try:
            data = self._link.recv(1 << 16)
        except BlockingIOError:
            return True
        except OSError:
            data = b""
        try:
            messages = self._decoder.feed(data) if data else []
        except OffswitchError:
            return False
        if messages:
            self._silent_since, self._patience_s = self._clock(), _SILENT_S
        for message in messages:
            answer = self._open.pop(int(message["id"]), None)
            if answer is not None:
                answer.why = str(message["why"])
                answer.status = int(message["status"])
        return bool(data)

    def close(self) -> None:
        """Let it go; what it was asked has no answer."""
        self._link.close()
        for answer in self._open.values():
            answer.status, answer.why = 0, "whoever asked has gone"
        self._open.clear()


Ask = Callable[[str, str], Answer]
"""Asks a listener about a target."""
