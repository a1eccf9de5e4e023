"""MCP over streamable HTTP (modelcontextprotocol.io, revisions 2024-11-05 to 2026-07-28).

    POST     messages: all pass but `tools/call`, and `initialize` where no session may begin
    GET      a stream of the server's own messages, or the rest of one that broke off: passes
    DELETE   ends a session: passes under any stop

Under *drain* what is in flight may end, so a client's answers and notices pass, too (an elicitation
is answered, a call is cancelled), and nothing that asks for something new. Where calls are held for
a person the verdict comes later. Each call is written into the book before it is let go. Headers
that repeat what the body says (2026-07-28) must say the same, since a server may go by them.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from offswitch.gateway.api.strict import plain_bytes
from offswitch.gateway.exchange import (
    Asked,
    Call,
    Cause,
    Head,
    Held,
    How,
    Later,
    Malformed,
    Reply,
    Rewritten,
    Shape,
    Verdict,
    Why,
)
from offswitch.gateway.plan.route import Route, Step
from offswitch.gateway.tools.asking import BEGINS, CALL, call_of, requests_of
from offswitch.gateway.tools.book import CallBook, State
from offswitch.gateway.tools.cancel import Cancels
from offswitch.gateway.tools.jsonrpc import Message, Request, parse
from offswitch.gateway.tools.passage import Awaited, Missing, Passage
from offswitch.gateway.tools.verdict import Judged, Ruling, judged
from offswitch.gateway.tools.wording import event_of, reply_of
from offswitch.model.level import Level

__all__ = ["AskedCall", "Leaves", "McpSteward"]

_LONGEST_SESSION = 1024
_PLAIN: Sequence[tuple[bytes, bytes]] = ((b"accept-encoding", b"identity"),)
"""Answers are read, so they come as they are."""


@dataclass(frozen=True, slots=True)
class AskedCall:
    """A call for which a person's leave is asked."""

    target: str
    tool: str
    arguments: Mapping[str, object]
    session: str
    within_s: float = 120.0
    """For how long it waits."""
    people: int = 1
    """How many people's leave it takes."""


class Leaves(Protocol):
    """Asks people. Returns at once; `told` is called once, in the worker's loop, in any case."""

    def ask(self, calls: Sequence[AskedCall], told: Callable[[str], None]) -> Callable[[], None]:
        """Ask for all of `calls`; `told` hears why not, or nothing: they may. Gives what withdraws.

        Silence, and nobody who could ask, is a no.
        """
        ...


@dataclass(slots=True)
class _Read:
    """What a steward keeps of a request between its steps."""

    messages: Sequence[Message] = ()
    batch: bool = False
    awaited: Awaited = field(default_factory=Awaited)
    passage: Passage | None = None


class McpSteward:
    """Knows MCP; of a worker's requests it keeps only what the book needs."""

    def __init__(
        self,
        book: CallBook | None = None,
        leaves: Leaves | None = None,
        cancels: Cancels | None = None,
    ) -> None:
        """Write calls into `book`, ask for leave by `leaves`; without, what is held is denied.

        By `cancels` the server is told what was cut.
        """
        self._book = book
        self._leaves = leaves
        self._cancels = cancels
        self._missing = Missing(book) if book is not None else None

    def passes(self, head: Head, level: Level) -> bool:
        """Let a session be ended under any stop, and at *drain* what is in flight."""
        return head.method == b"DELETE" or (level is Level.DRAIN and head.method == b"POST")

    def read(self, head: Head, body: bytes) -> Asked:
        """Read the messages of a POST; anything else is what its method says."""
        session = _session(head)
        if head.method != b"POST":
            stream = head.method == b"GET"
            if body:
                raise Malformed("messages come by POST")
            return Asked(Shape.MCP, stream=stream, session=session, kept=_Read())
        plain_bytes(head)
        parsed = parse(body)
        read = _Read(parsed.messages, parsed.batch)
        calls = []
        for key, message in requests_of(parsed).items():
            read.awaited.idents[key] = message.ident
            if message.method == CALL:
                calls.append(call_of(message, key))
        _agrees(head, parsed.messages)
        stream = b"text/event-stream" in (head.get(b"accept") or b"").lower()
        return Asked(Shape.MCP, stream=stream, session=session, calls=calls, kept=read)

    def admit(
        self, asked: Asked, head: Head, body: bytes, route: Route, held: Held
    ) -> Verdict | Later:
        """Say how it goes on; what `asked` keeps is made whole here."""
        read = _read_of(asked)
        if held.level is not None and held.level > Level.RESTRICT:
            ends = held.level is Level.DRAIN and head.method == b"POST" and not read.awaited.idents
            if head.method != b"DELETE" and not ends:
                cause = Why(Cause.STOPPED, route.target, held.level.label, ask=route.ask)
                return self._refused(asked, cause, State.REFUSED)
            return self._passed(asked, head, body, route, held)
        begins = any(isinstance(m, Request) and m.method in BEGINS for m in read.messages)
        if begins and Step.SESSIONS in held.steps:
            text = "no new session begins just now"
            return reply_of(_why(route, held, Judged(Ruling.REFUSE, Cause.RESTRICTED, text)),
                            list(read.awaited.idents.values()), batch=read.batch)  # fmt: skip
        ruled = [judged(call.name, route.tools, held) for call in asked.calls]
        refused = next((one for one in ruled if one.ruling is Ruling.REFUSE), None)
        if not self._write_down(asked, route):
            full = "too many calls are open: one that cannot be written down is not begun"
            return self.refusal(asked, Why(Cause.BUSY, route.target, text=full, ask=route.ask))
        if refused is not None:
            return self._refused(asked, _why(route, held, refused), State.REFUSED)
        waits = [c for c, one in zip(asked.calls, ruled, strict=True) if one.ruling is Ruling.HOLD]
        if waits:
            return self._held(asked, head, body, route, held, waits)
        return self._passed(asked, head, body, route, held)

    def refusal(self, asked: Asked | None, why: Why) -> Reply:
        """Word a refusal for every request that is not answered yet."""
        if asked is None:
            return reply_of(why, ())
        read = _read_of(asked)
        return reply_of(why, list(read.awaited.idents.values()), batch=read.batch)

    def ending(self, asked: Asked, why: Why) -> bytes:
        """End a stream of events by an error for each request that is not answered yet.

        Nothing: the stream is in the middle of an event, and cannot be ended well.
        """
        read = _read_of(asked)
        if read.passage is not None and not read.passage.between:
            return b""
        return event_of(why, read.awaited.idents.values())

    # --- inside -------------------------------------------------------------------

    def _passed(self, asked: Asked, head: Head, body: bytes, route: Route, held: Held) -> Verdict:
        read = _read_of(asked)
        allowed = None
        if _narrowed(route, held) and (asked.stream or read.awaited.idents) and (
            not read.messages
            or any(isinstance(m, Request) and m.method == "tools/list" for m in read.messages)
        ):  # fmt: skip

            def allowed(name: str) -> bool:
                return judged(name, route.tools, held).ruling is not Ruling.REFUSE

        read.messages = ()  # what is kept while the answer lasts is small
        cancels = self._cancels
        cut = None if cancels is None else partial(cancels.cut, route.upstream, head)
        read.passage = Passage(read.awaited, self._book, self._missing, asked.session, allowed, cut)
        return Rewritten(body, read.passage, _PLAIN, read.passage)

    def _refused(self, asked: Asked, why: Why, state: State) -> Reply:
        """Refuse the whole request: of a batch none goes on without the others."""
        reply = self.refusal(asked, why)
        rows = _read_of(asked).awaited.rows
        if self._book is not None:
            for row in rows.values():
                self._book.end(row, state)
        rows.clear()
        return reply

    def _held(
        self,
        asked: Asked,
        head: Head,
        body: bytes,
        route: Route,
        held: Held,
        waits: Sequence[Call],
    ) -> Later:
        target = route.target
        withdraw: Callable[[], None] = _nothing

        def told(why_not: str) -> None:
            if why_not:
                why = Why(Cause.NOT_ALLOWED, target, text=why_not, ask=route.ask)
                later.settle(self._refused(asked, why, State.REFUSED))
            else:
                later.settle(self._passed(asked, head, body, route, held))

        def dropped(_how: How) -> None:
            withdraw()
            self._refused(asked, Why(Cause.STOPPED, target), State.UNSENT)

        later = Later(dropped)
        if self._leaves is None:
            told("it takes a person's leave, and nobody can be asked")
            return later
        tools = route.tools
        calls = [
            AskedCall(target, one.name, one.arguments, asked.session, tools.within_s, tools.people)
            for one in waits
        ]
        withdraw = self._leaves.ask(calls, told)
        return later

    def _write_down(self, asked: Asked, route: Route) -> bool:
        """Write its calls into the book; false: there is no room, and none of them is in it."""
        if self._book is None:
            return True
        rows = _read_of(asked).awaited.rows
        for call in asked.calls:
            row = self._book.begin(
                route.target, call.name, call.ident, call.arguments, asked.session
            )
            if row < 0:
                self._refused(asked, Why(Cause.BUSY), State.REFUSED)
                return False
            rows[call.ident] = row
        return True


def _nothing() -> None:
    """Withdraw nothing."""


def _read_of(asked: Asked) -> _Read:
    return asked.kept if isinstance(asked.kept, _Read) else _Read()


def _session(head: Head) -> str:
    said = (head.get(b"mcp-session-id") or b"").decode("latin-1")
    if len(said) > _LONGEST_SESSION:
        raise Malformed("a session's name is too long")
    return said


def _agrees(head: Head, messages: Sequence[Message]) -> None:
    """Raise `Malformed` where headers name another method or tool than the body does."""
    named = [(name, value) for name, value in head.headers if name in {b"mcp-method", b"mcp-name"}]
    if not named:
        return
    first = messages[0]
    if len(messages) != 1 or len({name for name, _ in named}) != len(named):
        raise Malformed("headers that name a method go with one message, and stand there once")
    for name, value in named:
        method = getattr(first, "method", "")
        params = getattr(first, "params", {})
        about = params.get("uri" if method == "resources/read" else "name")
        if _plain(value) != (method if name == b"mcp-method" else about):
            raise Malformed("a header names another method or tool than the body does")


def _plain(value: bytes) -> str | None:
    """Read a header's value, packed as `=?base64?…?=` or not."""
    if value.startswith(b"=?base64?") and value.endswith(b"?="):
        try:
            return base64.b64decode(value[9:-2], validate=True).decode()
        except (binascii.Error, ValueError):
            return None
    return value.decode("latin-1")


def _narrowed(route: Route, held: Held) -> bool:
    return "*" not in route.tools.allow or bool(held.steps & {Step.TOOLS, Step.WRITES})


def _why(route: Route, held: Held, one: Judged) -> Why:
    level = held.level.label if held.level is not None else None
    level = level or (Level.RESTRICT.label if one.cause is Cause.RESTRICTED else None)
    return Why(one.cause, route.target, level, one.text, route.ask)
