"""Seasonal profile: the value is not what this time of day has been in the days before.

    slot   = one of `slots` equal parts of a day (of any phase: the clock has no time zone)
    band   = smallest to largest mean of this slot and its two neighbours in the last
             `days` days
    out    = how far the value lies outside of the band, in units of the series' robust
             spread (`past.spread`, 5 % to 95 %)
    score  = surprise of `out` among those before it / limit

It says nothing until each of the three slots was seen on two days on average. A series that
has no daily course is outside of its narrow bands all the time, which is then no surprise:
that is why it is ranked, and why a mixture counts it only when it is rare.

    { kind = "season", series = "vllm.request_success_total" }
"""

from __future__ import annotations

from collections import deque
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from offswitch.watch.detectors.announcement import AnnouncementSection, Announcing
from offswitch.watch.detectors.past import Past, Surprise, spread

__all__ = ["Profile", "Season", "SeasonSection", "residual"]

_DAY_US = 86_400_000_000
_LEAST_DAYS = 2
_LEARN = 20
_INNER, _FLOOR = 0.05, 0.01


class Profile:
    """What each time of day was in the days before."""

    __slots__ = ("_count", "_day", "_slot", "_slot_us", "_slots", "_sum", "band")

    def __init__(self, slots: int, days: int) -> None:
        """Divide a day into `slots`, and keep the means of the last `days` of each."""
        self._slot_us = _DAY_US // slots
        self._slots: list[deque[float]] = [deque(maxlen=days) for _ in range(slots)]
        self._slot = self._day = -1
        self._sum, self._count = 0.0, 0
        self.band: tuple[float, float] | None = None
        """What is usual at the time of the last reading; None: that is not known yet."""

    def outside(self, mono_us: int, value: float) -> float:
        """Measure how far a reading lies outside of the band of its time, then learn it."""
        day, within = divmod(mono_us, _DAY_US)
        slot = min(within // self._slot_us, len(self._slots) - 1)
        if slot != self._slot or day != self._day:
            self._turn(slot, day)
        self._sum += value
        self._count += 1
        if self.band is None:
            return 0.0
        low, high = self.band
        return max(value - high, low - value, 0.0)

    def _turn(self, slot: int, day: int) -> None:
        """End one slot and begin the next: the band stays as it is until the next turn."""
        slots = self._slots
        if self._count:
            slots[self._slot].append(self._sum / self._count)
        self._slot, self._day = slot, day
        self._sum, self._count = 0.0, 0
        near = [*slots[slot - 1], *slots[slot], *slots[(slot + 1) % len(slots)]]
        self.band = (min(near), max(near)) if len(near) >= 3 * _LEAST_DAYS else None


def residual(profile: Profile, past: Past, mono_us: int, value: float) -> float:
    """Measure how far a reading lies outside of the band of its time, in robust spreads."""
    out = profile.outside(mono_us, value)
    if not out or len(past) < _LEARN:
        return 0.0
    return out / spread(past, _INNER, _FLOOR)


class SeasonSection(AnnouncementSection):
    """The keys of a seasonal profile."""

    kind: Literal["season"]
    limit: Annotated[float, Field(gt=0, le=100)] = 2.0
    """The surprise that is an alarm, in powers of ten: 2 is one in a hundred."""
    slots: Annotated[int, Field(ge=4, le=288)] = 48
    """Into how many parts a day is divided."""
    days: Annotated[int, Field(ge=2, le=60)] = 10
    """How many days are remembered."""
    window: Annotated[int, Field(ge=100, le=20_000)] = 3000
    """How many readings make the spread by which differences are measured."""


class Season(Announcing):
    """The daily course of one series."""

    Settings: ClassVar[type[AnnouncementSection]] = SeasonSection

    def __init__(self, settings: SeasonSection) -> None:
        """Begin with no past."""
        super().__init__(settings)
        self._profile = Profile(settings.slots, settings.days)
        self._past = Past(settings.window)
        self._rarity = Surprise(settings.ranked)

    def _surprise(self, mono_us: int, value: float) -> float:
        surprise = self._rarity.of(residual(self._profile, self._past, mono_us, value))
        self._past.learn(value)
        return surprise

    def _band(self) -> tuple[float, float]:
        return self._profile.band or (self._past.share(0.05), self._past.share(0.95))

    def _because(self) -> str:
        return "not what this time of day was in the days before"
