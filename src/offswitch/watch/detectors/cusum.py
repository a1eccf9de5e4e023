"""CUSUM: small deviations to one side add up to a large one.

    z   = (value - centre) / spread, at most 4 either way
    S+  = max(0, S+ + z - k),   S- = max(0, S- - z - k)          k = `slack`, half the shift sought
    score = max(S+, S-) / h;   beyond when score > 1

Page 1954, in its two-sided tabular form. h is found from the declared mean run length between
false alarms by Siegmund's approximation (1985): L = (exp(2 k b) - 2 k b - 1) / (2 k^2) readings for
one side, b = h + 1.166, and half of that for both. **It is declared for independent normal readings
whose centre and spread are known.** Seen: a CUSUM for one false alarm in 938 gave one in 494 on
heavy-tailed, 143 on log-normal and 94 on autocorrelated noise. Where the noise is not known, use
`e_detector`; this one is quicker on small shifts of what is known to be calm.

Centre and spread are the median and 1.4826 times the median deviation of `window` readings, taken
anew after each `window`; what lasts longer is the new normal. Clipping keeps a single odd reading
from being an alarm.

    { kind = "cusum", series = 'engine.latency_ms', run_length = 10_000 }
"""

from __future__ import annotations

import math
from collections import deque
from statistics import median
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from offswitch.watch.detectors.contract import Verdict
from offswitch.watch.detectors.deadband import Deadband, DeadbandSection
from offswitch.watch.detectors.whitening import NORMAL, RELATIVE_GRAIN, SMALLEST

__all__ = ["LARGEST", "MOST_Z", "Cusum", "CusumSection", "limit"]

MOST_Z = 4.0
LARGEST = 1e150
_OVERSHOOT = 1.166


class CusumSection(DeadbandSection):
    """The keys of a CUSUM."""

    kind: Literal["cusum"]
    run_length: Annotated[float, Field(ge=100, le=1e12)] = 10_000
    """Declared for normal readings: so many pass between false alarms, on the average."""
    slack: Annotated[float, Field(gt=0, le=2)] = 0.5
    """How far from the centre, in spreads, is no deviation yet."""
    window: Annotated[int, Field(ge=16, le=4096)] = 128
    """How many readings say what is usual, and for how many they say it."""
    floor: Annotated[float, Field(ge=0)] = 0.0
    """The least spread, in the series' own unit; a thousandth of the centre at least."""


def limit(run_length: float, slack: float) -> float:
    """Give h for a two-sided mean run length, by bisection."""

    def length(high: float) -> float:
        reach = 2.0 * slack * (high + _OVERSHOOT)
        return (math.exp(reach) - reach - 1.0) / (2.0 * slack * slack)

    low, high = 0.0, 1.0
    while length(high) < 2.0 * run_length:
        high *= 2.0
    for _ in range(60):
        middle = (low + high) / 2.0
        low, high = (middle, high) if length(middle) < 2.0 * run_length else (low, middle)
    return high


class Cusum:
    """Two sums."""

    Settings: ClassVar[type[CusumSection]] = CusumSection

    __slots__ = ("_above", "_alarm", "_below", "_centre", "_count", "_limit", "_past", "_settings",
                 "_spread")  # fmt: skip

    def __init__(self, settings: CusumSection) -> None:
        self._settings = settings
        self._alarm = Deadband(settings)
        self._limit = limit(settings.run_length, settings.slack)
        self._past: deque[float] = deque(maxlen=settings.window)
        self._count = 0
        self._centre = self._spread = 0.0
        self._above = self._below = 0.0

    def update(self, mono_us: int, value: float) -> Verdict:
        """Add one deviation, then learn the value."""
        settings = self._settings
        value = min(max(value, -LARGEST), LARGEST)
        if self._count and self._count % settings.window == 0:
            self._learn()
        self._past.append(value)
        self._count += 1
        if not self._spread:
            return Verdict(0.0, self._alarm.raised, f"{value:g}, still learning")
        z = min(max((value - self._centre) / self._spread, -MOST_Z), MOST_Z)
        self._above = max(0.0, self._above + z - settings.slack)
        self._below = max(0.0, self._below - z - settings.slack)
        score = max(self._above, self._below) / self._limit
        raised = self._alarm.update(mono_us, beyond=score > 1, inside=score < 1 - settings.deadband)
        low, high = self._centre - 3 * self._spread, self._centre + 3 * self._spread
        why = f"{value:g}, usual {low:g} to {high:g}; sum {score * self._limit:.3g} of "
        why += f"{self._limit:.3g} spreads"
        return Verdict(score, raised, why, self._claim(low, high) if raised else {})

    def _learn(self) -> None:
        floor = self._settings.floor
        self._centre = median(self._past)
        self._spread = max(
            NORMAL * median(abs(one - self._centre) for one in self._past),
            floor,
            RELATIVE_GRAIN * abs(self._centre),
            SMALLEST,
        )

    def _claim(self, low: float, high: float) -> dict[str, str]:
        return {
            "band": f"{low:g} to {high:g}",
            "declared": f"a false alarm in {self._settings.run_length:g} readings, if they are "
            "independent and normal; more often if not",
            "contradicts": "the readings are heavy-tailed or hang together, or lie in the band "
            "again from here on",
        }

    def rearm(self) -> None:
        """Let the alarm fall, and begin both sums anew."""
        self._above = self._below = 0.0
        self._alarm.rearm()
