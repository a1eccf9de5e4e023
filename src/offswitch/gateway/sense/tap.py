"""The tap of one answer: keeps each chunk for a moment, and has many of them digested at once.

    a chunk     kept, with the gap before it
    a digest    three times a second or every 32 KiB, and at the end (`digest`)
    the end     noted; counted by the next tick, or with many others when many wait

What is done seldom is slow, since nothing of it is in the processor's caches: done for many answers
in a row it takes a third of the time.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from offswitch.control.sensed import ENDS, At, bucket_of
from offswitch.gateway.exchange import Asked
from offswitch.gateway.sense.digest import Block, Digest, ident_of

__all__ = ["Begin", "Ended", "StreamTap"]

_EVERY_NS = 300_000_000
_MOST_HELD = 32 << 10
_MOST_CUT = 8192
_MANY, _AT_ONCE = 64, 32
_ENDS = {how: number for number, how in enumerate(ENDS)}
_CLIENT_ERROR, _SERVER_ERROR = 400, 500
_AT_BYTES, _AT_GAP = int(At.BYTES), int(At.GAP)

Begin = Callable[[Block, Asked, bytes], Digest]
"""Takes in what was asked, with the request's body, and gives what digests the answer."""


class Ended:
    """Answers that have ended."""

    __slots__ = ("cut", "waiting")

    def __init__(self) -> None:
        """None yet."""
        self.waiting: deque[StreamTap] = deque()
        """Those whose end is still to be counted."""
        self.cut: deque[StreamTap] = deque(maxlen=_MOST_CUT)
        """Those that a stop ended."""

    def add(self, tap: StreamTap, how: str) -> None:
        """Take one in; a stop adds a thousand at once, and nobody waits for those."""
        self.waiting.append(tap)
        if how == "stopped":
            self.cut.append(tap)
        elif len(self.waiting) > _MANY:
            for _ in range(_AT_ONCE):
                self.waiting.popleft().finish()


class StreamTap:
    """Senses one answer. Raises nothing, waits for nothing, changes nothing."""

    __slots__ = (
        "_asked", "_begin", "_body", "_digest", "_due", "_ended", "_first", "_gap", "_held", "_how",
        "_last", "_place", "_size", "_started", "over",
    )  # fmt: skip

    def __init__(
        self, place: Block, asked: Asked, body: bytes, started_ns: int, begin: Begin, ended: Ended
    ) -> None:
        """Count into the block at `place`; what `asked` says is taken in later, by `begin`."""
        self._place = place
        self._asked = asked
        self._body = body
        self._started = self._last = started_ns
        self._begin = begin
        self._ended = ended
        self._digest: Digest | None = None
        self._held: list[bytes] = []
        self._size = self._due = self._gap = self._first = 0
        self._how = "lost"
        self.over = False
        """Whether it has ended, so that nobody needs to look any more."""

    @property
    def number(self) -> int:
        """Of its target, in the file."""
        return self._place[2]

    @property
    def last_ns(self) -> int:
        """When its last bytes came, or it was asked; CLOCK_MONOTONIC."""
        return self._last

    @property
    def ident(self) -> str:
        """What the server calls this answer; empty: it has not said."""
        if self._digest is not None and self._digest.ident:
            return self._digest.ident
        return ident_of(self._held[0]) if self._held else ""

    def head(self, status: int) -> None:
        """The head of the answer came."""
        if status >= _CLIENT_ERROR:
            words, base, _number = self._place
            words[base + (At.ERRORS_5XX if status >= _SERVER_ERROR else At.ERRORS_4XX)] += 1

    def data(self, chunk: bytes) -> None:
        """Some bytes of the body, as they came."""
        now = time.monotonic_ns()
        if self._first:
            gap = now - self._last
            if gap > self._gap:  # noqa: PLR1730 - for each chunk: a call of `max` costs more
                self._gap = gap
        else:
            self._first = now
            # A thousand that began at the same instant are not to be digested at the same one.
            self._due = now + _EVERY_NS // 16 * (1 + (self._started >> 10 & 15))
        self._last = now
        self._held.append(chunk)
        self._size += len(chunk)
        if now > self._due or self._size > _MOST_HELD:
            self._work(now)

    def look(self, now: int) -> None:
        """Do what is due: for a stream that is silent, or that has not said anything yet."""
        if self._digest is None:
            self._digest = self._opened()
        if self._size and now > self._due:
            self._work(now)

    def end(self, how: str) -> None:
        """It ended: that is counted later, so that nobody waits for it."""
        if not self.over:
            self.over = True
            self._how = how
            self._ended.add(self, how)

    def finish(self) -> None:
        """Count how it ended, and what is known only then."""
        words, base, _number = self._place
        words[base + At.ENDED + _ENDS.get(self._how, _ENDS["lost"])] += 1
        if self._size:
            self._work(self._last)
        elif self._digest is None:
            self._digest = self._opened()
        if self._digest is not None:
            self._digest.finish()

    def _opened(self) -> Digest:
        digest = self._begin(self._place, self._asked, self._body)
        self._body = b""
        return digest

    def _work(self, now: int) -> None:
        """Have what is held digested."""
        digest = self._digest
        words, base, _number = self._place
        if digest is None:
            digest = self._digest = self._opened()
        if self._due:
            self._due = now + _EVERY_NS
        held = self._held
        batch = b"".join(held) if len(held) > 1 else held[0]
        held.clear()
        words[base + _AT_BYTES] += self._size
        self._size = 0
        if self._started:
            words[base + At.FIRST + bucket_of(self._first - self._started)] += 1
            self._started = 0
        if self._gap:
            words[base + _AT_GAP + bucket_of(self._gap)] += 1
            self._gap = 0
        digest.take(batch, last=self.over)
