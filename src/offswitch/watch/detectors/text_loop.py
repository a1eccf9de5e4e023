"""Text loop: what is written says the same again and again, as a model does that is trapped.

    share = 1 - different runs of `words` words / all such runs, of the last `window` words
    score = share / above;   beyond when share > above and the window is full

Plain prose repeats 1 to 5 % of its runs of four words, lists and tables up to 40 %; a model in a
loop of tokens 90 % and more (Holtzman et al., 2020, on degeneration). The text is a reading's
detail `text` or `line`; its digits count as one, so that a counter in it hides no loop. Words
are cut at 40 letters, a text without spaces after every 8.

    { kind = "text_loop", series = "log.line", above = 0.8 }
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from offswitch.watch.detectors.contract import Verdict
from offswitch.watch.detectors.deadband import Deadband, DeadbandSection

__all__ = ["TextLoop", "TextLoopSection"]

_KEYS = ("text", "line", "content")
_DIGITS = re.compile(r"\d+")
_LONGEST_WORD, _PIECE = 40, 8
_MOST_WORDS = 1000


class TextLoopSection(DeadbandSection):
    """The keys of a text loop."""

    kind: Literal["text_loop"]
    above: Annotated[float, Field(gt=0, lt=1)] = 0.8
    """Trips when more than this share of it was there before."""
    window: Annotated[int, Field(ge=20, le=10_000)] = 200
    """How many words are looked at."""
    words: Annotated[int, Field(ge=1, le=8)] = 4
    """How many words in a row count as one."""


class TextLoop:
    """Text that goes in circles."""

    Settings: ClassVar[type[TextLoopSection]] = TextLoopSection
    EVENTS: ClassVar[bool] = True

    __slots__ = ("_alarm", "_counts", "_last", "_runs", "_settings")

    def __init__(self, settings: TextLoopSection) -> None:
        self._settings = settings
        self._alarm = Deadband(settings)
        self._last: deque[str] = deque(maxlen=settings.words)
        self._runs: deque[int] = deque()
        self._counts: Counter[int] = Counter()

    def update(
        self, mono_us: int, value: float, detail: Mapping[str, str] | None = None
    ) -> Verdict:
        """Take in one text; a reading of 0, or one without a text, says nothing."""
        text = next((detail[key] for key in _KEYS if key in detail), "") if detail else ""
        if not value > 0 or not text:
            raised = self._alarm.update(mono_us, beyond=False, inside=not self._runs)
            return Verdict(0.0, raised, "no text")
        settings = self._settings
        for word in _words(text):
            self._last.append(word)
            if len(self._last) == settings.words:
                self._add(hash_of(self._last))
        full = len(self._runs) >= settings.window
        share = 1 - len(self._counts) / len(self._runs) if full else 0.0
        score = share / settings.above
        inside = score < 1 - settings.deadband
        raised = self._alarm.update(mono_us, beyond=score > 1, inside=inside)
        evidence = {
            "band": f"up to {settings.above:.0%}",
            "contradicts": "it is a table or a list that is wanted like this",
        }
        return Verdict(score, raised, f"{share:.0%} of it was there before", evidence)

    def _add(self, run: int) -> None:
        self._runs.append(run)
        self._counts[run] += 1
        if len(self._runs) > self._settings.window:
            old = self._runs.popleft()
            self._counts[old] -= 1
            if not self._counts[old]:
                del self._counts[old]

    def rearm(self) -> None:
        """Let the alarm fall, and forget what led to it."""
        self._last.clear()
        self._runs.clear()
        self._counts.clear()
        self._alarm.rearm()


def hash_of(words: deque[str]) -> int:
    """Give a number for a run of words; equal runs have equal ones."""
    return hash(tuple(words))


def _words(text: str) -> Iterator[str]:
    for word in islice(_DIGITS.sub("0", text).split(), _MOST_WORDS):
        if len(word) <= _LONGEST_WORD:
            yield word
        else:
            end = min(len(word), _LONGEST_WORD * 10)
            yield from (word[at : at + _PIECE] for at in range(0, end, _PIECE))
