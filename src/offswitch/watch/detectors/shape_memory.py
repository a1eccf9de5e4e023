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

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from offswitch.watch.detectors.announcement import AnnouncementSection, Announcing
from offswitch.watch.detectors.past import Past

__all__ = ["ShapeMemory", "ShapeMemorySection", "ShapeSection", "Shapes"]

_STEPS = (1, 2, 3, 5, 7)
_INNER = 0.02


class ShapeSection(AnnouncementSection):
    """The keys of every detector that remembers shapes."""

    short: Annotated[int, Field(ge=2, le=64)] = 6
    """How many blocks the short shape has."""
    long: Annotated[int, Field(ge=2, le=64)] = 16
    """How many blocks the long shape has."""
    prototypes: Annotated[int, Field(ge=10, le=1000)] = 300
    """How many shapes are remembered, of each width at each scale."""
    vigilance: Annotated[float, Field(gt=0, lt=1)] = 0.12
    """From which distance on a shape is one of its own."""
    growth: Annotated[int, Field(ge=50, le=1_000_000)] = 800
    """From how many readings on the second scale speaks; each further one at the double."""


class Shapes:
    """All scales of one series."""

    __slots__ = ("_growth", "_readings", "_scales")

    def __init__(self, settings: ShapeSection) -> None:
        """Begin with no shape."""
        # numpy is slow to import, and the command line loads every kind to know its keys.
        from offswitch.watch.detectors.prototypes import Prototypes, Scale  # noqa: PLC0415

        widths = (settings.short, settings.long)
        keys = (settings.prototypes, settings.vigilance, settings.ranked)
        self._scales = tuple(
            Scale(step, [Prototypes(width, *keys) for width in widths]) for step in _STEPS
        )
        self._growth = settings.growth
        self._readings = 0

    def take(self, value: float, past: Past) -> tuple[float, ...]:
        """Give the surprises of the short and the long shape; `past` ends before `value`."""
        grown = (self._readings // self._growth).bit_length()
        speaks = min(grown, len(self._scales) - 1)
        self._readings += 1
        said: tuple[float, ...] = (0.0, 0.0)
        for number, scale in enumerate(self._scales):
            surprises = scale.take(value, past)
            if number == speaks and surprises is not None:
                said = surprises
        return said


class ShapeMemorySection(ShapeSection):
    """The keys of a shape memory."""

    kind: Literal["shape_memory"]
    window: Annotated[int, Field(ge=100, le=20_000)] = 3000
    """How many readings are the recent past, by whose spread differences are measured."""


class ShapeMemory(Announcing):
    """The shapes of one series."""

    Settings: ClassVar[type[AnnouncementSection]] = ShapeMemorySection

    def __init__(self, settings: ShapeMemorySection) -> None:
        """Begin with no past."""
        super().__init__(settings)
        self._past = Past(settings.window)
        self._shapes = Shapes(settings)
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
