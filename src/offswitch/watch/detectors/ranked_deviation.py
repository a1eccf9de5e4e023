"""Ranked deviation: the value is far from where the recent past lies, or where nothing was.

    away   = |value - median| in units of the robust spread (`past.spread`, 25 % to 75 %)
    gap    = distance to the third nearest of the recent past, in the same unit
    score  = surprise of away + gap among those before it / limit

`away` alone is blind to a value in the middle that never occurs, such as 50 on a series
that is 0 or 100; `gap` alone to one of two extremes that becomes common. It is the cheapest
of those that rank, and has no clock: for series without seasons or shapes.

    { kind = "ranked_deviation", series = "otel.queue_length" }
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from offswitch.watch.detectors.announcement import AnnouncementSection, Announcing
from offswitch.watch.detectors.past import Past, Surprise, spread

__all__ = ["RankedDeviation", "RankedDeviationSection"]

_LEARN = 20
_INNER, _FLOOR = 0.25, 0.02
_NEIGHBOURS = 3


class RankedDeviationSection(AnnouncementSection):
    """The keys of a ranked deviation."""

    kind: Literal["ranked_deviation"]
    limit: Annotated[float, Field(gt=0, le=100)] = 2.0
    """The surprise that is an alarm, in powers of ten: 2 is one in a hundred."""
    window: Annotated[int, Field(ge=100, le=20_000)] = 1000
    """How many readings are the recent past."""


class RankedDeviation(Announcing):
    """The trailing middle of one series."""

    Settings: ClassVar[type[AnnouncementSection]] = RankedDeviationSection

    def __init__(self, settings: RankedDeviationSection) -> None:
        """Begin with no past."""
        super().__init__(settings)
        self._past = Past(settings.window)
        self._rarity = Surprise(settings.ranked)
        self._usual = (0.0, 0.0)

    def _surprise(self, mono_us: int, value: float) -> float:  # noqa: ARG002 - no clock here
        past, out = self._past, 0.0
        if len(past) >= _LEARN:
            unit = spread(past, _INNER, _FLOOR)
            gap = past.nearest(value, _NEIGHBOURS)
            out = (abs(value - past.share(0.5)) + gap) / unit
            self._usual = (past.share(0.05), past.share(0.95))
        past.learn(value)
        return self._rarity.of(out)

    def _band(self) -> tuple[float, float]:
        return self._usual

    def _because(self) -> str:
        return "far from the middle of it, or where nothing was"
