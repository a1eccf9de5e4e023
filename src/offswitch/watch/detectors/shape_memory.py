"""Shape memory: the last stretch of the series looks like none that it has seen before.

Readings are averaged in blocks of 1, 2, 3, 5 and 7; the last 6 and the last 16 blocks are
the short and the long shape of each of these scales. Each shape has a memory of prototypes,
in the manner of adaptive resonance (Carpenter and Grossberg 1987):

    apart    = root of the mean of ((shape - prototype) / reach)^2 over the blocks, each
               difference at most 1; reach is the robust spread of the recent past
               (`past.spread`, 2 % to 98 %), so that one absurd reading scales nothing
    distance = apart from the nearest prototype
    distance < vigilance    the nearest prototype moves a tenth of the way to the shape
    else                    the shape becomes a prototype; of more than `prototypes` the one
                            that was nearest longest ago is forgotten
    surprise = of the distance among the distances before it (`past.Surprise`): the second
               vigilance, which needs no unit

All scales learn all the time. The one that speaks grows with what was seen: from 800
readings on blocks of 2, and so on at each doubling; a young series is judged by its
details, an old one by its days. That replaces knowing how long a recording is.

    score    = (surprise of the short shape + surprise of the long one) / limit

    { kind = "shape_memory", series = "dcgm.power_usage" }
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from offswitch.watch.detectors.announcement import AnnouncementSection, Announcing
from offswitch.watch.detectors.past import Past, Surprise, spread

__all__ = ["ShapeMemory", "ShapeMemorySection", "Shapes"]

Floats = np.ndarray[Any, np.dtype[np.float64]]

_STEPS = (1, 2, 3, 5, 7)
_FIRST_GROWTH = 800
"""From how many readings on the second scale speaks; each further one at the double."""
_VIGILANCE = 0.12
_PACE = 0.1
_INNER, _FLOOR = 0.02, 0.05


class Prototypes:
    """The shapes of one width at one scale."""

    __slots__ = ("_apart", "_count", "_nearest_at", "_rarity", "_shapes", "_times", "_width")

    def __init__(self, width: int, room: int, ranked: int) -> None:
        """Keep at most `room` shapes of `width` blocks, and rank among `ranked` distances."""
        self._width = width
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
            distance = math.sqrt(float(squares[place]) / self._width) / reach
        if place >= 0 and distance < _VIGILANCE:
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


class _Scale:
    """A series averaged in blocks of `step` readings, and its shapes."""

    __slots__ = ("_blocks", "_count", "_filled", "_memories", "_step", "_sum", "_widths")

    def __init__(self, step: int, widths: tuple[int, ...], room: int, ranked: int) -> None:
        self._step = step
        self._widths = widths
        self._blocks: Floats = np.zeros(max(widths))
        self._filled = 0
        self._sum, self._count = 0.0, 0
        self._memories = tuple(Prototypes(width, room, ranked) for width in widths)

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
        reach = spread(past, _INNER, _FLOOR)
        return tuple(
            memory.take(blocks[-width:], reach) if self._filled >= width else 0.0
            for width, memory in zip(self._widths, self._memories, strict=True)
        )


class Shapes:
    """All scales of one series."""

    __slots__ = ("_none", "_readings", "_scales")

    def __init__(self, widths: tuple[int, ...], room: int, ranked: int) -> None:
        """Remember shapes of these widths, at most `room` of each at each scale."""
        self._scales = tuple(_Scale(step, widths, room, ranked) for step in _STEPS)
        self._none = (0.0,) * len(widths)
        self._readings = 0

    def take(self, value: float, past: Past) -> tuple[float, ...]:
        """Give the surprise of each width at the scale that speaks; `past` ends before `value`."""
        grown = (self._readings // _FIRST_GROWTH).bit_length()
        speaks = min(grown, len(self._scales) - 1)
        self._readings += 1
        said = self._none
        for number, scale in enumerate(self._scales):
            surprises = scale.take(value, past)
            if number == speaks and surprises is not None:
                said = surprises
        return said


class ShapeMemorySection(AnnouncementSection):
    """The keys of a shape memory."""

    kind: Literal["shape_memory"]
    window: Annotated[int, Field(ge=100, le=20_000)] = 3000
    """How many readings are the recent past, by whose spread differences are measured."""
    short: Annotated[int, Field(ge=2, le=64)] = 6
    """How many blocks the short shape has."""
    long: Annotated[int, Field(ge=2, le=64)] = 16
    """How many blocks the long shape has."""
    prototypes: Annotated[int, Field(ge=10, le=1000)] = 300
    """How many shapes are remembered, of each width at each scale."""


class ShapeMemory(Announcing):
    """The shapes of one series."""

    Settings: ClassVar[type[AnnouncementSection]] = ShapeMemorySection

    def __init__(self, settings: ShapeMemorySection) -> None:
        """Begin with no past."""
        super().__init__(settings)
        self._past = Past(settings.window)
        widths = (settings.short, settings.long)
        self._shapes = Shapes(widths, settings.prototypes, settings.ranked)
        self._usual = (0.0, 0.0)

    def _surprise(self, mono_us: int, value: float) -> float:  # noqa: ARG002 - no clock here
        past = self._past
        if past:
            self._usual = (past.share(_INNER), past.share(1 - _INNER))
        surprise = sum(self._shapes.take(value, past))
        past.learn(value)
        return surprise

    def _band(self) -> tuple[float, float]:
        return self._usual

    def _because(self) -> str:
        return "the last readings have a shape that was not seen before"
