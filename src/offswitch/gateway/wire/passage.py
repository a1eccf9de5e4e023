"""One answer on its way to its client: head, then body, each written the way the client can read.

    as it came      bytes unchanged, unwrapped in parallel for those who look (`Tap`)
    events          whole ones only, in the chunks in which they came or in ours
    filtered        what a `Filter` makes of the body, in chunks of ours
    one reply       where the filter makes the whole answer at the end

What one read brings goes out as one piece, head and body together. While a stream of events comes
chunk by chunk, each ending an event, it passes in `UpstreamConnection.data_received` and is not
seen here at all.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Protocol

from offswitch.gateway.exchange import Filter, Reply, Tap
from offswitch.gateway.wire.answer import MOST_HEAD, Answer, read_answer
from offswitch.gateway.wire.bodies import Body, Chunked, Counted
from offswitch.gateway.wire.events import Events
from offswitch.gateway.wire.rules import Refusal
from offswitch.gateway.wire.strict import Begun
from offswitch.gateway.wire.upstream import UpstreamConnection

__all__ = ["Course", "Passage", "chunk"]

_MOST_INTERIM = 16


def chunk(data: bytes) -> bytes:
    """Put bytes in a chunk; with none it is the last one."""
    return b"%x\r\n%b\r\n" % (len(data), data)


_LAST = chunk(b"")


class Course(Protocol):
    """Whose answer it is."""

    def answering(self, _answer: Answer) -> None:
        """Its head has come."""
        ...

    def answered(self, *, keep: bool) -> None:
        """All of it was handed on; `keep`: the upstream's connection can be used again."""
        ...

    def replied(self, reply: Reply, *, keep: bool) -> None:
        """The filter has made the whole answer, and nothing was sent before."""
        ...

    def faulty(self, text: str) -> None:
        """It is no answer that could be handed on, or broke off."""
        ...

    def switching(self, _answer: Answer, _rest: bytes) -> None:
        """The server speaks another protocol from here on (101)."""
        ...


class Passage:
    """One answer."""

    __slots__ = (
        "_answer",
        "_body",
        "_buffer",
        "_chunked",
        "_connection",
        "_course",
        "_events",
        "_filter",
        "_head",
        "_interim",
        "_method",
        "_minor",
        "_out",
        "_raw",
        "_send",
        "_tap",
        "closing",
        "sent",
    )

    def __init__(
        self,
        connection: UpstreamConnection,
        course: Course,
        begun: Begun,
        send: Callable[[bytes], None],
        changed: Filter | None,
        tap: Tap | None,
    ) -> None:
        """Wait for the answer to `begun`: `take` gets what comes, `send` hands it on."""
        self._connection = connection
        self._course = course
        self._method = begun.head.method
        self._minor = begun.minor
        self._send = send
        self._filter = changed
        self._tap = tap
        self._answer: Answer | None = None
        self._body: Body = Counted(0)
        self._buffer = b""
        self._interim = 0
        """Heads of 1xx that came before the answer's."""
        self._events: Events | None = None
        self._chunked = False
        self._raw = False
        self._head = b""
        self._out: list[bytes] = []
        self.sent = False
        """Whether the client has got anything of it."""
        self.closing = not begun.keep
        """Whether the client's connection ends with the answer."""

    @property
    def untouched(self) -> bool:
        """Whether nothing of the answer has come."""
        return self._answer is None and not self._buffer

    # --- bytes in -----------------------------------------------------------------

    def take(self, data: bytes) -> None:
        """Take what has come."""
        try:
            if self._answer is None:
                self._begin(data)
            else:
                self._feed(data)
        except Refusal as refusal:
            self._flush()
            self._course.faulty(refusal.text)

    def ended(self) -> None:
        """The server has ended the connection: that may be the answer's end."""
        if self._answer is not None and self._body.close():
            self._complete(keep=False)
        else:
            self._course.faulty("the upstream ended the connection before its answer was complete")

    def _begin(self, data: bytes) -> None:
        looked = max(0, len(self._buffer) - 3)
        rest = self._buffer + data
        while True:
            end = rest.find(b"\r\n\r\n", looked, MOST_HEAD)
            looked = 0
            if end < 0:
                if len(rest) >= MOST_HEAD:
                    raise Refusal(502, "the answer's head is too long")
                self._buffer = rest
                return
            answer = read_answer(rest[:end], self._method)
            rest = rest[end + 4 :]
            if answer.status >= HTTPStatus.OK or answer.status == HTTPStatus.SWITCHING_PROTOCOLS:
                break
            self._interim += 1
            if self._interim > _MOST_INTERIM:
                raise Refusal(502, "the upstream announces an answer again and again")
        self._buffer = b""
        if answer.status == HTTPStatus.SWITCHING_PROTOCOLS:
            self._course.switching(answer, rest)
            return
        self._open(answer)
        if self._answer is answer:
            self._feed(rest)

    def _open(self, answer: Answer) -> None:
        """Decide how it goes on, by its head."""
        self._answer = answer
        self._course.answering(answer)
        if self._tap is not None:
            self._tap.head(answer.status)
        self._body = answer.body
        if self._filter is not None:
            if answer.bodiless:
                self._filter = None
            else:
                self._filter.head(answer.status, answer.headers)
        unwrapped = self._filter is not None or answer.events or answer.body.close()
        chunks = isinstance(answer.body, Chunked)
        if answer.bodiless:
            self._raw = True
        elif unwrapped or (chunks and not self._minor):
            self._chunked = self._minor > 0
            self.closing = self.closing or not self._chunked
        else:
            self._raw = True
            self._chunked = chunks
        self._events = Events() if answer.events else None
        self._head = answer.head(chunked=self._chunked, counted=self._raw, close=self.closing)

    def _feed(self, data: bytes) -> None:
        body = self._body
        if data or not body.done:
            piece = body.take(data)
            if self._tap is not None and piece:
                self._tap.data(piece)
            if self._raw:
                if body.used:
                    self._out.append(data if body.used == len(data) else data[: body.used])
            elif self._filter is not None:
                self._put(self._filter.feed(piece))
            else:
                self._put(piece)
        if body.done:
            self._complete(keep=body.used == len(data) or not data)
            return
        self._flush()
        events = self._events
        self._connection.even = (
            events is not None
            and self._filter is None
            and self._chunked
            and body.even
            and events.whole
            and not events.kept
        )

    # --- bytes out ----------------------------------------------------------------

    def _put(self, data: bytes) -> None:
        if self._events is not None:
            data = self._events.feed(data)
        if data:
            self._out.append(chunk(data) if self._chunked else data)

    def _flush(self) -> None:
        """Hand on what this read brought, the head before it."""
        if not self._out and (self._filter is not None or not self._head):
            return
        if self._head:
            self._out.insert(0, self._head)
            self._head = b""
        out, self._out = self._out, []
        self.sent = True
        self._send(out[0] if len(out) == 1 else b"".join(out))

    def _complete(self, *, keep: bool) -> None:
        keep = keep and self._answer is not None and self._answer.keep
        if self._filter is not None:
            self._put(self._filter.end())
            if not self._out and not self.sent:
                reply = self._filter.reply()
                if reply is not None:
                    self._course.replied(reply, keep=keep)
                    return
            self._filter = None
        if self._events is not None:
            rest = self._events.rest()
            if rest:
                self._out.append(chunk(rest) if self._chunked else rest)
        if self._chunked and not self._raw:
            self._out.append(_LAST)
        self._flush()
        self._course.answered(keep=keep)

    def last_words(self, ending: bytes) -> bytes | None:
        """Give the bytes that end what was sent in a way its client can read; None: there are none.

        Only a stream of events has such an ending: anything else that was cut short would be taken
        for the whole.
        """
        self._out.clear()
        if not ending or self._events is None or not self._events.whole:
            return None
        return chunk(ending) + _LAST if self._chunked else ending
