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

import socket
import time
from collections.abc import Callable

from offswitch.warden.observer.questions import Questions

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
        self._asked: Questions[Answer] = Questions(link)

    def fileno(self) -> int:
        """Readable when `hear` has something to do."""
        return self._asked.fileno()

    def ask(self, at: str, target: str) -> Answer:
        """Ask the listener `at` about `target`; the answer fills in by itself."""
        answer = Answer()
        idle = not self._asked.pending
        why = self._asked.put({"at": at, "target": target}, answer)
        if why:
            answer.status, answer.why = 0, f"nobody can ask: {why}"
        elif idle:
            self._silent_since = self._clock()
        return answer

    @property
    def stuck(self) -> bool:
        """Whether it has answered nothing for so long that it never will."""
        return self._asked.pending and self._clock() - self._silent_since > self._patience_s

    def hear(self) -> bool:
        """Take in what has come; false when it has gone."""
        found = self._asked.hear()
        if found:
            self._silent_since, self._patience_s = self._clock(), _SILENT_S
        for answer, message in found or ():
            answer.why = str(message.get("why"))
            status = message.get("status")
            answer.status = status if isinstance(status, int) else 0
        return found is not None

    def close(self) -> None:
        """Let it go; what it was asked has no answer."""
        for answer in self._asked.close():
            answer.status, answer.why = 0, "whoever asked has gone"


Ask = Callable[[str, str], Answer]
"""Asks a listener about a target."""
