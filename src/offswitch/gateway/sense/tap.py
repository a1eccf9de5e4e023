"""The tap of one answer: keeps each chunk for a moment, and digests many of them at once.

    a chunk     kept, with the gap before it
    a digest    at the first bytes, then three times a second or every 32 KiB: events, text,
                canaries
    a window    each kibibyte of text: how much of it repeats, and a copy for watch
    the end     why it ended, tokens as the server counts them, whether it is a refusal, which tools
                it calls

That a model goes in circles is told by sixteen samples of each kibibyte of its text: how many of
them stood there before, within this kibibyte or the one before it, digits counting as one.
Canaries are looked for in the text itself, put together again from the events and with its
escapes undone, so that neither the border of a chunk nor that of an event hides one.
"""

from __future__ import annotations

import re
import time
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

__all__ = ["Ended", "StreamTap"]

_EVERY_NS = 300_000_000
_MOST_HELD = 32 << 10
_LONGEST_LINE = 64 << 10
_LONGEST_WHOLE = 64 << 10
_WINDOW = 1024
_LEAST_WINDOW = 512
"""Of what is left at the end: less tells nothing."""
_SAMPLES, _SAMPLE = 16, 24
_ONE_DIGIT = bytes.maketrans(b"123456789", b"000000000")
_BEGIN = 300
_KEPT = 2048
"""Of the last lines, for what stands at an answer's end."""
_ENDS = {how: number for number, how in enumerate(ENDS)}
_REFUSALS = {REASONS.index("content_filter"), REASONS.index("refusal")}
_UNKNOWN, _EVENTS, _WHOLE, _BYTES = range(4)
"""What an answer is, as its first bytes tell: a stream of events, one JSON, or anything."""
_TELLING = 8
_CLIENT_ERROR, _SERVER_ERROR = 400, 500
_AT_BYTES, _AT_EVENTS, _AT_GAP, _AT_OUT = (
    int(at) for at in (At.BYTES, At.EVENTS, At.GAP, At.TOKENS_OUT)
)
_IDENT = re.compile(rb'"id": ?"([A-Za-z0-9_.:-]{1,100})"')
_MOST_CUT = 8192
Block = tuple[memoryview, int, int]
"""The words of the file, where those of the target begin, and its number."""


class Ended:
    """Answers that were ended from outside."""

    __slots__ = ("cut", "waiting")

    def __init__(self) -> None:
        """None yet."""
        self.waiting: deque[StreamTap] = deque()
        """Those whose end is still to be counted."""
        self.cut: deque[tuple[int, str]] = deque(maxlen=_MOST_CUT)
        """Those that a stop ended: the target's number, and what the server calls them."""

    def add(self, tap: StreamTap, how: str) -> None:
        """Take one in; a stop adds a thousand at once."""
        self.waiting.append(tap)
        if how == "stopped" and tap.ident:
            self.cut.append((tap.number, tap.ident))


class StreamTap:
    """Senses one answer. Raises nothing, waits for nothing, changes nothing."""

    __slots__ = (
        "_base", "_before", "_begin", "_calls", "_canaries", "_colon", "_due", "_ended", "_gap",
        "_held", "_how", "_last", "_lines", "_marks", "_mode", "_older", "_rest", "_shape",
        "_size", "_started", "_text", "_texts", "_tokens", "_told", "_words", "ident",
        "number", "over",
    )  # fmt: skip

    def __init__(
        self, place: Block, shape: str, started_ns: int, canaries: CanaryStream | None,
        texts: Texts, ended: Ended,
    ) -> None:  # fmt: skip
        """Count into the block at `place`; what is ended from outside goes to `ended`."""
        self._words, self._base, self.number = place
        self._shape, self._marks = shape, MARKS.get(shape)
        self._started = self._last = started_ns
        self._canaries, self._texts, self._ended = canaries, texts, ended
        self._held: list[bytes] = []
        self._size = self._due = self._gap = self._tokens = 0
        self._mode = _UNKNOWN
        self._rest = self._text = self._begin = self._before = self._lines = self._older = b""
        self._how = "lost"
        self._colon = b""
        self._calls: list[list[bytes]] = []
        self._told = False
        """Whether some of its text was handed to watch."""
        self.ident = ""
        """What the server calls this answer, in the API's own words; empty: nothing yet."""
        self.over = False
        """Whether it has ended, so that nobody needs to look any more."""

    @property
    def last_ns(self) -> int:
        """When its last bytes came, or it was asked; CLOCK_MONOTONIC."""
        return self._last

    def head(self, status: int) -> None:
        """The head of the answer came."""
        if status >= _CLIENT_ERROR:
            at = At.ERRORS_5XX if status >= _SERVER_ERROR else At.ERRORS_4XX
            self._words[self._base + at] += 1

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

    def look(self, now: int) -> None:
        """Digest what has been held for long: a stream that fell silent after its last words."""
        if self._size and now > self._due:
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
            self._ended.add(self, how)

    def finish(self) -> None:
        """Count how it ended, and what is known only then."""
        words, base = self._words, self._base
        words[base + At.ENDED + _ENDS.get(self._how, _ENDS["lost"])] += 1
        if self._size:
            self._digest(self._last)
        if self._mode == _EVENTS:
            if self._rest:
                self._take_events(b"\n")
            tail = (self._older + self._lines)[-_KEPT:]
        elif self._mode == _WHOLE:
            self._take_whole()
            tail = self._rest if len(self._rest) < _KEPT else self._rest[-_KEPT:]
        else:
            return
        if self._marks is not None:
            self._conclude(tail)
        for name, arguments in self._calls:
            words[base + At.TOOL_CALLS] += 1
            said = unescaped(name) + b"\n" + unescaped(arguments)
            self._texts.put(TextKind.TOOL, self.number, said)

    def _digest(self, now: int) -> None:
        held = self._held
        batch = b"".join(held) if len(held) > 1 else held[0]
        held.clear()
        words, base = self._words, self._base
        words[base + _AT_BYTES] += self._size
        self._size = 0
        if self._due:
            words[base + _AT_GAP + bucket_of(self._gap)] += 1
            self._due = now + _EVERY_NS
        else:
            words[base + At.FIRST + bucket_of(now - self._started)] += 1
            # A thousand that began at the same instant are not to be digested at the same one.
            self._due = now + _EVERY_NS // 16 * (1 + (self._started >> 10 & 15))
        self._gap = 0
        if not self._mode:
            batch, self._rest = self._rest + batch, b""
            self._sniff(batch)
        if self._mode == _EVENTS:
            self._take_events(batch)
        elif self._mode == _WHOLE and len(self._rest) < _LONGEST_WHOLE:
            self._rest += batch
        elif self._mode != _UNKNOWN:
            self._search(batch)  # it is too long to be read, and is looked through all the same

    def _sniff(self, batch: bytes) -> None:
        """Tell by its first bytes what comes; too few of them wait for more."""
        begin = batch[:16].lstrip()
        if len(begin) < _TELLING and not self.over:
            self._rest = batch
            return
        if begin.startswith((b"data:", b"event:", b"id:", b":", b"retry:")):
            self._mode = _EVENTS
            if self._shape == "messages":
                self._words[self._base + At.TOKENS_IN] += usage_of(batch[:_KEPT])[0]
        elif begin.startswith((b"{", b"[")) and self._shape != "embeddings":
            self._mode = _WHOLE
        else:
            self._mode = _BYTES
            return
        named = _IDENT.search(batch, 0, _KEPT)
        if named is not None and self._marks is not None:
            self.ident = named[1].decode()

    def _spelling(self, data: bytes) -> bytes:
        """Tell whether this server writes a blank behind a colon, as soon as one is there."""
        if not self._colon:
            compact, spaced = b'":"' in data, b'": "' in data
            self._colon = b':"' if compact else b': "' if spaced else b""
        return self._colon or b':"'

    def _take_events(self, batch: bytes) -> None:
        """Take in lines of a stream of events; a line that is not complete waits."""
        data = self._rest + batch
        cut = data.rfind(b"\n") + 1
        self._rest = data[cut:]
        if len(self._rest) > _LONGEST_LINE:
            self._search(self._rest)
            self._rest = b""
        lines = data[:cut]
        self._older, self._lines = self._lines, lines
        words, base, marks = self._words, self._base, self._marks
        words[base + _AT_EVENTS] += lines.count(b"\ndata:") + lines.startswith(b"data:")
        if marks is None:
            self._search(lines)
            return
        pieces = strings(lines, marks.text, self._spelling(lines))
        if pieces:
            tokens = len(pieces) - pieces.count(b"")
            self._tokens += tokens
            words[base + _AT_OUT] += tokens
            self._read(b"".join(pieces))
        if marks.tools and (marks.tools in lines or (self._calls and marks.arguments in lines)):
            calls_of(lines, marks, self._calls)
            self._search(lines)

    def _take_whole(self) -> None:
        """Take in an answer that came as one."""
        body, marks = self._rest, self._marks
        if marks is None:
            self._search(body)
            return
        self._read(b"".join(strings(body, marks.whole, self._spelling(body))))
        if marks.tools and marks.tools in body:
            self._calls = calls_in(body)
            self._search(body)

    def _read(self, text: bytes) -> None:
        """Take in text that a model wrote, escapes and all."""
        if len(self._begin) < _BEGIN:
            self._begin += text[:_BEGIN]
        if self._canaries is not None:
            self._search(unescaped(text))
        self._text += text
        while len(self._text) >= _WINDOW:
            window, self._text = self._text[:_WINDOW], self._text[_WINDOW:]
            self._tell(window)

    def _tell(self, window: bytes) -> None:
        if len(window) >= _LEAST_WINDOW:
            self._words[self._base + At.REPEATED + self._repeated(window)] += 1
        self._told = True
        self._texts.put(TextKind.TEXT, self.number, unescaped(window))

    def _repeated(self, window: bytes) -> int:
        """Give how much of a window was there before, in tenths."""
        fresh = window.translate(_ONE_DIGIT)
        both, begin = self._before + fresh, len(self._before)
        self._before = fresh
        step = len(fresh) // _SAMPLES
        found = looked = 0
        for at in range(begin or _SAMPLE, len(both) - _SAMPLE + 1, step):
            looked += 1
            found += both.find(both[at : at + _SAMPLE], 0, at + _SAMPLE - 1) >= 0
        return found * 10 // looked

    def _search(self, text: bytes) -> None:
        if self._canaries is None:
            return
        for name in self._canaries.feed(text):
            at = At.IN_ANSWER + self._canaries.names.index(name)
            self._words[self._base + at] += 1

    def _conclude(self, tail: bytes) -> None:
        """Count what is known of a model's answer as a whole."""
        words, base = self._words, self._base
        reason = reason_of(tail)
        if reason is not None:
            words[base + At.FINISHED + reason] += 1
        came, went = usage_of(tail)
        if self._shape != "messages" or self._mode == _WHOLE:
            words[base + At.TOKENS_IN] += came  # else they stood at the stream's begin
        words[base + _AT_OUT] += max(went - self._tokens, 0)
        begin = unescaped(self._begin)[:_BEGIN]
        if begin or reason is not None:
            words[base + At.ANSWERS] += 1
            words[base + At.REFUSALS] += reason in _REFUSALS or refuses(begin)
        short = len(self._text) < _BEGIN and not self._told
        if begin:
            self._texts.put(TextKind.WHOLE if short else TextKind.ANSWER, self.number, begin)
        if self._text and not short:
            self._tell(self._text)
