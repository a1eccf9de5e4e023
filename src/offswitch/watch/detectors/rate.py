"""Rate: how much came in the last `per`, of a series that says how much is new.

    rate  = sum of the readings with  now - per < time <= now
    score = rate / above;  beyond when rate > above, inside when rate < above * (1 - deadband)

The window slides, so a burst counts wherever it falls. Readings closer together than a
256th of the window are kept as one (with the later time, so they are never forgotten too
early), which bounds the memory however fast the target writes. Negative readings count 0.

    { kind = "rate", series = 'orders-db.rows_changed{table="prices"}', above = 50, per = "1s" }
"""

from __future__ import annotations

import math
from collections import deque
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from offswitch.config.duration import format_duration
from offswitch.config.section import Duration
from offswitch.watch.detectors.contract import Verdict
from offswitch.watch.detectors.deadband import Deadband, DeadbandSection

__all__ = ["Rate", "RateSection"]

_GRAINS = 256


class RateSection(DeadbandSection):
    """The keys of a rate."""

    kind: Literal["rate"]
    above: Annotated[float, Field(ge=0)]
    """Trips when more than this comes within `per`."""
    per: Duration = 1_000_000
    """The width of the sliding window."""


class Rate:
    """A sum over a sliding window."""

    Settings: ClassVar[type[RateSection]] = RateSection
    SHARES: ClassVar[bool] = True

    __slots__ = ("_alarm", "_grain", "_recent", "_settings")

    def __init__(self, settings: RateSection) -> None:
        self._settings = settings
        self._alarm = Deadband(settings)
        self._grain = settings.per // _GRAINS
        self._recent: deque[tuple[int, int, float]] = deque()
        """Begin and end of a grain, and its sum."""

    def update(self, mono_us: int, value: float) -> Verdict:
        """Add one reading and compare the window's sum."""
        recent, above = self._recent, self._settings.above
        if value > 0:
            if recent and mono_us - recent[-1][0] <= self._grain:
                begin, _, total = recent[-1]
                recent[-1] = (begin, mono_us, total + value)
            else:
                recent.append((mono_us, mono_us, value))
        while recent and recent[0][1] <= mono_us - self._settings.per:
            recent.popleft()
        rate = sum(total for _, _, total in recent) if not math.isnan(value) else value
        inside = rate < above * (1 - self._settings.deadband) or (above == 0 and rate == 0)
        raised = self._alarm.update(mono_us, beyond=rate > above, inside=inside)
        score = rate / above if above else 1 + rate
        per = format_duration(self._settings.per)
        return Verdict(score, raised, f"{rate:g} in {per}, limit {above:g}")

    def rearm(self) -> None:
        """Let the alarm fall, and forget what led to it."""
        self._recent.clear()
        self._alarm.rearm()
