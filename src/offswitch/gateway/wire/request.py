"""Requests as they come in on one connection: bytes pushed in, events out.

    parser = Requests(Rules.of(front))
    for event in parser.feed(data):        # Begun, then bytes of its body, then END; or a Refusal
        …
    for event in parser.go_on():           # the answer is sent: on to what was pipelined
        …

One request at a time: after END nothing comes until `go_on`, so pipelined requests are answered in
their order; what has come meanwhile waits in `waiting` bytes, and whoever feeds stops reading
when that is much. After a Refusal nothing comes any more: the connection is to be closed.
However the bytes are cut into feeds, the events say the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum

from offswitch.gateway.wire.chunks import Chunks
from offswitch.gateway.wire.rules import Refusal, Rules
from offswitch.gateway.wire.strict import CHUNKED, Begun, read_head

__all__ = ["END", "Event", "Requests"]

_EMPTY_LINE = b"\r\n\r\n"
_FIRST = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]")
"""What a request may begin with: a method's name."""
_BARE = re.compile(rb"(?<!\r)\n|\r(?=[^\n])", re.DOTALL)


class _End(Enum):
    END = "end"


END = _End.END
"""The request is complete, its body included."""

Event = Begun | bytes | _End | Refusal


class Requests:
    """Reads the requests of one client connection."""

    __slots__ = ("_buffer", "_chunks", "_left", "_looked", "_rules", "_stage")

    def __init__(self, rules: Rules) -> None:
        """Begin before the first request."""
        self._rules = rules
        self._buffer = bytearray()
        self._looked = 0
        """How far the buffer was looked through for the end of a head."""
        self._left = 0
        """Bytes of the body that are still to come."""
        self._chunks = Chunks(rules)
        self._stage: Callable[[Requests, list[Event]], bool] = Requests._head

    @property
    def begun(self) -> bool:
        """Whether a head has begun to come and is not complete."""
        return bool(self._buffer) and self._stage is Requests._head

    @property
    def idle(self) -> bool:
        """Whether there is nothing of a request: the connection may be closed unhurt."""
        return not self._buffer and self._stage is Requests._head

    @property
    def waiting(self) -> int:
        """How many bytes wait behind the request that is being answered."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[Event]:
        """Take bytes from the client, give what they complete."""
        self._buffer += data
        return self._run()

    def go_on(self) -> list[Event]:
        """Begin the next request, the answer to this one being sent."""
        if self._stage is Requests._wait:
            self._stage = Requests._head
            self._looked = 0
        return self._run()

    def rest(self) -> bytes:
        """Give what has come behind a head, for good: the connection speaks something else now."""
        data = bytes(self._buffer)
        self._buffer.clear()
        self._stage = Requests._over
        return data

    def _run(self) -> list[Event]:
        events: list[Event] = []
        try:
            while self._stage(self, events):
                pass
        except Refusal as refusal:
            events.append(refusal)
            self._buffer.clear()
            self._stage = Requests._over
        return events

    def _head(self, events: list[Event]) -> bool:
        buffer = self._buffer
        if not buffer:
            return False
        end = buffer.find(_EMPTY_LINE, max(0, self._looked - 3), self._rules.head)
        if end < 0:
            self._unfinished()
            return False
        begun = read_head(bytes(buffer[:end]), self._rules)
        del buffer[: end + 4]
        events.append(begun)
        if begun.framing == CHUNKED:
            self._chunks = Chunks(self._rules)
            self._stage = Requests._chunked
        elif begun.framing:
            self._left = begun.framing
            self._stage = Requests._counted
        else:
            events.append(END)
            self._stage = Requests._wait
        return True

    def _unfinished(self) -> None:
        """Refuse at once what no further bytes can make good, or is too long."""
        buffer, longest = self._buffer, self._rules.head
        if not _FIRST.match(buffer):
            raise Refusal(400, "this is not HTTP/1.1")
        if _BARE.search(buffer, max(0, self._looked - 1), longest):
            raise Refusal(400, "control characters, or a line that does not end in CR LF")
        if len(buffer) >= longest:
            raise Refusal(431, f"a head of more than {longest} bytes")
        self._looked = len(buffer)

    def _counted(self, events: list[Event]) -> bool:
        buffer = self._buffer
        if len(buffer) <= self._left:
            piece = bytes(buffer)
            buffer.clear()
        else:
            piece = bytes(buffer[: self._left])
            del buffer[: self._left]
        if piece:
            events.append(piece)
            self._left -= len(piece)
        if self._left:
            return False
        events.append(END)
        self._stage = Requests._wait
        return True

    def _chunked(self, events: list[Event]) -> bool:
        pieces: list[bytes] = []
        try:
            ended = self._chunks.take(self._buffer, pieces)
        finally:
            events += pieces
        if ended:
            events.append(END)
            self._stage = Requests._wait
        return ended

    def _wait(self, _: list[Event]) -> bool:
        return False

    def _over(self, _: list[Event]) -> bool:
        self._buffer.clear()
        return False
