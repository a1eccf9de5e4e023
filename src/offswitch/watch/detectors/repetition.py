"""Repetition: the same call, or the same short cycle of calls, again and again.

    run[p]  = how many calls in a row equalled the one p calls before,   p = 1 … longest
    repeats = 1 + run[p] // p
    crowd   = of the last 4 * times calls, the share of those that were made four times in there
    score   = the larger of  repeats / times  and  crowd / share;   beyond when score >= 1

The crowd finds a loop into which other work of the same target falls: helpers and sessions that
run beside it. It is judged once so many calls were made, and only where arguments are told.

Two calls are equal if tool and arguments are. Where nobody tells arguments, equal names say
little (a search is called often), so `times_unnamed` counts instead. A pause longer than `gap`
ends a run: what is asked once an hour is a schedule, not a loop.

    { kind = "repetition", series = 'guard.step{kind="tool"}', times = 10 }
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from offswitch.config.section import Duration
from offswitch.watch.detectors.call import call_of
from offswitch.watch.detectors.contract import Verdict
from offswitch.watch.detectors.deadband import Deadband, DeadbandSection

__all__ = ["Repetition", "RepetitionSection"]

_SHOWN = 120
_OFTEN = 4


class RepetitionSection(DeadbandSection):
    """The keys of a repetition."""

    kind: Literal["repetition"]
    times: Annotated[int, Field(ge=2, le=1000)] = 10
    """How often in a row a call or cycle may be made, less one."""
    times_unnamed: Annotated[int, Field(ge=2, le=10_000)] = 60
    """The same where arguments are not told."""
    longest: Annotated[int, Field(ge=1, le=32)] = 8
    """Of how many calls a cycle may consist."""
    share: Annotated[float, Field(gt=0, le=1)] = 0.6
    """Which share of the last calls may be such as were made again and again."""
    gap: Duration = 120_000_000
    """The pause that ends a run."""


class Repetition:
    """Calls that go in circles."""

    Settings: ClassVar[type[RepetitionSection]] = RepetitionSection
    EVENTS: ClassVar[bool] = True

    __slots__ = ("_alarm", "_crowd", "_last", "_last_us", "_often", "_past", "_runs", "_settings")

    def __init__(self, settings: RepetitionSection) -> None:
        self._settings = settings
        self._alarm = Deadband(settings)
        self._past: deque[bytes] = deque(maxlen=settings.longest)
        """The last calls, the newest first."""
        self._runs = [0] * (settings.longest + 1)
        self._last: deque[bytes] = deque()
        """The calls among which a crowd is looked for."""
        self._crowd: Counter[bytes] = Counter()
        self._often = 0
        """How many of them were made so often."""
        self._last_us: int | None = None

    def update(
        self, mono_us: int, value: float, detail: Mapping[str, str] | None = None
    ) -> Verdict:
        """Take in one call; a reading of 0 says that there was none."""
        settings = self._settings
        if self._last_us is not None and mono_us - self._last_us > settings.gap:
            self._forget()
        if not value > 0:
            raised = self._alarm.update(mono_us, beyond=False, inside=self._last_us is None)
            return Verdict(0.0, raised, "no call")
        self._last_us = mono_us
        call = call_of(detail or {})
        mark = call.fingerprint()
        repeats, period = 1, 1
        for at in range(1, settings.longest + 1):
            same = at <= len(self._past) and self._past[at - 1] == mark
            self._runs[at] = min(self._runs[at] + 1, 1_000_000) if same else 0
            if 1 + self._runs[at] // at > repeats:
                repeats, period = 1 + self._runs[at] // at, at
        self._past.appendleft(mark)
        limit = settings.times if call.args else settings.times_unnamed
        crowd = self._share_of(mark) if call.args else 0.0
        score = max(repeats / limit, crowd / settings.share)
        raised = self._alarm.update(
            mono_us, beyond=score >= 1, inside=score < 1 - settings.deadband
        )
        what = call.name[:_SHOWN] if period == 1 else f"a cycle of {period} calls"
        evidence = {
            "band": f"less than {limit} in a row",
            "contradicts": "each of the calls gave something new",
        }
        why = f"{what}, {repeats} times in a row"
        if crowd >= settings.share:
            why = f"{crowd:.0%} of the last {len(self._last)} calls were made again and again"
        return Verdict(score, raised, why, evidence)

    def _share_of(self, mark: bytes) -> float:
        """Take a call in; give the crowd's share, 0 until there are enough calls."""
        size = 4 * self._settings.times
        self._last.append(mark)
        self._crowd[mark] += 1
        count = self._crowd[mark]
        self._often += 1 if count > _OFTEN else _OFTEN if count == _OFTEN else 0
        if len(self._last) <= size:
            return 0.0
        old = self._last.popleft()
        count = self._crowd[old]
        self._often -= 1 if count > _OFTEN else _OFTEN if count == _OFTEN else 0
        self._crowd[old] -= 1
        if not self._crowd[old]:
            del self._crowd[old]
        return self._often / size

    def _forget(self) -> None:
        self._past.clear()
        self._last.clear()
        self._crowd.clear()
        self._often = 0
        self._runs = [0] * len(self._runs)
        self._last_us = None

    def rearm(self) -> None:
        """Let the alarm fall, and forget what led to it."""
        self._forget()
        self._alarm.rearm()
