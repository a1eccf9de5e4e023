"""The e-detector over thousands of series at once: `detectors.e_detector.Evidence` in arrays.

    update(slots, values) -> M of each, 0 while it learns, not a number where the value is none

A series is a slot, a column of the arrays. Each has a count, a block and a whitener of its own, so
series may join and leave, and miss readings, whenever they do. One call takes each slot at most
once. Blocks of full size end at different counts, so that the sorting with which a block begins
falls on few series at a time; where it falls on too many, some begin their block later. About
2.5 KiB a series, of which 2 are its last 258 values; the arrays grow by doubling.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from offswitch.watch.detectors.e_detector import LARGEST, MOST
from offswitch.watch.detectors.urn import (
    BETS,
    BOLDNESS,
    LEVELS,
    MOST_BINS,
    USUAL,
    lot,
    timidity,
    urn,
    wandered,
)
from offswitch.watch.detectors.whitening import LAGS
from offswitch.watch.survey.whitening import whiten

__all__ = ["EvidenceBank", "longer"]

Floats = npt.NDArray[np.float64]
Slots = npt.NDArray[np.intp]

_WINDOW = LEVELS[-1] - 1 + LAGS
_LEARN = LEVELS[0] - 1 + LAGS
_LOTS = np.array([lot(count) for count in range(4096)])
_FIRST = 64
_MOST_BEGINNING = 256
"""Blocks that one update begins: each takes ten times as long as a reading."""

# Rows of the numbers of a series.
_PAST = slice(0, _WINDOW)
_CUTS = slice(_PAST.stop, _PAST.stop + MOST_BINS - 1)
_SUMS = slice(_CUTS.stop, _CUTS.stop + len(BETS))
_MASS = slice(_SUMS.stop, _SUMS.stop + len(BETS))
_PHI = slice(_MASS.stop, _MASS.stop + LAGS)
_LAG = slice(_PHI.stop, _PHI.stop + LAGS)
_TOTAL, _CENTRE, _GRAIN, _MIDDLE, _BOUND, _PEAK, _WANDER = range(_LAG.stop, _LAG.stop + 7)
_ROWS = _WANDER + 1
# Rows of its whole numbers. The level is one more than in `LEVELS`: at 0 it learns.
_COUNT, _DUE, _LEVEL, _LENGTH, _BLOCKS, _TIMID, _ROW = range(7)
_WHOLE = 7


def longer(slots: Slots) -> Slots:
    """Give by how much the first full block of each slot is longer, so that they end apart."""
    return slots * 97 % LEVELS[-1]


def _bets() -> Floats:
    """Give [bet, level and boldness and bin]; while a series learns no bet counts."""
    bets = np.zeros((len(LEVELS) + 1, len(BOLDNESS), MOST_BINS, len(BETS)))
    for level, gaps in enumerate(LEVELS, 1):
        one = urn(gaps)
        bets[level, :, : len(one.edges) + 1] = one.bets
    return bets.reshape(-1, len(BETS)).T.copy()


class EvidenceBank:
    """The evidence about each of many series."""

    __slots__ = ("_bets", "_floor", "_numbers", "_wander", "_whole", "begun", "capacity")

    def __init__(self, capacity: int, floor: float = 0.0, wander: float = 1.0) -> None:
        """Have room for `capacity` series; what is not used yet takes no memory.

        `wander` is supposed of each until its blocks have shown what it is.
        """
        self._wander = wander * wander
        self.capacity = capacity
        self.begun: Slots = np.empty(0, np.intp)
        """The slots that began a block by the last update."""
        self._floor = floor
        self._bets = _bets()
        self._numbers: Floats = np.zeros((_ROWS, 0))
        self._whole: npt.NDArray[np.int64] = np.zeros((_WHOLE, 0), np.int64)

    @property
    def room(self) -> int:
        """How many slots there are."""
        return int(self._whole.shape[1])

    def join(self, slot: int) -> None:
        """Begin a series at a slot, whatever was there before."""
        while slot >= self.room:
            room = min(max(2 * self.room, _FIRST), self.capacity)
            numbers, whole = np.zeros((_ROWS, room)), np.zeros((_WHOLE, room), np.int64)
            numbers[:, : self.room], whole[:, : self.room] = self._numbers, self._whole
            self._numbers, self._whole = numbers, whole
        self._numbers[:, slot] = 0.0
        self._numbers[_CUTS, slot] = np.inf
        self._numbers[_SUMS, slot] = 1.0
        self._numbers[_WANDER, slot] = self._wander
        self._whole[:, slot] = (0, _LEARN, 0, 0, 0, timidity(self._wander), 0)

    def length(self, slots: Slots) -> npt.NDArray[np.int64]:
        """Give how many readings the block of each slot has in all."""
        lengths: npt.NDArray[np.int64] = self._whole[_LENGTH, slots]
        return lengths

    def blocks(self, slots: Slots) -> npt.NDArray[np.int64]:
        """Give how many blocks of each slot have ended."""
        blocks: npt.NDArray[np.int64] = self._whole[_BLOCKS, slots]
        return blocks

    def update(self, slots: Slots, values: Floats) -> Floats:
        """Judge one value of each slot by those before it, then learn it; gives M."""
        known = ~np.isnan(values)
        if not known.all():
            mass = np.full(len(slots), np.nan)
            mass[known] = self.update(slots[known], values[known])
            return mass
        values = np.clip(values, -LARGEST, LARGEST)
        count = self._whole[_COUNT, slots]
        self.begun = self._beginning(slots, count)
        if len(self.begun):
            for level in np.unique(self._whole[_LEVEL, self.begun]):
                self._begin(self.begun[self._whole[_LEVEL, self.begun] == level], int(level))
        mass = self._judge(slots, values, count)
        # A block that should have ended goes on until it is its turn, and has no say meanwhile.
        mass[count >= self._whole[_DUE, slots]] = 0.0
        self._numbers[count % _WINDOW, slots] = values
        self._whole[_COUNT, slots] = count + 1
        return mass

    def _beginning(self, slots: Slots, count: npt.NDArray[np.int64]) -> Slots:
        """Give the slots that begin a block now: not too many at once, who waits longest first."""
        over = count - self._whole[_DUE, slots]
        begun = slots[over >= 0]
        if len(begun) > _MOST_BEGINNING:
            order = np.argsort(-over[over >= 0], kind="stable")
            begun = begun[order[:_MOST_BEGINNING]]
        return np.asarray(begun, np.intp)

    def _judge(self, slots: Slots, values: Floats, count: npt.NDArray[np.int64]) -> Floats:
        numbers = self._numbers
        lags = numbers[_LAG][:, slots]
        y = values - numbers[_CENTRE, slots]
        left = y - np.einsum("ls,ls->s", numbers[_PHI][:, slots], lags)
        out = left - numbers[_MIDDLE, slots]
        bound = numbers[_BOUND, slots]
        lags[1:] = lags[:-1].copy()
        lags[0] = y - (out - np.minimum(np.maximum(out, -bound), bound))
        numbers[_LAG, slots] = lags
        left += numbers[_GRAIN, slots] * (_LOTS[count & 4095] - 0.5)
        place = self._whole[_ROW, slots] + (numbers[_CUTS][:, slots] < left).sum(axis=0)
        bets = self._bets[:, place]
        sums, mass = numbers[_SUMS][:, slots], numbers[_MASS][:, slots]
        total = numbers[_TOTAL, slots]
        mass = np.minimum((mass + 1.0) * (bets * total / sums), MOST)
        numbers[_MASS, slots] = mass
        numbers[_SUMS, slots] = sums + bets
        numbers[_TOTAL, slots] = total + 1.0
        mean: Floats = mass.mean(axis=0)
        numbers[_PEAK, slots] = np.maximum(numbers[_PEAK, slots], mean)
        return mean

    def _begin(self, slots: Slots, level: int) -> None:
        """Begin a block of each slot, all of one level."""
        numbers, whole = self._numbers, self._whole
        gaps = LEVELS[min(level, len(LEVELS) - 1)]
        if level:
            self._learn_wander(slots)
        count = whole[_COUNT, slots]
        when = count - np.arange(gaps - 1 + LAGS, 0, -1)[:, None]
        seen = whiten(numbers[when % _WINDOW, slots], self._floor)
        lots = _LOTS[when[LAGS:] & 4095] - 0.5
        ordered = np.sort(seen.left + seen.grain * lots, axis=0)
        edges = urn(gaps).edges
        numbers[_CUTS, slots] = np.inf
        cuts = slice(_CUTS.start, _CUTS.start + len(edges))
        numbers[cuts, slots] = ordered[np.array(edges) - 1]
        numbers[_SUMS, slots] = numbers[_TOTAL, slots] = gaps
        numbers[_MASS, slots] = 0.0
        numbers[_PHI, slots], numbers[_LAG, slots] = seen.phi, seen.past
        numbers[_CENTRE, slots], numbers[_GRAIN, slots] = seen.centre, seen.grain
        numbers[_MIDDLE, slots], numbers[_BOUND, slots] = seen.middle, seen.bound
        length = np.full(len(slots), gaps)
        if level == len(LEVELS) - 1:
            length += longer(slots)
        level = min(level + 1, len(LEVELS))
        whole[_LEVEL, slots] = level
        whole[_ROW, slots] = (level * len(BOLDNESS) + whole[_TIMID, slots]) * MOST_BINS
        whole[_LENGTH, slots] = length
        whole[_DUE, slots] = count + length

    def _learn_wander(self, slots: Slots) -> None:
        """Take a block that has ended into the wander of each slot."""
        numbers, whole = self._numbers, self._whole
        peaks = (numbers[_PEAK, slots] / whole[_LENGTH, slots]).tolist()
        known = zip(
            numbers[_WANDER, slots].tolist(),
            whole[_BLOCKS, slots].tolist(),
            peaks,
            whole[_TIMID, slots].tolist(),
            strict=True,
        )
        squares = [wandered(*one) for one in known]
        numbers[_WANDER, slots], numbers[_PEAK, slots] = squares, 0.0
        whole[_TIMID, slots] = [timidity(square) for square in squares]
        whole[_BLOCKS, slots] += 1

    def usual(self, slot: int) -> tuple[float, float]:
        """Give between which values a series lay before its block, all but one in 32 at either end.

        Where nothing from before is kept, they are of the block itself.
        """
        count, due, length = (int(self._whole[row, slot]) for row in (_COUNT, _DUE, _LENGTH))
        kept = np.arange(max(count - _WINDOW, 0), count)
        before = kept[kept < due - length]
        chosen = before if len(before) else kept
        if not len(chosen):
            return (-np.inf, np.inf)
        low, high = np.quantile(self._numbers[chosen % _WINDOW, slot], (1 / USUAL, 1 - 1 / USUAL))
        return (float(low), float(high))

    def forget(self, slots: Slots) -> None:
        """Count no evidence so far; what is usual stays learnt."""
        self._numbers[_MASS, slots] = 0.0
