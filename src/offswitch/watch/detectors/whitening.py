"""Whitening: what is left of a reading once its own past has said what to expect.

    y_t = x_t - median of the window
    r_t = y_t - (phi_1 c_(t-1) + phi_2 c_(t-2) + phi_3 c_(t-3))

The coefficients come from the autocorrelations of the window, clipped at three robust spreads and
centred, by the Levinson-Durbin recursion. A partial autocorrelation that is within 2.5 / sqrt(n) of
nought is taken for nought, so that white noise is left as it is: its residuals are then exactly as
exchangeable as it is itself. The past c is *cleaned* (Martin and Thomson 1982): a residual beyond
six spreads enters it as six, so that one odd reading has no echo in those after it.

Everything is fixed from a window that ended before the readings it is used on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median

__all__ = [
    "CLEAN",
    "CLIP",
    "LAGS",
    "NORMAL",
    "RELATIVE_GRAIN",
    "SIGNIFICANT",
    "SMALLEST",
    "STEADIEST",
    "Whitener",
    "whiten",
]

LAGS = 3
RELATIVE_GRAIN = 1e-3
"""Differences below this share of the usual value are not told apart."""
NORMAL = 1.4826
SIGNIFICANT = 2.5
CLIP = 3.0
CLEAN = 6.0
SMALLEST = 1e-12
STEADIEST = 0.99


@dataclass(slots=True)
class Whitener:
    """What a window taught, and the last cleaned values."""

    centre: float
    grain: float
    """The width below which values count as equal."""
    phi: tuple[float, float, float]
    middle: float
    """The median residual."""
    bound: float
    """How far from it a residual may be before it is cleaned."""
    past: tuple[float, float, float]
    """The cleaned values before the next one, latest first, less the centre."""

    def expected(self) -> float:
        """Give the value that the past speaks for, less the usual residual."""
        return self.centre + sum(a * c for a, c in zip(self.phi, self.past, strict=True))

    def residual(self, value: float) -> float:
        """Give what is left of the next value, and take it into the past."""
        y = value - self.centre
        left = y - sum(a * c for a, c in zip(self.phi, self.past, strict=True))
        out = left - self.middle
        over = out - min(max(out, -self.bound), self.bound)
        self.past = (y - over, self.past[0], self.past[1])
        return left


def whiten(window: Sequence[float], floor: float = 0.0) -> tuple[Whitener, list[float]]:
    """Learn from a window; gives the whitener and the residuals of all but its first values."""
    centre = median(window)
    grain = max(floor, RELATIVE_GRAIN * abs(centre), SMALLEST)
    y = [value - centre for value in window]
    spread = max(NORMAL * median(map(abs, y)), grain)
    phi = _coefficients([min(max(one, -CLIP * spread), CLIP * spread) for one in y])
    plain = _residuals(y, y, phi)
    middle = median(plain)
    bound = CLEAN * max(NORMAL * median(abs(one - middle) for one in plain), grain)
    clean = [min(max(one, -CLEAN * spread), CLEAN * spread) for one in y[:LAGS]]
    for one, left in zip(y[LAGS:], plain, strict=True):
        out = left - middle
        clean.append(one - (out - min(max(out, -bound), bound)))
    past = (clean[-1], clean[-2], clean[-3])
    return Whitener(centre, grain, phi, middle, bound, past), _residuals(y, clean, phi)


def _residuals(
    y: Sequence[float], past: Sequence[float], phi: tuple[float, float, float]
) -> list[float]:
    a, b, c = phi
    return [
        y[n] - (a * past[n - 1] + b * past[n - 2] + c * past[n - 3]) for n in range(LAGS, len(y))
    ]


def _coefficients(y: Sequence[float]) -> tuple[float, float, float]:
    mean = fmean(y)
    y = [one - mean for one in y]
    power = sum(one * one for one in y)
    if power <= 0.0:
        return (0.0, 0.0, 0.0)
    least = SIGNIFICANT / math.sqrt(len(y))
    r = [sum(one * two for one, two in zip(y, y[lag:], strict=False)) / power for lag in range(4)]
    phi: list[float] = []
    left = 1.0
    for lag in range(1, LAGS + 1):
        known = sum(one * r[lag - 1 - n] for n, one in enumerate(phi))
        partial = min(max((r[lag] - known) / left, -STEADIEST), STEADIEST)
        if abs(partial) < least:
            partial = 0.0
        phi = [one - partial * two for one, two in zip(phi, reversed(phi), strict=True)]
        phi.append(partial)
        left *= 1.0 - partial * partial
    return (phi[0], phi[1], phi[2])
