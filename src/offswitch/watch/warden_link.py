"""Watch's lines to the warden: one kept open for a stop, one for all else.

A stop goes out on a connection that was opened beforehand and is used for nothing else,
so that no answer, no queue and no connect stands before it; a fresh one is opened right
after. Nothing here waits: sockets do not block. If the warden has not accepted a stop
within 20 ms it also goes to the keeper, after 200 ms a kill goes into the spool, too, as a
file whose name is the scope (SR-11); and it is sent again each second until somebody has
accepted it. The same nonce and time go everywhere, so that it stays one press.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from offswitch.clock import Clock, new_nonce
from offswitch.control.line import Line
from offswitch.control.place import Place
from offswitch.model.decision import Decision
from offswitch.model.level import Level

__all__ = ["Press", "WardenLink"]

_ACCEPT_US = 20_000
_SPOOL_US = 200_000
_AGAIN_US = 1_000_000
_RECONNECT_US = 100_000
_MOST_PENDING = 256

Message = dict[str, Any]


@dataclass(slots=True)
class Press:
    """One stop on its way."""

    decision: Decision
    message: Message
    line: Line | None
    sent_us: int
    accepted: bool = False
    keeper: Line | None = None
    """The line to the keeper, once the warden did not answer in time."""
    spooled: bool = False
    order: str = ""
    answer: Message = field(default_factory=dict)
    """The last word: what was confirmed, or an error."""


class WardenLink:
    """Hands stops over, asks for cells, reports signals."""

    def __init__(self, place: Place, clock: Clock) -> None:
        """Speak with the warden of `place`."""
        self._place = place
        self._clock = clock
        self._spare: Line | None = None
        self._line: Line | None = None
        self._asked: list[Callable[[Message], None]] = []
        self._retry_us = 0
        self.presses: list[Press] = []

    # --- stops --------------------------------------------------------------------

    def stop(self, decision: Decision) -> Press:
        """Send the stop that `decision` orders, now."""
        assert decision.level is not None  # noqa: S101 - a decision to stop has a level
        message: Message = {
            "op": "stop",
            "scopes": [scope.text for scope in (decision.scope, *decision.also)],
            "level": decision.level.label,
            # It may hold what the target wrote, and nothing in it may keep a stop from leaving.
            "reason": decision.why[:2000].encode("utf-8", "backslashreplace").decode(),
            "nonce": new_nonce(),
            "time_us": decision.time_us,
            "channel": "rule",
            "by": decision.by,
            "wait": False,
        }
        press = Press(decision, message, None, self._clock.mono_us())
        self._send(press)
        self.presses.append(press)
        if len(self.presses) > _MOST_PENDING:
            self._drop(self.presses.pop(0))
        return press

    def _send(self, press: Press) -> None:
        line, self._spare = self._spare, None
        if line is None or not line.send(press.message):
            line = Line.to(self._place.warden_socket)
            if line is not None and not line.send(press.message):
                line = None
        press.line = line
        if line is None:
            self._to_keeper(press)

    def _to_keeper(self, press: Press) -> None:
        """The warden does not answer: the keeper may act in its place."""
        press.keeper = Line.to(self._place.keeper_socket)
        if press.keeper is not None:
            press.keeper.send(press.message)

    def _to_spool(self, press: Press) -> None:
        """Neither does the keeper: leave the order where both look. There it is always a kill."""
        press.spooled = True
        level = press.decision.level
        if level is None or level < Level.KILL:
            return
        for scope in (press.decision.scope.text, *(one.text for one in press.decision.also)):
            name = "all" if scope == "/" else quote(scope, safe="=:@+")
            try:
                flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
                os.close(os.open(f"{self._place.spool}/{name}", flags, 0o600))
            except OSError:
                # No spool is left to us either; the press is repeated until somebody takes it.
                return

    def _drop(self, press: Press) -> None:
        for line in (press.line, press.keeper):
            if line is not None:
                line.close()

    def _hear(self, press: Press) -> bool:
        """Take in the answers to a press; true when it is over."""
        for line in (press.line, press.keeper):
            for message in line.receive() if line is not None else ():
                if message.get("accepted"):
                    press.accepted = True
                    press.order = str(message.get("order", ""))
                elif "error" in message or line is press.line:
                    press.answer = message
        final = bool(press.answer) and "error" not in press.answer
        ended = press.accepted and (press.line is None or not press.line.alive)
        return final or ended

    def _chase(self, press: Press, now_us: int) -> None:
        """Help a press on that nobody has accepted yet."""
        waited_us = now_us - press.sent_us
        if press.accepted:
            return
        if press.keeper is None and waited_us > _ACCEPT_US:
            self._to_keeper(press)
        if not press.spooled and waited_us > _SPOOL_US:
            self._to_spool(press)
        if waited_us > _AGAIN_US:
            self._drop(press)
            press.keeper, press.answer, press.sent_us = None, {}, now_us
            self._send(press)

    # --- all else -----------------------------------------------------------------

    def ask(self, message: Message, then: Callable[[Message], None]) -> bool:
        """Ask something; `then` hears the answer. False if there is no line just now."""
        if self._line is None or not self._line.alive or len(self._asked) > _MOST_PENDING:
            return False
        if not self._line.send(message):
            return False
        self._asked.append(then)
        return True

    @property
    def connected(self) -> bool:
        """Whether the warden can be asked."""
        return self._line is not None and self._line.alive

    def homeless(self) -> bool:
        """Tell whether the run folder that we hold was removed: no warden ever comes there."""
        try:
            return os.stat(self._place.run).st_nlink == 0
        except OSError:
            return False

    def pump(self) -> list[Press]:
        """Connect, write, read; gives the presses that are over."""
        now_us = self._clock.mono_us()
        over = []
        for press in list(self.presses):
            if self._hear(press):
                self.presses.remove(press)
                self._drop(press)
                over.append(press)
            else:
                self._chase(press, now_us)
        if self._line is not None:
            self._line.flush()
            for message in self._line.receive():
                if self._asked:
                    self._answer(self._asked.pop(0), message)
        self._connect(now_us)
        return over

    def _answer(self, then: Callable[[Message], None], message: Message) -> None:
        try:
            then(message)
        except Exception:
            # Answers that are left would be taken for those to other questions.
            if self._line is not None:
                self._line.close()
            raise

    def _connect(self, now_us: int) -> None:
        """Keep both lines open; what was asked on a dead one is not answered any more."""
        if self._spare is not None:
            self._spare.receive()
        dead = self._line is None or not self._line.alive
        bare = self._spare is None or not self._spare.alive
        if not (dead or bare) or now_us < self._retry_us:
            return
        if bare:
            self._spare = Line.to(self._place.warden_socket)
        if dead:
            self._asked.clear()
            self._line = Line.to(self._place.warden_socket)
        if self._line is None or self._spare is None:
            self._retry_us = now_us + _RECONNECT_US

    def waits(self) -> Sequence[tuple[int, bool]]:
        """Give the descriptors to wait for, and whether also to write."""
        lines = [self._line, self._spare]
        for press in self.presses:
            lines += [press.line, press.keeper]
        return [
            (line.sock.fileno(), line.writing)
            for line in lines
            if line is not None and line.sock is not None
        ]

    def chasing(self) -> bool:
        """Whether a press waits to be accepted, so that the loop must come back soon."""
        return any(not press.accepted for press in self.presses)

    def close(self) -> None:
        """Hang up."""
        for press in self.presses:
            self._drop(press)
        for line in (self._line, self._spare):
            if line is not None:
                line.close()
