"""Range novelty: the value lies beyond everything that the recent past has seen.

    excess = how far it lies above the largest or below the smallest of the last `window`
             readings, in units of their robust spread (`past.spread`, 5 % to 95 %)
    score  = surprise of the excess among those before it / limit

Most readings have no excess at all, and no surprise; the first step beyond the old range is
rare, the hundredth of a series that always climbs is not. Until 20 readings were seen it
says nothing.

    { kind = "range_novelty", series = "vllm.num_requests_waiting" }
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from offswitch.watch.detectors.announcement import AnnouncementSection, Announcing
from offswitch.watch.detectors.past import Past, Surprise, spread

__all__ = ["RangeNovelty", "RangeNoveltySection", "excess"]

_LEARN = 20
_INNER, _FLOOR = 0.05, 0.01


def excess(past: Past, value: float) -> float:
    """Measure how far a value lies beyond the past, in robust spreads."""
    if len(past) < _LEARN:
        return 0.0
    beyond = max(value - past.share(1), past.share(0) - value)
    return beyond / spread(past, _INNER, _FLOOR) if beyond > 0 else 0.0


class RangeNoveltySection(AnnouncementSection):
    """The keys of a range novelty."""

    kind: Literal["range_novelty"]
    limit: Annotated[float, Field(gt=0, le=100)] = 2.0
    """The surprise that is an alarm, in powers of ten: 2 is one in a hundred."""
    window: Annotated[int, Field(ge=100, le=20_000)] = 8000
    """How many readings are the recent past."""


class RangeNovelty(Announcing):
    """The trailing range of one series."""

    Settings: ClassVar[type[AnnouncementSection]] = RangeNoveltySection

    def __init__(self, settings: RangeNoveltySection) -> None:
        """Begin with no past."""
        super().__init__(settings)
        self._past = Past(settings.window)
        self._rarity = Surprise(settings.ranked)
        self._seen = (0.0, 0.0)

    def _surprise(self, mono_us: int, value: float) -> float:  # noqa: ARG002 - no clock here
        past = self._past
        if past:
            self._seen = (past.share(0), past.share(1))
        surprise = self._rarity.of(excess(past, value))
        past.learn(value)
        return surprise

    def _band(self) -> tuple[float, float]:
        return self._seen

    def _because(self) -> str:
        return "beyond all of it"
