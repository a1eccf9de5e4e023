"""E-detector: evidence that something changed, with a false-alarm rate that holds by construction.

    r_t = what the series' own past does not explain      (`whitening`)
    e_t = bet on the bin of r_t over what an urn expects  (`urn`; E[e_t | past] = 1 while calm)
    M_t = mean over the bets of   M_t^j = (M_(t-1)^j + 1) e_t^j          M = 0 as a block begins
    score = ln(1 + M) / ln(1 + 2 run_length);   beyond when M >= 2 run_length

M is the Shiryaev-Roberts e-detector (Shin, Ramdas and Rinaldo, *E-detectors: a nonparametric
framework for sequential change detection*, NEJSDS 2024, after Roberts 1966): each reading stakes
one unit that the change begins here, and M - t is a martingale while there is none. The e-values
are conformal (Vovk 2021): made of ranks, so that the shape of the noise is of no account.

**Guarantee.** A block judges G readings, each against the G - 1 before the block; G is 32, 64, 128,
then 256. Let the residuals within each reference and its block be exchangeable, whatever their
distribution. Optional stopping gives P(alarm in a block) <= G / (2 run_length). References overlap
the blocks before, so blocks are not independent; the union bound asks for no independence:
P(alarm within T readings) <= T / (2 run_length), hence a mean run length of at least `run_length`
readings between false alarms. The factor of two is the price, 0.7 nats of delay.

**Where it may fail.** Coefficients are estimated: where the readings hang together the residuals
are only nearly exchangeable (benchmarks/false_alarms.py measures AR(1) with 0.5). Moods longer than
three readings make it timid (`urn`), by what they did before. Drift within 512 readings is a
change, and may be called one. A single odd reading is worth at most G, so it
takes two or three: for one value that must never be, use `threshold` or `robust_range`. What lasts
for more than a block is the new normal, and the alarm falls.

    { kind = "e_detector", series = 'engine.tokens_per_second', run_length = 10_000 }
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from offswitch.watch.detectors.contract import Verdict
from offswitch.watch.detectors.deadband import Deadband, DeadbandSection
from offswitch.watch.detectors.urn import BETS, LEVELS, USUAL, Urn, lot, timidity, urn, wandered
from offswitch.watch.detectors.whitening import LAGS, Whitener, whiten

__all__ = ["LARGEST", "MOST", "EDetector", "EDetectorSection"]

LARGEST = 1e150
"""Values beyond are taken for this: their squares must stay numbers."""
MOST = 1e30
"""Evidence beyond is not counted."""


class EDetectorSection(DeadbandSection):
    """The keys of an e-detector."""

    kind: Literal["e_detector"]
    run_length: Annotated[float, Field(ge=100, le=1e12)] = 10_000
    """Declared: at least this many readings pass between false alarms, on the average."""
    floor: Annotated[float, Field(ge=0)] = 0.0
    """Differences below this, or below a thousandth of the usual value, are not told apart."""


class Evidence:
    """The evidence about one series; `watch.survey.evidence_bank` does it for thousands."""

    __slots__ = (
        "_cuts",
        "_drawn",
        "_due",
        "_floor",
        "_level",
        "_longer",
        "_mass",
        "_past",
        "_peak",
        "_sums",
        "_timid",
        "_urn",
        "_wander",
        "_whitener",
        "blocks",
        "count",
    )

    def __init__(self, floor: float = 0.0, longer: int = 0, wander: float = 1.0) -> None:
        """Begin with nothing known of the series, and so much wander supposed.

        `longer`: by how much the first full block is, so that not all series' end together.
        """
        self._floor = floor
        self._longer = longer
        self._past: deque[float] = deque(maxlen=LEVELS[-1] - 1 + LAGS)
        self._level = -1
        self._due = LEVELS[0] - 1 + LAGS
        self._urn: Urn = urn(LEVELS[0])
        self._cuts: list[float] = []
        self._sums: list[float] = []
        self._mass = [0.0] * len(BETS)
        self._drawn = 0
        self._whitener: Whitener | None = None
        self._peak = 0.0
        self._wander = wander * wander
        self._timid = timidity(self._wander)
        self.blocks = 0
        """How many blocks it has judged to their end."""
        self.count = 0
        """How many values it has seen."""

    @property
    def learning(self) -> bool:
        """Whether it has seen too little to judge anything."""
        return self._whitener is None

    def update(self, value: float) -> float:
        """Judge one value by those before it, then learn it; gives M, 0 while it still learns."""
        value = min(max(value, -LARGEST), LARGEST)
        if self.count == self._due:
            self._begin()
        mass = 0.0 if self._whitener is None else self._judge(value, self._whitener)
        self._past.append(value)
        self.count += 1
        return mass

    def _begin(self) -> None:
        """Begin a block: what came last is its reference."""
        if self._drawn:
            peak = self._peak / self._drawn
            self._wander = wandered(self._wander, self.blocks, peak, self._timid)
            self._timid = timidity(self._wander)
            self._peak = 0.0
            self.blocks += 1
        longer = self._longer if self._level == len(LEVELS) - 2 else 0
        self._level = min(self._level + 1, len(LEVELS) - 1)
        gaps = LEVELS[self._level]
        self._urn = urn(gaps)
        window = list(self._past)[-(gaps - 1 + LAGS) :]
        self._whitener, left = whiten(window, self._floor)
        grain, first = self._whitener.grain, self.count - len(left)
        ordered = sorted(one + grain * (lot(first + n) - 0.5) for n, one in enumerate(left))
        self._cuts = [ordered[edge - 1] for edge in self._urn.edges]
        self._sums = [float(gaps)] * len(BETS)
        self._mass = [0.0] * len(BETS)
        self._drawn = 0
        self._due = self.count + gaps + longer

    def _judge(self, value: float, whitener: Whitener) -> float:
        left = whitener.residual(value) + whitener.grain * (lot(self.count) - 0.5)
        total = self._urn.gaps + self._drawn
        for j, bet in enumerate(self._urn.bets[self._timid][bisect_left(self._cuts, left)]):
            self._mass[j] = min((self._mass[j] + 1.0) * (bet * total / self._sums[j]), MOST)
            self._sums[j] += bet
        self._drawn += 1
        mass = sum(self._mass) / len(BETS)
        self._peak = max(self._peak, mass)
        return mass

    def usual(self) -> tuple[float, float]:
        """Give the band in which the next value is expected, all but a sixteenth of the time."""
        if self._whitener is None:
            return (-math.inf, math.inf)
        expected, outer = self._whitener.expected(), self._urn.gaps // USUAL
        ends = [cut for cut, edge in zip(self._cuts, self._urn.edges, strict=True) if edge == outer]
        far = self._urn.gaps - outer
        ends += [cut for cut, edge in zip(self._cuts, self._urn.edges, strict=True) if edge == far]
        return (expected + ends[0], expected + ends[1])

    def forget(self) -> None:
        """Count no evidence so far; what is usual stays learnt."""
        self._mass = [0.0] * len(BETS)


class EDetector:
    """Judges one series by evidence."""

    Settings: ClassVar[type[EDetectorSection]] = EDetectorSection

    __slots__ = ("_alarm", "_evidence", "_limit", "_settings")

    def __init__(self, settings: EDetectorSection) -> None:
        self._settings = settings
        self._alarm = Deadband(settings)
        self._evidence = Evidence(settings.floor)
        self._limit = 2.0 * settings.run_length

    def update(self, mono_us: int, value: float) -> Verdict:
        """Stake on one value, then learn it."""
        low, high = self._evidence.usual()
        mass = self._evidence.update(value)
        if self._evidence.learning:
            return Verdict(0.0, self._alarm.raised, f"{value:g}, still learning")
        score = math.log1p(mass) / math.log1p(self._limit)
        inside = score < 1 - self._settings.deadband
        raised = self._alarm.update(mono_us, beyond=mass >= self._limit, inside=inside)
        why = f"{value:g}, usual {low:g} to {high:g}; evidence {mass:.3g} of {self._limit:g}"
        return Verdict(score, raised, why, self._claim(low, high) if raised else {})

    def _claim(self, low: float, high: float) -> dict[str, str]:
        return {
            "band": f"{low:g} to {high:g}",
            "declared": f"a false alarm in {self._settings.run_length:g} readings at most, in the "
            "mean, whatever the noise, where calm residuals are exchangeable",
            "contradicts": "the next readings lie in the band, or a drift or a change of load "
            "that people know of explains it",
        }

    def rearm(self) -> None:
        """Let the alarm fall, and count no evidence of before."""
        self._evidence.forget()
        self._alarm.rearm()
