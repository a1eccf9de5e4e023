"""`detectors.whitening` for many windows of one length at once, a column each."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from offswitch.watch.detectors.whitening import (
    CLEAN,
    CLIP,
    LAGS,
    NORMAL,
    RELATIVE_GRAIN,
    SIGNIFICANT,
    SMALLEST,
    STEADIEST,
)

__all__ = ["Whiteners", "whiten"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Whiteners:
    """What the windows taught; see `detectors.whitening.Whitener`."""

    centre: Floats
    grain: Floats
    phi: Floats
    """[lag, series]"""
    middle: Floats
    bound: Floats
    past: Floats
    """[lag, series], latest first."""
    left: Floats
    """The residuals of all but the first values, [time, series]."""


def _within(values: Floats, bound: Floats) -> Floats:
    return np.minimum(np.maximum(values, -bound), bound)


def whiten(windows: Floats, floor: float = 0.0) -> Whiteners:
    """Learn from windows, [time, series]."""
    centre = np.median(windows, axis=0)
    grain = np.maximum(max(floor, SMALLEST), RELATIVE_GRAIN * np.abs(centre))
    y = windows - centre
    spread = np.maximum(NORMAL * np.median(np.abs(y), axis=0), grain)
    phi = _coefficients(_within(y, CLIP * spread))
    plain = _residuals(y, y, phi)
    middle = np.median(plain, axis=0)
    out = plain - middle
    bound = CLEAN * np.maximum(NORMAL * np.median(np.abs(out), axis=0), grain)
    clean = np.concatenate(
        [_within(y[:LAGS], CLEAN * spread), y[LAGS:] - (out - _within(out, bound))]
    )
    left = _residuals(y, clean, phi)
    return Whiteners(centre, grain, phi, middle, bound, clean[: -LAGS - 1 : -1], left)


def _residuals(y: Floats, past: Floats, phi: Floats) -> Floats:
    left = y[LAGS:].copy()
    for lag in range(1, LAGS + 1):
        left -= phi[lag - 1] * past[LAGS - lag : -lag]
    return left


def _coefficients(y: Floats) -> Floats:
    y = y - y.mean(axis=0)
    power = np.einsum("ts,ts->s", y, y)
    still = power <= 0.0
    power[still] = 1.0
    least = SIGNIFICANT / math.sqrt(len(y))
    r = [np.einsum("ts,ts->s", y[: len(y) - lag], y[lag:]) / power for lag in range(LAGS + 1)]
    phi: list[Floats] = []
    left = np.ones_like(power)
    for lag in range(1, LAGS + 1):
        known = sum((one * r[lag - 1 - n] for n, one in enumerate(phi)), np.zeros_like(power))
        partial = np.clip((r[lag] - known) / left, -STEADIEST, STEADIEST)
        partial[(np.abs(partial) < least) | still] = 0.0
        phi = [one - partial * two for one, two in zip(phi, reversed(phi), strict=True)]
        phi.append(partial)
        left = left * (1.0 - partial * partial)
    return np.stack(phi)
