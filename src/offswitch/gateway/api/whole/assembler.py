"""The filter that gives a client the whole answer where a stream was asked for upstream.

    head      200 and a stream of events: it is put together
              200 and JSON, where calls are judged: it is kept until it is whole, and judged
              anything else: it passes as it comes, an upstream's error above all
    feed      gives nothing until the end, or everything at once
    reply     the answer; or the error that the stream brought, in its own words; or, where the
              stream broke off or grew too large, an error of ours: never half an answer

The upstream's own headers are kept, but for those that speak of the body's form.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from enum import Enum, auto

from offswitch.gateway.api.calls.answers import judged
from offswitch.gateway.api.sse import Events, TooLong, data_of
from offswitch.gateway.api.verdicts import Judge
from offswitch.gateway.api.whole.chat import Chunks
from offswitch.gateway.api.whole.contract import Putting, StreamError
from offswitch.gateway.api.whole.messages import MessageEvents
from offswitch.gateway.api.whole.responses import ResponseEvents
from offswitch.gateway.exchange import Headers, Reply, Shape

__all__ = ["Assembler", "Refuse", "is_json", "is_stream", "putting"]

LIMIT = 64 << 20
"""Bytes of a stream: some 200,000 tokens, one an event."""
_OK = 200
_JSON = (b"content-type", b"application/json")
_OF_THE_BODY = frozenset(
    (
        b"content-type",
        b"content-length",
        b"content-encoding",
        b"transfer-encoding",
        b"cache-control",
        b"connection",
        b"keep-alive",
        b"date",
        b"x-accel-buffering",
    )
)
_UNREADABLE = (
    AttributeError,
    IndexError,
    KeyError,
    RecursionError,
    TypeError,
    ValueError,
    TooLong,
)
"""What comes of reading what an upstream says in a form that its API does not have."""

Refuse = Callable[[str], Reply]


class _Mode(Enum):
    PASSED = auto()
    EVENTS = auto()
    WHOLE = auto()


def putting(shape: Shape) -> Putting:
    """Give what puts an answer of this shape together."""
    if shape is Shape.RESPONSES:
        return ResponseEvents()
    return MessageEvents() if shape is Shape.MESSAGES else Chunks(shape)


def _kind(status: int, headers: Headers) -> bytes:
    named = dict(headers)
    if status != _OK or named.get(b"content-encoding", b"identity") != b"identity":
        return b""
    return named.get(b"content-type", b"").partition(b";")[0].strip().lower()


def is_stream(status: int, headers: Headers) -> bool:
    """Tell whether an answer is a stream of events that can be read."""
    return _kind(status, headers) == b"text/event-stream"


def is_json(status: int, headers: Headers) -> bool:
    """Tell whether an answer is JSON that can be read."""
    return _kind(status, headers) == b"application/json"


class Assembler:
    """Puts a stream together."""

    __slots__ = (
        "_answer",
        "_events",
        "_headers",
        "_judge",
        "_limit",
        "_mode",
        "_putting",
        "_refuse",
        "_seen",
        "_shape",
        "_whole",
    )

    def __init__(
        self, shape: Shape, refuse: Refuse, judge: Judge | None = None, limit: int = LIMIT
    ) -> None:
        """Put an answer of `shape` together; `refuse` words an error of ours."""
        self._shape = shape
        self._refuse = refuse
        self._judge = judge
        self._limit = limit
        self._mode = _Mode.PASSED
        self._headers: Headers = ()
        self._events = Events()
        self._putting = putting(shape)
        self._whole: list[bytes] = []
        self._seen = 0
        self._answer: Reply | None = None

    def head(self, status: int, headers: Headers) -> None:
        """Hear what kind of answer it is."""
        self._headers = [(name, value) for name, value in headers if name not in _OF_THE_BODY]
        if is_stream(status, headers):
            self._mode = _Mode.EVENTS
        elif self._judge is not None and status == _OK:
            self._mode = _Mode.WHOLE
            if not is_json(status, headers):
                self._answer = self._refuse(
                    "The answer is in a form in which its calls of tools cannot be judged"
                )

    def feed(self, data: bytes) -> bytes:
        """Take a piece of the answer."""
        if self._mode is _Mode.PASSED:
            return data
        if self._answer is not None:
            return b""
        self._seen += len(data)
        if self._seen > self._limit:
            self._whole.clear()
            self._answer = self._refuse("The answer is larger than the gateway puts together")
        elif self._mode is _Mode.WHOLE:
            self._whole.append(data)
        else:
            self._take(data)
        return b""

    def _take(self, data: bytes) -> None:
        try:
            for event in self._events.feed(data):
                name, said = data_of(event)
                if said:
                    self._putting.take(name, said)
        except StreamError as error:
            self._answer = self._reply(error.said, error.status)
        except _UNREADABLE:
            self._answer = self._refuse("The server's stream cannot be read")

    def end(self) -> bytes:
        """Give nothing: the answer is in `reply`."""
        return b""

    def reply(self) -> Reply | None:
        """Give the answer; None: it has passed as it came."""
        if self._mode is _Mode.PASSED:
            return None
        if self._answer is None and self._mode is _Mode.EVENTS:
            self._take(b"\n\n")  # an end without a blank line ends an event all the same
        if self._answer is None:
            self._answer = self._made()
        return self._answer

    def _made(self) -> Reply:
        try:
            raw = b"".join(self._whole)
            whole = self._mode is _Mode.WHOLE
            answer = json.loads(raw.decode()) if whole else self._putting.answer()
            if answer is None:
                return self._refuse("The server's stream ended before its answer was complete")
            if self._judge is not None:
                new = judged(self._shape, answer, self._judge)
                if whole and new is answer:
                    return Reply(_OK, [_JSON, *self._headers], raw)
                answer = new
            return self._reply(answer, _OK)
        except _UNREADABLE:
            return self._refuse("The server's answer cannot be read")

    def _reply(self, said: dict[str, object], status: int) -> Reply:
        body = json.dumps(said, separators=(",", ":")).encode()
        return Reply(status, [_JSON, *self._headers], body)
