"""One answer of a tool server as it passes, and the calls that it answers.

    answer's bytes ─► whole events, or a whole body ─┬─► the client, unchanged
                                                     ├─► an answer to a call: the book says so
                                                     └─► a list of tools: only what may be called

An answer may be JSON, or a stream of events that carries progress, the server's own requests, and
at last the answer. It is passed on in whole events, so that a stop ends it between two. What cannot
be read is passed on as it is where it is an answer to a call (the book says *unknown*), and is not
passed where it might be a list of tools. Answers to calls whose stream broke off may come on
another stream of the same session: those are looked for, too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from offswitch.gateway.exchange import Headers, How, Malformed, Reply
from offswitch.gateway.tools.answers import Allowed, narrowed, state_of
from offswitch.gateway.tools.book import CallBook, State
from offswitch.gateway.tools.events import Cutter
from offswitch.gateway.tools.jsonrpc import Answer, Ident, key_of, parse

__all__ = ["Awaited", "Missing", "Passage"]

_LONGEST_EVENT = 1 << 20
_LONGEST_LIST = 8 << 20
_LONGEST_BODY = 1 << 20
_HEAD, _TAIL = 1024, 1024
_MOST_MISSING = 1000
_TAKEN, _ERRORS, _BROKEN = 202, 400, 500


@dataclass(slots=True)
class Awaited:
    """What the answers to one request over HTTP still owe."""

    idents: dict[str, Ident] = field(default_factory=dict)
    """Requests that are not answered, by their keys."""
    rows: dict[str, int] = field(default_factory=dict)
    """Of those, the calls: their rows in the book."""


class Missing:
    """Calls whose stream broke off: their answers may come on another one."""

    __slots__ = ("_book", "_rows")

    def __init__(self, book: CallBook) -> None:
        """Amend `book`."""
        self._book = book
        self._rows: dict[tuple[str, str], tuple[int, int]] = {}

    def put(self, session: str, key: str, row: int) -> None:
        """Remember a call; the oldest is forgotten, and stays unknown."""
        while len(self._rows) >= _MOST_MISSING:
            self._rows.pop(next(iter(self._rows)))
        self._rows[session, key] = (row, self._book.number(row))

    def found(self, session: str, key: str, state: State) -> None:
        """Take in its answer."""
        where = self._rows.pop((session, key), None)
        if where is not None:
            self._book.amend(*where, state)


class Passage:
    """Filter and follower of one request."""

    def __init__(
        self,
        awaited: Awaited,
        book: CallBook | None,
        missing: Missing | None,
        session: str,
        allowed: Allowed | None,
        cut: Callable[[Sequence[Ident]], None] | None = None,
    ) -> None:
        """Follow what is `awaited`; `allowed` says which tools are listed, None: all.

        `cut` hears of the requests that a stop has cut.
        """
        self._awaited = awaited
        self._book = book
        self._missing = missing
        self._session = session
        self._allowed = allowed
        self._cut = cut
        self._status = 200
        self._readable = True
        self._cutter: Cutter | None = None
        self._body = bytearray()
        self._through = False
        self._sent = False
        self._over = False

    # --- the filter ---------------------------------------------------------------

    def head(self, status: int, headers: Headers) -> None:
        """Hear how the answer comes: as JSON or as events."""
        self._status = status
        named = {name.lower(): value.lower() for name, value in headers}
        self._readable = named.get(b"content-encoding", b"identity").strip() == b"identity"
        if named.get(b"content-type", b"").startswith(b"text/event-stream"):
            longest = _LONGEST_LIST if self._filters else _LONGEST_EVENT
            self._cutter = Cutter(longest)
        # What is neither filtered nor read goes straight through.
        self._through = not self._readable and not self._filters

    def feed(self, data: bytes) -> bytes:
        """Give what passes now."""
        if self._through:
            return data
        if self._cutter is not None:
            if not self._readable:
                return b""
            return b"".join(self._event(one.raw, one.data, part=one.part, whole=one.whole)
                            for one in self._cutter.feed(data))  # fmt: skip
        self._body += data
        if self._filters or len(self._body) <= _LONGEST_BODY:
            if len(self._body) > _LONGEST_LIST:
                self._body = self._body[: _LONGEST_LIST + 1]
            return b""
        # Too long to be read: of one call it is the answer, all the same.
        given = bytes(self._body)
        self._body.clear()
        self._through = True
        self._close_only(State.DONE if self._status < _ERRORS else State.FAILED)
        return given

    def end(self) -> bytes:
        """Give what is left."""
        if self._through:
            return b""
        if self._cutter is not None:
            rest = self._cutter.rest()
            return b"" if self._filters else rest
        body = bytes(self._body)
        self._body.clear()
        return self._whole_body(body)

    def reply(self) -> Reply | None:
        """Nothing is made at the end alone."""
        return None

    @property
    def between(self) -> bool:
        """Whether a stream of events may be ended here by an event of ours."""
        return self._cutter is None or self._cutter.between

    # --- the follower -------------------------------------------------------------

    def sent(self) -> None:
        """It leaves now: from here on its calls may happen."""
        self._sent = True
        if self._book is not None:
            for row in self._awaited.rows.values():
                self._book.sent(row)

    def ended(self, how: How) -> None:
        """It is over: what was not answered is unknown, or never left."""
        if self._over:
            return
        self._over = True
        if self._sent and how is How.STOPPED and self._cut is not None and self._awaited.idents:
            self._cut(list(self._awaited.idents.values()))
        if self._book is None:
            return
        for key, row in self._awaited.rows.items():
            if not self._sent:
                self._book.end(row, State.UNSENT)
                continue
            state = self._unanswered(how)
            self._book.end(row, state)
            if state is not State.FAILED and self._missing is not None and self._session:
                self._missing.put(self._session, key, row)
        self._awaited.rows.clear()

    def _unanswered(self, how: How) -> State:
        """Say how a call stands to which no answer has come."""
        if how is How.COMPLETE and _ERRORS <= self._status < _BROKEN:
            return State.FAILED
        # An older server takes a call (202), and answers on a stream that is open beside it.
        return State.ACCEPTED if how is How.COMPLETE and self._status == _TAKEN else State.UNKNOWN

    # --- answers ------------------------------------------------------------------

    @property
    def _filters(self) -> bool:
        return self._allowed is not None

    def _event(self, raw: bytes, data: bytes | None, *, part: bool, whole: bool) -> bytes:
        if part:
            if self._filters:
                return b""  # it may be a list: nothing of it passes
            if whole and not (b'"method"' in raw[:_HEAD] or b'"method"' in raw[-_TAIL:]):
                self._close_only(State.DONE)
            return raw
        if not data:
            return raw
        changed = self._read(data)
        if changed is None:
            return raw
        lines = [line for line in raw.splitlines() if line and not line.startswith(b"data")]
        return b"".join(line + b"\n" for line in lines) + b"data: " + changed + b"\n\n"

    def _whole_body(self, body: bytes) -> bytes:
        if self._filters and (not self._readable or len(body) > _LONGEST_LIST):
            return self._instead()
        if not body.strip():
            return body
        changed = self._read(body)
        return body if changed is None else changed

    def _read(self, data: bytes) -> bytes | None:
        """Read a message or a batch; give what takes its place, None: nothing does."""
        try:
            parsed = parse(data)
        except Malformed:
            return self._instead() if self._filters and self._status < _ERRORS else None
        for message in parsed.messages:
            if isinstance(message, Answer):
                self._answered(message)
        return None if self._allowed is None else narrowed(data, parsed, self._allowed)

    def _answered(self, answer: Answer) -> None:
        if answer.ident is None:
            return
        key = key_of(answer.ident)
        state = state_of(answer)
        self._awaited.idents.pop(key, None)
        row = self._awaited.rows.pop(key, None)
        if row is not None and self._book is not None:
            self._book.end(row, state)
        elif row is None and self._missing is not None and self._session:
            self._missing.found(self._session, key, state)

    def _close_only(self, state: State) -> None:
        """Take an answer that is too long to be read as the one that is awaited."""
        if len(self._awaited.idents) == 1 and self._book is not None:
            for row in self._awaited.rows.values():
                self._book.end(row, state)
            self._awaited.rows.clear()
            self._awaited.idents.clear()

    def _instead(self) -> bytes:
        """Give an error in the place of what might be a list and cannot be read."""
        text = "Offswitch: the server's answer cannot be read, and might list what is not allowed"
        error = {"code": -32053, "message": text, "data": {"by": "offswitch", "retry": False}}
        said = [
            {"jsonrpc": "2.0", "id": ident, "error": error}
            for ident in self._awaited.idents.values()
        ]
        self._awaited.idents.clear()
        return json.dumps(said[0] if len(said) == 1 else said).encode()
