"""CUSUM over many series at once: `detectors.cusum.Cusum` in arrays, a column for each series."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from offswitch.watch.detectors.cusum import LARGEST, MOST_Z, CusumSection, limit
from offswitch.watch.detectors.whitening import NORMAL, RELATIVE_GRAIN, SMALLEST

__all__ = ["CusumBank"]

Floats = npt.NDArray[np.float64]
Slots = npt.NDArray[np.intp]


class CusumBank:
    """The two sums of each of many series."""

    __slots__ = ("_above", "_below", "_centre", "_count", "_floor", "_limit", "_past", "_slack",
                 "_spread", "_window")  # fmt: skip

    def __init__(self, capacity: int, settings: CusumSection) -> None:
        """Have room for `capacity` series, all judged by the same settings."""
        self._window, self._slack = settings.window, settings.slack
        self._floor, self._limit = (
            settings.floor,
            limit(settings.run_length, settings.slack, settings.window),
        )
        self._past: Floats = np.zeros((settings.window, capacity))
        self._count = np.zeros(capacity, np.int64)
        self._centre, self._spread = np.zeros(capacity), np.zeros(capacity)
        self._above, self._below = np.zeros(capacity), np.zeros(capacity)

    def join(self, slot: int) -> None:
        """Begin a series at a slot, whatever was there before."""
        for one in (self._count, self._centre, self._spread, self._above, self._below):
            one[slot] = 0

    def update(self, slots: Slots, values: Floats) -> Floats:
        """Add one deviation of each slot; gives the scores, not a number where the value is none.

        One call takes each slot at most once.
        """
        scores = np.full(len(slots), np.nan)
        known = ~np.isnan(values)
        slots, values = slots[known], np.clip(values[known], -LARGEST, LARGEST)
        count = self._count[slots]
        self._learn(slots[(count > 0) & (count % self._window == 0)])
        self._past[count % self._window, slots] = values
        self._count[slots] = count + 1
        spread = self._spread[slots]
        learnt = spread > 0
        z = (values - self._centre[slots]) / np.where(learnt, spread, 1.0)
        z = np.where(learnt, np.clip(z, -MOST_Z, MOST_Z), 0.0)
        above = np.maximum(0.0, self._above[slots] + z - self._slack)
        below = np.maximum(0.0, self._below[slots] - z - self._slack)
        self._above[slots], self._below[slots] = above, below
        scores[known] = np.maximum(above, below) / self._limit
        return scores

    def _learn(self, slots: Slots) -> None:
        if not len(slots):
            return
        past = self._past[:, slots]
        centre = np.median(past, axis=0)
        spread = NORMAL * np.median(np.abs(past - centre), axis=0)
        least = np.maximum(max(self._floor, SMALLEST), RELATIVE_GRAIN * np.abs(centre))
        self._centre[slots], self._spread[slots] = centre, np.maximum(spread, least)
