"""The tap of one answer: keeps each chunk for a moment, and digests many of them at once.

    a chunk     kept, with the gap before it                        a third of a microsecond
    a digest    at the first bytes, then five times a second or every 32 KiB: events, text,
                calls of tools
    a window    each kibibyte of text: how much of it repeats, and a copy for watch
    the end     why it ended, tokens as the server counts them, whether it is a refusal

That a model goes in circles is told by how well a kibibyte of its text compresses: prose shrinks
to a half, a loop to a tenth or less. Canaries are looked for in the text itself, put together
again from the events and with its escapes undone, so that neither the border of a chunk nor that
of an event hides one.
"""

from __future__ import annotations

import time
import zlib
from collections import deque

from offswitch.control.canary import CanaryStream
from offswitch.control.sensed import ENDS, REASONS, At, TextKind, bucket_of
from offswitch.gateway.sense.marks import (
    MARKS,
    calls_in,
    calls_of,
    reason_of,
    refuses,
    strings,
    unescaped,
    usage_of,
)
from offswitch.gateway.sense.texts import Texts

__all__ = ["StreamTap"]

_EVERY_NS = 200_000_000
_MOST_HELD = 32 << 10
_LONGEST_LINE = 64 << 10
_LONGEST_WHOLE = 256 << 10
_WINDOW = 1024
_LEAST_WINDOW = 200
"""Of what is left at the end: less tells nothing."""
_BEGIN = 300
_SOON = 128
"""Bytes of text in which a canary is looked for at once; fewer wait a moment."""
_KEPT = 4096
"""Of the last lines, for what stands at a stream's end."""
_ENDS = {how: number for number, how in enumerate(ENDS)}
Block = tuple[memoryview, int, int]
"""The words of the file, where the target's begin, and its number."""
_REFUSALS = {REASONS.index("content_filter"), REASONS.index("refusal")}


class StreamTap:
    """Senses one answer. Raises nothing, waits for nothing, changes nothing."""

    __slots__ = (
        "_base", "_begin", "_calls", "_canaries", "_colon", "_due", "_ended", "_fresh", "_gap",
        "_held", "_how", "_last", "_marks", "_mode", "_rest", "_shape", "_size",
        "_started", "_tail", "_text", "_texts", "_tokens", "_words", "number", "over",
    )  # fmt: skip

    def __init__(
        self, place: Block, shape: str, started_ns: int, canaries: CanaryStream | None,
        texts: Texts, ended: deque[StreamTap],
    ) -> None:  # fmt: skip
        """Count into the block at `place`; what is ended from outside goes to `ended`."""
        self._words, self._base, self.number = place
        """Of its target, in the file."""
        self._shape, self._marks = shape, MARKS.get(shape)
        self._started = self._last = started_ns
        self._canaries, self._texts, self._ended = canaries, texts, ended
        self._held: list[bytes] = []
        self._size = self._due = self._gap = self._tokens = 0
        self._mode = 0
        """0: nothing has come; 1: events; 2: one whole answer; 3: bytes, and no more."""
        self._rest = self._text = self._begin = self._tail = b""
        self._how = "lost"
        self._fresh = 0
        self._colon = b':"'
        self._calls: list[list[bytes]] = []
        self.over = False
        """Whether it has ended, so that nobody needs to look any more."""

    def head(self, status: int) -> None:
        """The head of the answer came."""
        if status >= 400:  # noqa: PLR2004 - the errors of HTTP
            self._words[self._base + (At.ERRORS_5XX if status >= 500 else At.ERRORS_4XX)] += 1  # noqa: PLR2004

    def data(self, chunk: bytes) -> None:
        """Some bytes of the body, as they came."""
        now = time.monotonic_ns()
        gap = now - self._last
        if gap > self._gap:  # noqa: PLR1730 - for each chunk: a call of `max` costs more
            self._gap = gap
        self._last = now
        self._held.append(chunk)
        self._size += len(chunk)
        if now > self._due or self._size > _MOST_HELD:
            self._digest(now)

    def end(self, how: str) -> None:
        """It ended; what is not its own end is counted later, so that nobody waits for it."""
        if self.over:
            return
        self.over = True
        self._how = how
        if how == "complete":
            self.finish()
        else:
            self._ended.append(self)

    def look(self, now: int) -> None:
        """Digest what has been held for long: a stream that fell silent after its last words."""
        if self._size and now > self._due:
            self._digest(now)

    @property
    def last_ns(self) -> int:
        """When its last bytes came, or it was asked; CLOCK_MONOTONIC."""
        return self._last

    def _digest(self, now: int) -> None:
        held = self._held
        batch = b"".join(held) if len(held) > 1 else held[0]
        held.clear()
        words, base = self._words, self._base
        words[base + At.BYTES] += self._size
        self._size = 0
        self._due = now + _EVERY_NS
        if self._mode:
            words[base + At.GAP + bucket_of(self._gap)] += 1
        else:
            words[base + At.FIRST + bucket_of(now - self._started)] += 1
            self._sniff(batch)
        self._gap = 0
        if self._mode == 1:
            self._events(batch)
        elif self._mode == 2 and len(self._rest) < _LONGEST_WHOLE:  # noqa: PLR2004 - see `_mode`
            self._rest += batch
        elif self._canaries is not None:
            self._search(batch)

    def _sniff(self, batch: bytes) -> None:
        """Tell by its first bytes what comes."""
        begin = batch[:8].lstrip()
        if begin.startswith((b"data:", b"event:", b"id:", b":", b"retry:")):
            self._mode = 1
        elif begin.startswith((b"{", b"[")) and self._shape != "embeddings":
            self._mode = 2
        else:
            self._mode = 3
        if b'": "' in batch[:1000] and b'":"' not in batch[:1000]:
            self._colon = b': "'

    def _events(self, batch: bytes) -> None:
        """Take in lines of a stream of events."""
        data = self._rest + batch
        cut = data.rfind(b"\n") + 1
        self._rest = data[cut:] if len(data) - cut < _LONGEST_LINE else b""
        lines = data[:cut]
        self._words[self._base + At.EVENTS] += lines.count(b"\ndata:") + lines.startswith(b"data:")
        if len(lines) < _KEPT:
            self._tail = self._tail[len(lines) - _KEPT :] + lines
        else:
            self._tail = lines[-_KEPT:]
        marks = self._marks
        if marks is None:
            self._read(lines, 0)
            return
        pieces = strings(lines, marks.text, self._colon)
        if pieces:
            self._read(b"".join(pieces), len(pieces) - pieces.count(b""))
        if marks.tools and (marks.tools in lines or (self._calls and marks.arguments in lines)):
            calls_of(lines, marks, self._calls)

    def _read(self, text: bytes, tokens: int) -> None:
        """Take in text that a model wrote, escapes and all; for an unknown API, all there is."""
        if self._marks is not None:
            self._tokens += tokens
            self._words[self._base + At.TOKENS_OUT] += tokens
            if len(self._begin) < _BEGIN:
                self._begin += text[:_BEGIN]
        self._text += text
        self._fresh += len(text)
        if len(self._text) >= _WINDOW:
            self._window()
        elif self._canaries is not None and self._fresh >= _SOON:
            self._search(unescaped(self._text[-self._fresh :]))

    def _window(self) -> None:
        text, self._text = self._text, b""
        if self._canaries is not None and self._fresh:
            self._search(unescaped(text[-self._fresh :]))
        self._fresh = 0
        if self._marks is None:
            return
        if len(text) >= _LEAST_WINDOW:
            share = 1 - len(zlib.compress(text, 1)) / len(text)
            self._words[self._base + At.REPEATED + max(int(share * 10), 0)] += 1
        self._texts.put(TextKind.TEXT, self.number, unescaped(text))

    def _search(self, text: bytes) -> None:
        self._fresh = 0
        if self._canaries is None:
            return
        for name in self._canaries.feed(text):
            self._words[self._base + At.IN_ANSWER + self._canaries.names.index(name)] += 1

    def finish(self) -> None:
        """Count how it ended, and what is known only then."""
        words, base = self._words, self._base
        words[base + At.ENDED + _ENDS.get(self._how, _ENDS["lost"])] += 1
        if self._size:
            self._digest(self._last)
        if self._mode == 1 and self._rest:
            self._events(b"\n")
        elif self._mode == 2:  # noqa: PLR2004 - see `_mode`
            self._whole()
        if self._text:
            self._window()
        if self._marks is not None and self._mode in {1, 2}:
            self._conclude()
        for name, arguments in self._calls:
            words[base + At.TOOL_CALLS] += 1
            said = unescaped(name) + b"\n" + unescaped(arguments)
            self._texts.put(TextKind.TOOL, self.number, said)

    def _whole(self) -> None:
        """Take in an answer that came as one."""
        body = self._rest
        self._tail = body[:_KEPT] + body[-_KEPT:] if len(body) > 2 * _KEPT else body
        marks = self._marks
        if marks is None:
            self._search(body)
            return
        pieces = strings(body, marks.whole, self._colon)
        if pieces:
            self._read(b"".join(pieces), 0)
        if marks.tools and marks.tools in body:
            self._calls = calls_in(body)

    def _conclude(self) -> None:
        words, base = self._words, self._base
        reason = reason_of(self._tail)
        if reason is not None:
            words[base + At.FINISHED + reason] += 1
        came, went = usage_of(self._tail)
        words[base + At.TOKENS_IN] += came
        words[base + At.TOKENS_OUT] += max(went - self._tokens, 0)
        begin = unescaped(self._begin)[:_BEGIN]
        if begin or reason is not None:
            words[base + At.ANSWERS] += 1
            words[base + At.REFUSALS] += reason in _REFUSALS or refuses(begin)
        if begin:
            self._texts.put(TextKind.ANSWER, self.number, begin)
