"""Asking people for leave, from a worker's loop: over watch's desk, and never waiting for it.

    ask ─► `ask-leave` ─► its name ─► `leaves`, four times a second ─┬─ granted: it may, once
                                                                     └─ denied, or its time is over

The desk holds what is asked, shows it to people and takes their answers; a worker only hears what
has become of it. A granted leave is used up by being told, so it lets nothing go twice. Where there
is no desk it is looked for until the time is over; then, as everywhere, silence is no.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from offswitch.control.line import Line
from offswitch.gateway.tools.steward import AskedCall

__all__ = ["DeskLeaves"]

_EVERY_S = 0.25
_PATIENCE_S = 5.0
_MOST = 100
_LONGEST_ARGUMENTS = 1900
_SILENCE = "nobody gave leave in time: silence is no"

Message = dict[str, Any]


class _Waiting:
    """Calls of one request, for all of which leave is asked."""

    __slots__ = ("calls", "digests", "due_s", "granted", "told")

    def __init__(self, calls: list[AskedCall], due_s: float, told: Callable[[str], None]) -> None:
        self.calls = calls
        """Those that the desk has not been asked for yet."""
        self.digests: set[str] = set()
        self.granted: set[str] = set()
        self.due_s = due_s
        self.told = told


class DeskLeaves:
    """Asks at the desk of watch."""

    def __init__(self, path: str) -> None:
        """Ask whoever listens at `path`, from the loop that runs."""
        self._path = path
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: list[_Waiting] = []
        self._line: Line | None = None
        self._heard: deque[Callable[[Message], None]] = deque()
        """What hears the answers that are still to come, in their order."""
        self._heard_s = 0.0
        self._running = False
        self._dropped: list[str] = []

    def ask(self, calls: Sequence[AskedCall], told: Callable[[str], None]) -> Callable[[], None]:
        """Ask for all of `calls`; gives what withdraws it."""
        if len(self._waiting) >= _MOST:
            told("too many calls wait for leave already")
            return _nothing
        loop = self._loop = self._loop or asyncio.get_running_loop()
        one = _Waiting(list(calls), loop.time() + min(c.within_s for c in calls), told)
        self._waiting.append(one)
        if not self._running:
            self._running = True
            loop.call_soon(self._turn, loop)
        return lambda: self._forget(one)

    def close(self) -> None:
        """Ask no more; who still waits hears a no."""
        for one in list(self._waiting):
            self._answer(one, "the gateway ends")
        self._hang_up()

    # --- one turn -----------------------------------------------------------------

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        now_s = loop.time()
        for one in list(self._waiting):
            if now_s >= one.due_s:
                self._answer(one, _SILENCE)
        self._listen(now_s)
        if not self._heard and (self._waiting or self._dropped):
            self._speak(now_s)
        if self._waiting or self._dropped:
            loop.call_later(_EVERY_S, self._turn, loop)
        else:
            self._running = False
            self._hang_up()

    def _listen(self, now_s: float) -> None:
        line = self._line
        if line is None:
            return
        line.flush()
        for answer in line.receive():
            self._heard_s = now_s
            if self._heard:
                self._heard.popleft()(answer)
        if not line.alive or (self._heard and now_s - self._heard_s > _PATIENCE_S):
            self._hang_up()

    def _speak(self, now_s: float) -> None:
        if self._line is None:
            self._line = Line.to(self._path)
            if self._line is None:
                if not self._waiting:
                    self._dropped.clear()
                return
        self._heard_s = now_s
        for digest in self._dropped:
            self._say({"op": "withdraw", "decision": digest}, _hear_nothing)
        self._dropped.clear()
        for one in self._waiting:
            for call in one.calls:
                within_us = max(int((one.due_s - now_s) * 1e6), 1)
                self._say(_question(call, within_us), _Named(self, one, call))
        names = [digest for one in self._waiting for digest in one.digests - one.granted]
        if names:
            self._say({"op": "leaves", "decisions": names}, self._hear_states)

    def _say(self, message: Message, hear: Callable[[Message], None]) -> None:
        if self._line is not None and self._line.send(message):
            self._heard.append(hear)

    def _hear_states(self, answer: Message) -> None:
        states = answer.get("leaves")
        if not isinstance(states, dict):
            return
        for one in list(self._waiting):
            for digest in sorted(one.digests - one.granted):
                match states.get(digest):
                    case "granted":
                        one.granted.add(digest)
                    case "denied":
                        self._answer(one, "a person, or silence, denied it")
                        break
                    case _:
                        pass
            else:
                if not one.calls and one.granted == one.digests:
                    self._answer(one, "")

    def named(self, one: _Waiting, call: AskedCall, answer: Message) -> None:
        """Hear the name of a request that was opened, or why it was not."""
        digest, error = answer.get("decision"), answer.get("error")
        if isinstance(error, dict):
            self._answer(one, f"nobody can be asked: {str(error.get('message'))[:200]}")
        elif isinstance(digest, str) and one in self._waiting:
            one.calls.remove(call)
            one.digests.add(digest)
        elif isinstance(digest, str):
            self._dropped.append(digest)

    # --- the end ------------------------------------------------------------------

    def _answer(self, one: _Waiting, why_not: str) -> None:
        if one in self._waiting:
            self._waiting.remove(one)
            if why_not:
                self._dropped.extend(one.digests)
            one.told(why_not)

    def _forget(self, one: _Waiting) -> None:
        if one in self._waiting:
            self._waiting.remove(one)
            self._dropped.extend(one.digests)

    def _hang_up(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None
        self._heard.clear()


class _Named:
    """Hears the name of one request."""

    __slots__ = ("_call", "_leaves", "_one")

    def __init__(self, leaves: DeskLeaves, one: _Waiting, call: AskedCall) -> None:
        self._leaves = leaves
        self._one = one
        self._call = call

    def __call__(self, answer: Message) -> None:
        self._leaves.named(self._one, self._call, answer)


def _question(call: AskedCall, within_us: int) -> Message:
    arguments = json.dumps(call.arguments, ensure_ascii=False, default=str)
    if len(arguments) > _LONGEST_ARGUMENTS:
        digest = hashlib.sha256(arguments.encode("utf-8", "replace")).hexdigest()[:16]
        arguments = f"{arguments[:_LONGEST_ARGUMENTS]}… ({len(arguments)} characters, {digest})"
    return {
        "op": "ask-leave",
        "target": call.target,
        "tool": call.tool,
        "arguments": arguments.encode("utf-8", "replace").decode(),
        "within_us": within_us,
        "people": call.people,
    }


def _nothing() -> None:
    """Withdraw nothing."""


def _hear_nothing(_answer: Message) -> None:
    """Take an answer that says nothing new."""
