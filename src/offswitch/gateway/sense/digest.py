"""What is done for many chunks of one answer at once: events, text, calls of tools, canaries.

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

from offswitch.control.canary import CanaryStream
from offswitch.control.sensed import REASONS, At, TextKind
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

__all__ = ["Block", "Digest", "ident_of"]

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
_LAST = 700
"""Where most answers say why they end."""
_REFUSALS = {REASONS.index("content_filter"), REASONS.index("refusal")}
_UNKNOWN, _EVENTS, _WHOLE, _BYTES = range(4)
"""What an answer is, as its first bytes tell: a stream of events, one JSON, or anything."""
_TELLING = 8
_AT_EVENTS, _AT_OUT = int(At.EVENTS), int(At.TOKENS_OUT)
_IDENT = re.compile(rb'"id": ?"([A-Za-z0-9_.:-]{1,100})"')
Block = tuple[memoryview, int, int]
"""The words of the file, where those of the target begin, and its number."""


def ident_of(begin: bytes) -> str:
    """Say what the server calls an answer that begins like this; empty: it does not say."""
    found = _IDENT.search(begin, 0, _KEPT)
    return found[1].decode() if found is not None else ""


class Digest:
    """Of one answer."""

    __slots__ = (
        "_base", "_before", "_begin", "_calls", "_canaries", "_colon", "_lines", "_marks", "_mode",
        "_number", "_older", "_rest", "_shape", "_text", "_texts", "_tokens", "_told", "_words",
        "ident",
    )  # fmt: skip

    def __init__(
        self, place: Block, shape: str, canaries: CanaryStream | None, texts: Texts
    ) -> None:
        """Count into the block at `place`."""
        self._words, self._base, self._number = place
        self._shape, self._marks = shape, MARKS.get(shape)
        self._canaries, self._texts = canaries, texts
        self._mode = _UNKNOWN
        self._rest = self._text = self._begin = self._before = self._lines = self._older = b""
        self._colon = b""
        self._calls: list[list[bytes]] = []
        self._tokens = 0
        self._told = False
        """Whether some of its text was handed to watch."""
        self.ident = ""
        """What the server calls it, in the API's own words; empty: nothing yet."""

    def take(self, batch: bytes, *, last: bool) -> None:
        """Take in what has passed; `last`: nothing more will."""
        if not self._mode:
            batch, self._rest = self._rest + batch, b""
            self._sniff(batch, last=last)
        if self._mode == _EVENTS:
            self._take_events(batch)
        elif self._mode == _WHOLE and len(self._rest) < _LONGEST_WHOLE:
            self._rest += batch
        elif self._mode != _UNKNOWN:
            self._search(batch)  # it is too long to be read, and is looked through all the same

    def finish(self) -> None:
        """Count what is known only at the end."""
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
            self._words[self._base + At.TOOL_CALLS] += 1
            said = unescaped(name) + b"\n" + unescaped(arguments)
            self._texts.put(TextKind.TOOL, self._number, said)

    def _sniff(self, batch: bytes, *, last: bool) -> None:
        """Tell by its first bytes what comes; too few of them wait for more."""
        begin = batch[:16].lstrip()
        if len(begin) < _TELLING and not last:
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
        if self._marks is not None:
            self.ident = ident_of(batch)

    def _spelling(self, data: bytes) -> bytes:
        """Tell whether this server writes a blank behind a colon, as soon as one is there."""
        if not self._colon:
            compact, spaced = b'":"' in data, b'": "' in data
            self._colon = b':"' if compact else b': "' if spaced else b""
        return self._colon or b':"'

    def _take_events(self, batch: bytes) -> None:
        """Take in lines of a stream of events; a line that is not complete waits."""
        lines = self._rest + batch if self._rest else batch
        self._rest = b""
        if not lines.endswith(b"\n"):
            cut = lines.rfind(b"\n") + 1
            lines, self._rest = lines[:cut], lines[cut:]
            if len(self._rest) > _LONGEST_LINE:
                self._search(self._rest)
                self._rest = b""
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
        self._texts.put(TextKind.TEXT, self._number, unescaped(window))

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
        reason = reason_of(tail[-_LAST:])
        if reason is None:
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
            self._texts.put(TextKind.WHOLE if short else TextKind.ANSWER, self._number, begin)
        if self._text and not short:
            self._tell(self._text)
