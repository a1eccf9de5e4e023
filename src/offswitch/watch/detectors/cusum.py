"""CUSUM: small deviations to one side add up to a large one.

    z   = (value - centre) / spread, at most 4 either way
    S+  = max(0, S+ + z - k),   S- = max(0, S- - z - k)          k = `slack`, half the shift sought
    score = max(S+, S-) / h;   beyond when score > 1

Page 1954, in its two-sided tabular form. Centre and spread are the median and 1.4826 times the
median deviation of `window` readings, taken anew after each `window`; what lasts longer is the new
normal. Clipping keeps a single odd reading from being an alarm.

h is found from the declared mean run length between false alarms by Siegmund's approximation
(1985): with drift D = -k and b = h + 1.166, (exp(-2 D b) + 2 D b - 1) / (2 D^2) readings for one
side. Centre and spread are estimates, off by about 1.25 / sqrt(window) spreads and a share of
1.17 / sqrt(window); a CUSUM that takes them for true alarms many times as often as it says. So h is
that at which the rate of alarms, averaged over what the estimates may be off by (Gauss-Hermite,
five nodes each), is the declared one.

**It is declared for independent normal readings only.** On others it alarms more often, see
benchmarks/false_alarms.py; where the noise is not known, use `e_detector`. This one is quicker on
small shifts of what is known to be calm and normal.

    { kind = "cusum", series = 'engine.latency_ms', run_length = 10_000 }
"""

from __future__ import annotations

import math
from collections import deque
from functools import cache
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
_MEDIAN_OFF = 1.2533
_SPREAD_OFF = 1.1664
_NODES = (
    (-2.85697, 0.0112574),
    (-1.355626, 0.2220759),
    (0.0, 0.5333333),
    (1.355626, 0.2220759),
    (2.85697, 0.0112574),
)
"""Gauss-Hermite, of a standard normal: where, and with what weight."""


class CusumSection(DeadbandSection):
    """The keys of a CUSUM."""

    kind: Literal["cusum"]
    run_length: Annotated[float, Field(ge=100, le=1e12)] = 10_000
    """Declared for normal readings: so many pass between false alarms, on the average."""
    slack: Annotated[float, Field(gt=0, le=2)] = 0.5
    """How far from the centre, in spreads, is no deviation yet."""
    window: Annotated[int, Field(ge=32, le=4096)] = 256
    """How many readings say what is usual, and for how many they say it."""
    floor: Annotated[float, Field(ge=0)] = 0.0
    """The least spread, in the series' own unit; a thousandth of the centre at least."""


@cache
def limit(run_length: float, slack: float, window: int) -> float:
    """Give h for a two-sided mean run length, by bisection."""
    low, high = 0.0, 1.0
    while _rate(high, slack, window) > 1.0 / run_length:
        high *= 2.0
    for _ in range(50):
        middle = (low + high) / 2.0
        short = _rate(middle, slack, window) > 1.0 / run_length
        low, high = (middle, high) if short else (low, middle)
    return high


def _rate(high: float, slack: float, window: int) -> float:
    """Give the alarms a reading, averaged over what the estimates are off by."""
    rate = 0.0
    for place, weight in _NODES:
        off = place * _MEDIAN_OFF / math.sqrt(window)
        for size, share in _NODES:
            stretch = math.exp(size * _SPREAD_OFF / math.sqrt(window))
            reach = high / stretch + _OVERSHOOT
            one = 1.0 / _length(off - slack / stretch, reach)
            rate += weight * share * (one + 1.0 / _length(-off - slack / stretch, reach))
    return rate


def _length(drift: float, reach: float) -> float:
    if abs(drift) * reach < 1e-4:  # noqa: PLR2004 - where the quotient is its limit
        return reach * reach
    power = min(-2.0 * drift * reach, 600.0)
    return (math.exp(power) - power - 1.0) / (2.0 * drift * drift)


class Cusum:
    """Two sums."""

    Settings: ClassVar[type[CusumSection]] = CusumSection

    __slots__ = ("_above", "_alarm", "_below", "_centre", "_count", "_limit", "_past", "_settings",
                 "_spread")  # fmt: skip

    def __init__(self, settings: CusumSection) -> None:
        self._settings = settings
        self._alarm = Deadband(settings)
        self._limit = limit(settings.run_length, settings.slack, settings.window)
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
