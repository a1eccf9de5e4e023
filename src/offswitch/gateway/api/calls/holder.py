"""The filter that holds calls of tools in a stream until each is judged.

Text is handed on as soon as its event is whole, in the bytes in which it came, and costs one look
for a word. What cannot be read, or is larger than anybody's call, ends the stream with an error:
nothing that was not judged is handed on. What is held when the stream ends was never whole, and is
dropped.
"""

from __future__ import annotations

from collections.abc import Callable

from offswitch.gateway.api.calls.chat import ChatCalls
from offswitch.gateway.api.calls.contract import Calls
from offswitch.gateway.api.calls.messages import MessageCalls
from offswitch.gateway.api.calls.responses import ResponseCalls
from offswitch.gateway.api.sse import Events, TooLong
from offswitch.gateway.api.verdicts import Judge
from offswitch.gateway.api.whole.assembler import Assembler, Refuse, is_stream
from offswitch.gateway.exchange import Headers, Reply, Shape

__all__ = ["Holder"]

_LIMIT = 16 << 20
"""Bytes that are held back in one stream."""
_OK = 200
_UNREADABLE = (AttributeError, LookupError, RecursionError, TypeError, ValueError)


def _calls(shape: Shape, judge: Judge) -> Calls:
    if shape is Shape.RESPONSES:
        return ResponseCalls(judge)
    return MessageCalls(judge) if shape is Shape.MESSAGES else ChatCalls(judge)


class Holder:
    """Holds calls back in a stream; an answer that comes whole is judged whole."""

    __slots__ = ("_calls", "_ending", "_events", "_limit", "_over", "_whole")

    def __init__(
        self,
        shape: Shape,
        judge: Judge,
        refuse: Refuse,
        ending: Callable[[str], bytes],
        limit: int = _LIMIT,
    ) -> None:
        """Judge by `judge`; `refuse` and `ending` word an error of ours."""
        self._calls = _calls(shape, judge)
        self._ending = ending
        self._events = Events()
        self._limit = limit
        self._over = False
        self._whole: Assembler | None = Assembler(shape, refuse, judge)

    def head(self, status: int, headers: Headers) -> None:
        """Hear what kind of answer it is."""
        if is_stream(status, headers):
            self._whole = None
        elif self._whole is not None:
            self._whole.head(status, headers)

    def feed(self, data: bytes) -> bytes:
        """Take a piece of the stream, and give what goes on now."""
        if self._whole is not None:
            return self._whole.feed(data)
        if self._over:
            return b""
        if data.endswith(b"\n\n") and self._calls.quiet(data) and not self._events.rest():
            return data
        try:
            events = self._events.feed(data)
        except TooLong:
            self._over = True
            return self._ending("An event of the server's stream is larger than any")
        return self._passed(events)

    def _passed(self, events: list[bytes]) -> bytes:
        out: list[bytes] = []
        try:
            for event in events:
                out.append(self._calls.event(event))  # noqa: PERF401 - what went before counts
        except _UNREADABLE:
            self._over = True
            out.append(self._ending("The server's stream cannot be read"))
        if self._calls.held > self._limit:
            self._over = True
            out.append(self._ending("A call of a tool is larger than the gateway holds"))
        return out[0] if len(out) == 1 else b"".join(out)

    def end(self) -> bytes:
        """Give what is left: part of an event, unless a call is in it."""
        if self._whole is not None:
            return self._whole.end()
        rest = self._events.rest()
        return self._passed([rest]) if rest and not self._over else b""

    def reply(self) -> Reply | None:
        """Give an answer that came whole, once it is judged."""
        return None if self._whole is None else self._whole.reply()
