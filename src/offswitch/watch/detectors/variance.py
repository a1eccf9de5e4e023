"""Variance change: readings jump about more, or less, than they did.

    V     = EWMA of d^2 / 2,  d = value - the one before      weight 2 / (recent + 1)
    V0    = mean of d^2 / 2 over the last whole `window`
    score = |ln((V + g^2) / (V0 + g^2))| / (2 ln ratio);   beyond when score > 1

Half the mean square of successive differences is a variance that a level, a trend and a slow season
leave alone (von Neumann, Kent, Bellinson and Hart 1941). g is the grain below which differences do
not count: `floor`, or a thousandth of the usual value. A difference counts as eight spreads at
most, so that one jump is worth less than a ratio of 3. It rests on no distribution and declares no
rate. A series that freezes at one value (a stuck sensor, a model that repeats itself) is *less*.

    { kind = "variance", series = 'train.gradient_norm', ratio = 3 }
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from offswitch.watch.detectors.contract import Verdict
from offswitch.watch.detectors.deadband import Deadband, DeadbandSection
from offswitch.watch.detectors.whitening import RELATIVE_GRAIN, SMALLEST

__all__ = ["LARGEST", "MOST_SPREADS", "Variance", "VarianceSection"]

LARGEST = 1e70
"""Values beyond are taken for this: sums of their squares must stay numbers."""
MOST_SPREADS = 8.0


class VarianceSection(DeadbandSection):
    """The keys of a variance change."""

    kind: Literal["variance"]
    ratio: Annotated[float, Field(gt=1)] = 3.0
    """Trips when the spread is so many times what it was, or less than one so-manieth."""
    recent: Annotated[int, Field(ge=4, le=1024)] = 20
    """How many readings are about *now*."""
    window: Annotated[int, Field(ge=16, le=4096)] = 128
    """How many readings say what is usual, and for how many they say it."""
    floor: Annotated[float, Field(ge=0)] = 0.0
    """Differences below this are none, in the series' own unit."""
    side: Literal["both", "grows", "shrinks"] = "both"


class Variance:
    """Two variances."""

    Settings: ClassVar[type[VarianceSection]] = VarianceSection

    __slots__ = ("_alarm", "_count", "_grain", "_last", "_level", "_now", "_settings", "_squares",
                 "_usual")  # fmt: skip

    def __init__(self, settings: VarianceSection) -> None:
        self._settings = settings
        self._alarm = Deadband(settings)
        self._count = 0
        self._last: float | None = None
        self._level = self._squares = 0.0
        self._now = self._usual = self._grain = 0.0

    def update(self, mono_us: int, value: float) -> Verdict:
        """Compare the spread of now with the usual one, then learn."""
        settings = self._settings
        value = min(max(value, -LARGEST), LARGEST)
        if self._count and self._count % settings.window == 0:
            self._learn()
        step = 0.0 if self._last is None else value - self._last
        self._count += 1
        self._last = value
        self._level += value / settings.window
        self._squares += step * step / (2.0 * settings.window)
        if not self._grain:
            return Verdict(0.0, self._alarm.raised, f"{value:g}, still learning")
        base = self._usual + self._grain * self._grain
        square = min(step * step / 2.0, MOST_SPREADS * MOST_SPREADS * base)
        self._now += (square - self._now) * 2.0 / (settings.recent + 1)
        out = math.log((self._now + self._grain * self._grain) / base)
        if settings.side != "both":
            out = max(out if settings.side == "grows" else -out, 0.0)
        score = abs(out) / (2.0 * math.log(settings.ratio))
        raised = self._alarm.update(mono_us, beyond=score > 1, inside=score < 1 - settings.deadband)
        now, usual = math.sqrt(self._now), math.sqrt(base)
        why = f"it spreads by {now:g}, usual {usual:g}; limit {settings.ratio:g} times"
        return Verdict(score, raised, why, self._claim(usual) if raised else {})

    def _learn(self) -> None:
        first = not self._grain
        self._grain = max(self._settings.floor, RELATIVE_GRAIN * abs(self._level), SMALLEST)
        self._usual = self._squares
        if first:
            self._now = self._usual
        self._level = self._squares = 0.0

    def _claim(self, usual: float) -> dict[str, str]:
        ratio = self._settings.ratio
        return {
            "band": f"spread {usual / ratio:g} to {usual * ratio:g}",
            "contradicts": "one jump and no more: the spread is the usual one again within "
            f"{self._settings.recent} readings",
        }

    def rearm(self) -> None:
        """Let the alarm fall: now is taken for usual, and the step to what comes next for none."""
        self._now, self._last = self._usual, None
        self._alarm.rearm()
