"""Prototypes: the shapes that one scale of a series has had (the maths: `shape_memory`).

It stands apart because numpy takes long to import, and the command line loads every kind
of detector to know its keys: whoever makes a detector imports this.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from offswitch.watch.detectors.past import Past, Surprise, spread

__all__ = ["INNER", "Prototypes", "Scale"]

Floats = np.ndarray[Any, np.dtype[np.float64]]

INNER = 0.02
"""Between which quantiles the spread is measured that scales differences."""
_FLOOR = 0.05
_PACE = 0.1


class Prototypes:
    """The shapes of one width at one scale."""

    __slots__ = (
        "_apart",
        "_count",
        "_nearest_at",
        "_rarity",
        "_shapes",
        "_times",
        "_vigilance",
        "width",
    )

    def __init__(self, width: int, room: int, vigilance: float, ranked: int) -> None:
        """Keep `room` shapes of `width` blocks, apart by `vigilance`; rank among `ranked`."""
        self.width = width
        """How many blocks a shape has."""
        self._vigilance = vigilance
        self._shapes: Floats = np.zeros((room, width))
        self._apart: Floats = np.empty((room, width))
        self._nearest_at = np.zeros(room, dtype=np.int64)
        self._count = self._times = 0
        self._rarity = Surprise(ranked)

    def take(self, shape: Floats, reach: float) -> float:
        """Give the surprise of the next shape, and learn it."""
        count, distance, place = self._count, 0.0, -1
        self._times += 1
        if count:
            apart = self._apart[:count]
            np.subtract(self._shapes[:count], shape, out=apart)
            np.abs(apart, out=apart)
            np.minimum(apart, reach, out=apart)
            squares = np.einsum("ij,ij->i", apart, apart)
            place = int(squares.argmin())
            distance = math.sqrt(float(squares[place]) / self.width) / reach
        if place >= 0 and distance < self._vigilance:
            nearest = self._shapes[place]
            nearest += _PACE * (shape - nearest)
        else:
            place = self._vacancy()
            self._shapes[place] = shape
        self._nearest_at[place] = self._times
        return self._rarity.of(distance)

    def _vacancy(self) -> int:
        if self._count < len(self._shapes):
            self._count += 1
            return self._count - 1
        return int(self._nearest_at.argmin())


class Scale:
    """A series averaged in blocks of `step` readings, and its shapes."""

    __slots__ = ("_blocks", "_count", "_filled", "_memories", "_step", "_sum")

    def __init__(self, step: int, memories: Sequence[Prototypes]) -> None:
        """Average blocks of `step` readings for these memories."""
        self._step = step
        self._memories = tuple(memories)
        self._blocks: Floats = np.zeros(max(memory.width for memory in memories))
        self._filled = 0
        self._sum, self._count = 0.0, 0

    def take(self, value: float, past: Past) -> tuple[float, ...] | None:
        """Take in a reading; give the surprise of each width where a block ends, else None."""
        self._sum += value
        self._count += 1
        if self._count < self._step:
            return None
        blocks = self._blocks
        blocks[:-1] = blocks[1:]
        blocks[-1] = self._sum / self._step
        self._sum, self._count = 0.0, 0
        self._filled += 1
        if not past:
            return None
        reach = spread(past, INNER, _FLOOR)
        return tuple(
            memory.take(blocks[-memory.width :], reach) if self._filled >= memory.width else 0.0
            for memory in self._memories
        )
