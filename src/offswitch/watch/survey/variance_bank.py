"""Variance change over many series at once: `detectors.variance.Variance` in arrays."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from offswitch.watch.detectors.variance import LARGEST, MOST_SPREADS, VarianceSection
from offswitch.watch.detectors.whitening import RELATIVE_GRAIN, SMALLEST

__all__ = ["VarianceBank"]

Floats = npt.NDArray[np.float64]
Slots = npt.NDArray[np.intp]


class VarianceBank:
    """The two variances of each of many series."""

    __slots__ = ("_count", "_grain", "_last", "_level", "_now", "_settings", "_squares", "_usual")

    def __init__(self, capacity: int, settings: VarianceSection) -> None:
        """Have room for `capacity` series, all judged by the same settings."""
        self._settings = settings
        self._count = np.zeros(capacity, np.int64)
        self._last, self._level, self._squares = (np.zeros(capacity) for _ in range(3))
        self._now, self._usual, self._grain = (np.zeros(capacity) for _ in range(3))

    def join(self, slot: int) -> None:
        """Begin a series at a slot, whatever was there before."""
        self._count[slot] = 0
        for one in (self._last, self._level, self._squares, self._now, self._usual, self._grain):
            one[slot] = 0.0

    def update(self, slots: Slots, values: Floats) -> Floats:
        """Compare the spread of each slot; gives the scores, not a number where the value is none.

        One call takes each slot at most once.
        """
        settings = self._settings
        scores = np.full(len(slots), np.nan)
        known = ~np.isnan(values)
        slots, values = slots[known], np.clip(values[known], -LARGEST, LARGEST)
        count = self._count[slots]
        self._learn(slots[(count > 0) & (count % settings.window == 0)])
        step = np.where(count > 0, values - self._last[slots], 0.0)
        self._count[slots], self._last[slots] = count + 1, values
        half = step * step / 2.0
        self._level[slots] += values / settings.window
        self._squares[slots] += half / settings.window
        grain = self._grain[slots]
        learnt = grain > 0
        grain = np.where(learnt, grain, 1.0)
        base = self._usual[slots] + grain * grain
        square = np.minimum(half, MOST_SPREADS * MOST_SPREADS * base)
        now = self._now[slots]
        now = np.where(learnt, now + (square - now) * 2.0 / (settings.recent + 1), 0.0)
        self._now[slots] = now
        out = np.where(learnt, np.log((now + grain * grain) / base), 0.0)
        if settings.side != "both":
            out = np.maximum(out if settings.side == "grows" else -out, 0.0)
        scores[known] = np.abs(out) / (2.0 * math.log(settings.ratio))
        return scores

    def _learn(self, slots: Slots) -> None:
        if not len(slots):
            return
        first = self._grain[slots] == 0
        least = max(self._settings.floor, SMALLEST)
        self._grain[slots] = np.maximum(least, RELATIVE_GRAIN * np.abs(self._level[slots]))
        self._usual[slots] = self._squares[slots]
        self._now[slots] = np.where(first, self._usual[slots], self._now[slots])
        self._level[slots] = self._squares[slots] = 0.0
