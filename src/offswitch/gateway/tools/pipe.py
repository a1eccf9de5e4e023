"""MCP over a child's pipes: lines pass both ways, and calls of tools are judged in between.

    client ─ stdin ─► judge ─► the server's stdin
           ◄ stdout ─ book ◄── the server's stdout        (its stderr is the wrapper's own)

The wrapper runs in a cell, as a target, with the tool server as its child: a stop kills both by the
kernel, whatever this program does. What it does besides: from the moment of the stop no call is
passed on, and each is refused in JSON-RPC's own words; a tool that was not declared is refused
always. Each line is one message (MCP, stdio transport); what is none, or might be read in two ways,
is not passed on to the server. Which way it fails: without a page, with a stale one, or where a
line is too long, nothing passes and the server is ended.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from offswitch.clock import Clock, SystemClock
from offswitch.gateway.exchange import Call, Cause, Malformed, Why
from offswitch.gateway.plan.match import stands_for
from offswitch.gateway.tools.answers import narrowed, state_of
from offswitch.gateway.tools.asking import BEGINS, CALL, call_of, requests_of
from offswitch.gateway.tools.book import CallBook, State
from offswitch.gateway.tools.jsonrpc import Answer, Ident, Parsed, Request, key_of, parse
from offswitch.gateway.tools.wording import reply_of
from offswitch.guard import Guard, Stopped

__all__ = ["Pipe", "Plan"]

_CHUNK = 1 << 16
_LONGEST = 32 << 20
"""Bytes of one message."""
_MOST_WAITING = 64 << 20
_LOOK_S = 0.1
"""How often the word is looked at while nothing moves."""
_GRACE_US = 5_000_000
"""For a server to end by itself when its client has."""
_REFUSED = 125
_SIGNALLED = 128


@dataclass(frozen=True, slots=True)
class Plan:
    """What is declared of one server."""

    command: Sequence[str]
    target: str = ""
    allow: Sequence[str] = ("*",)
    """Tools that may be called; `*` at the end stands for anything."""


@dataclass(slots=True)
class _Way:
    """One direction: what has come in, and what waits to go out."""

    source: int
    drain: int
    coming: bytearray = field(default_factory=bytearray)
    going: bytearray = field(default_factory=bytearray)
    ended: bool = False
    """Whether nothing more comes."""
    shut: bool = False
    """Whether its drain is closed."""


class Pipe:
    """One server, wrapped."""

    def __init__(
        self, plan: Plan, guard: Guard, book: CallBook | None = None, clock: Clock | None = None
    ) -> None:
        """Judge by `guard` what goes to the server of `plan`; write calls into `book`."""
        self._plan = plan
        self._guard = guard
        self._book = book
        self._clock = clock or SystemClock()
        self._idents: dict[str, Ident] = {}
        """Requests of the client that are not answered."""
        self._rows: dict[str, int] = {}
        self._calls: dict[str, str] = {}
        """Of those, the calls: which tool."""
        self._up = _Way(0, -1)
        self._down = _Way(-1, 1)
        self._stopped: Stopped | None = None

    # --- the loop -----------------------------------------------------------------

    def run(self, complain: Callable[[str], None]) -> int:
        """Pass messages until either side ends; give the exit code."""
        try:
            self._guard.check()
            child = self._start()
        except Stopped as stop:
            complain(f"not started: {stop.reason}")
            return _REFUSED
        except OSError as error:
            complain(f"{self._plan.command[0]}: {error.strerror}")
            return _REFUSED
        for fd in (0, 1, self._up.drain, self._down.source):
            os.set_blocking(fd, False)
        try:
            problem = self._pass_on(child)
        finally:
            _end(child)
        self._close_calls(complain)
        if problem:
            complain(problem)
            return _REFUSED
        code = child.returncode or 0
        return code if code >= 0 else _SIGNALLED - code

    def _start(self) -> subprocess.Popen[bytes]:
        child = subprocess.Popen(
            self._plan.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert child.stdin is not None  # noqa: S101 - pipes, as asked for
        assert child.stdout is not None  # noqa: S101 - likewise
        self._up.drain = child.stdin.fileno()
        self._down.source = child.stdout.fileno()
        return child

    def _pass_on(self, child: subprocess.Popen[bytes]) -> str:
        """Pass on until it is over; gives what went wrong."""
        due_us = 0
        try:
            while True:
                if self._is_over():
                    return self._last_words()
                self._wait()
                self._move(self._up, self._to_server)
                self._move(self._down, self._to_client)
                self._shut(child)
                if child.poll() is not None and self._down.ended and not self._down.going:
                    return ""
                if self._up.shut:
                    due_us = due_us or self._clock.mono_us() + _GRACE_US
                    if self._clock.mono_us() > due_us:
                        return ""
        except BrokenPipeError:
            return ""
        except Malformed as error:
            return str(error)

    def _wait(self) -> None:
        with selectors.DefaultSelector() as selector:
            for way in (self._up, self._down):
                if not way.ended and len(way.going) < _MOST_WAITING:
                    selector.register(way.source, selectors.EVENT_READ)
                if way.going and not way.shut:
                    selector.register(way.drain, selectors.EVENT_WRITE)
            selector.select(_LOOK_S)

    def _move(self, way: _Way, judge: Callable[[bytes], None]) -> None:
        """Read what has come, judge whole lines, write what may go."""
        if not way.ended and len(way.going) < _MOST_WAITING:
            with suppress(BlockingIOError):
                data = os.read(way.source, _CHUNK)
                way.ended = not data
                way.coming += data
            while (end := way.coming.find(b"\n")) >= 0:
                line = bytes(way.coming[: end + 1])
                del way.coming[: end + 1]
                judge(line)
            if len(way.coming) > _LONGEST:
                raise Malformed("a message is too long: the server is ended")
        if way.going and not way.shut:
            with suppress(BlockingIOError):
                del way.going[: os.write(way.drain, way.going)]

    def _shut(self, child: subprocess.Popen[bytes]) -> None:
        """Tell the server that its client has gone."""
        up = self._up
        if up.ended and not up.going and not up.shut and child.stdin is not None:
            up.shut = True
            child.stdin.close()

    # --- judging ------------------------------------------------------------------

    def _to_server(self, line: bytes) -> None:
        if not line.strip():
            return
        try:
            parsed = _read(line)
            asks = requests_of(parsed, self._idents)
            calls = {key: call_of(one, key) for key, one in asks.items() if one.method == CALL}
            why = self._judged(asks, calls)
        except Malformed as error:
            self._answer(Why(Cause.MALFORMED, self._plan.target, text=str(error)), (), batch=False)
            return
        if why is None and not self._write_down(calls):
            why = Why(Cause.BUSY, self._plan.target, text="too many calls are open")
        if why is not None:
            self._answer(why, [one.ident for one in asks.values()], batch=parsed.batch)
            return
        self._idents.update((key, one.ident) for key, one in asks.items())
        self._up.going += line

    def _judged(self, asks: Mapping[str, Request], calls: Mapping[str, Call]) -> Why | None:
        """Say why these messages may not go on; None: they may."""
        target = self._plan.target
        for key, message in asks.items():
            call = calls.get(key)
            try:
                if call is not None:
                    if not self._allowed(call.name):
                        text = "this tool is not declared for this target"
                        return Why(Cause.NOT_ALLOWED, target, text=text)
                    self._guard.step("tool", call.name, dict(call.arguments)).begin()
                elif message.method in BEGINS:
                    self._guard.step("session", "mcp").begin()
                elif not self._guard.allowed():
                    self._guard.check()
            except Stopped as stop:
                restricted = stop.level == "restrict"
                if restricted and call is None and message.method not in BEGINS:
                    continue
                cause = Cause.RESTRICTED if restricted else Cause.STOPPED
                return Why(cause, target, stop.level, stop.reason)
        return None

    def _write_down(self, calls: Mapping[str, Call]) -> bool:
        """Write down that these calls go on; false: there is no room, and none of them does."""
        rows: dict[str, int] = {}
        book = self._book
        if book is not None:
            for key, call in calls.items():
                row = book.begin(self._plan.target, call.name, key, call.arguments, "")
                if row < 0:
                    for begun in rows.values():
                        book.end(begun, State.REFUSED)
                    return False
                rows[key] = row
            for row in rows.values():
                book.sent(row)
        self._rows.update(rows)
        self._calls.update((key, call.name) for key, call in calls.items())
        return True

    def _to_client(self, line: bytes) -> None:
        try:
            parsed = parse(line)
        except Malformed:
            if self._allows_all:
                self._down.going += line  # not ours to judge, and no list to be narrowed
            return
        for message in parsed.messages:
            if isinstance(message, Answer) and message.ident is not None:
                key = key_of(message.ident)
                self._idents.pop(key, None)
                self._calls.pop(key, None)
                row = self._rows.pop(key, None)
                if row is not None and self._book is not None:
                    self._book.end(row, state_of(message))
        changed = None if self._allows_all else narrowed(line, parsed, self._allowed)
        self._down.going += line if changed is None else changed + b"\n"

    @property
    def _allows_all(self) -> bool:
        return "*" in self._plan.allow

    def _allowed(self, name: str) -> bool:
        return any(stands_for(pattern, name) for pattern in self._plan.allow)

    def _answer(self, why: Why, idents: Sequence[Ident], *, batch: bool) -> None:
        self._down.going += reply_of(why, idents, batch=batch).body + b"\n"

    # --- the end ------------------------------------------------------------------

    def _is_over(self) -> bool:
        """Tell whether the server may not go on: killed, frozen, or nobody vouches for it."""
        if self._guard.allowed():
            return False
        try:
            self._guard.check()
        except Stopped as stop:
            if stop.level in {"restrict", "drain"}:
                return False
            self._stopped = stop
        return self._stopped is not None

    def _last_words(self) -> str:
        """Answer what is open, as far as the client takes it now; gives why it ends."""
        stop = self._stopped
        reason = stop.reason if stop is not None else "stopped"
        why = Why(Cause.STOPPED, self._plan.target, stop.level if stop else None, reason)
        for ident in self._idents.values():
            self._answer(why, [ident], batch=False)
        with suppress(OSError):
            while self._down.going:
                del self._down.going[: os.write(1, self._down.going)]
        return reason

    def _close_calls(self, complain: Callable[[str], None]) -> None:
        """Say which calls are unknown."""
        for row in self._rows.values():
            if self._book is not None:
                self._book.end(row, State.UNKNOWN)
        if self._calls:
            cut = ", ".join(sorted(self._calls.values())[:20])
            complain(
                f"{len(self._calls)} tool calls had no answer, so they may have happened: {cut}"
            )


def _read(line: bytes) -> Parsed:
    if b"\r" in line.rstrip():
        # It ends a line, too, where Python reads it: that would be another message than ours.
        raise Malformed("a line's end stands within a message")
    return parse(line)


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the server and whatever it started in its session."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
