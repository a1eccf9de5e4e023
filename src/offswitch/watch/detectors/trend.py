"""Trend: the value will cross a limit soon, if it goes on like this.

    slope      by Theil and Sen over the recent past (`watch.detectors.slope`)
    reaches    the limit after (limit - level) / slope; early and late end by the slope's range
    beyond     when even the late end comes within `within`, or the limit is crossed already
    score      1 + (within - reaches) / within, at least 0; 1: just as soon as that

An early sign stops nothing by itself; a rule that shall act on one says so with this kind, and had
better not act alone on it.

    { kind = "trend", series = "processes.memory_bytes", above = 2e9, within = "10m" }
"""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import model_validator

from offswitch.config.duration import format_duration
from offswitch.config.section import Duration
from offswitch.watch.detectors.contract import Verdict
from offswitch.watch.detectors.deadband import Deadband, DeadbandSection
from offswitch.watch.detectors.slope import Crossing, Slope

__all__ = ["Trend", "TrendSection"]

_LOOK_US = 1_000_000
_US = 1_000_000


class TrendSection(DeadbandSection):
    """The keys of a trend."""

    kind: Literal["trend"]
    above: float | None = None
    """Trips when the value is about to be larger than this."""
    below: float | None = None
    """Trips when the value is about to be smaller than this."""
    within: Duration = 600_000_000
    """How soon."""

    @model_validator(mode="after")
    def _has_one_limit(self) -> Self:
        if (self.above is None) == (self.below is None):
            raise ValueError("a trend wants 'above' or 'below', one of them")
        return self


class Trend:
    """A slope towards a limit."""

    Settings: ClassVar[type[TrendSection]] = TrendSection

    __slots__ = ("_alarm", "_crossing", "_limit", "_looked_us", "_settings", "_sign", "_slope")

    def __init__(self, settings: TrendSection) -> None:
        self._settings = settings
        self._alarm = Deadband(settings)
        self._slope = Slope()
        self._sign = 1 if settings.above is not None else -1
        limit = settings.above if settings.above is not None else settings.below
        self._limit = (limit or 0.0) * self._sign
        self._crossing: Crossing | None = None
        self._looked_us: int | None = None

    def update(self, mono_us: int, value: float) -> Verdict:
        """Take in one value, and look at the slope once a second."""
        height, within = value * self._sign, self._settings.within
        self._slope.add(mono_us, height)
        if self._looked_us is None or mono_us - self._looked_us >= _LOOK_US:
            self._looked_us = mono_us
            self._crossing = self._slope.crossing(self._limit)
        crossing = self._crossing
        crossed = height > self._limit
        near = crossing is not None and crossing.latest_us <= within
        inside = not crossed and (crossing is None or crossing.in_us > 2 * within)
        raised = self._alarm.update(mono_us, beyond=crossed or near, inside=inside)
        limit = f"limit {self._limit * self._sign:g}"
        if crossed:
            return Verdict(2.0, raised, f"{value:g} has crossed it, {limit}")
        if crossing is None:
            return Verdict(0.0, raised, f"{value:g}, no trend towards it, {limit}")
        score = max(1 + (within - crossing.in_us) / within, 0.0)
        after = format_duration(max(round(crossing.in_us / _US), 1) * _US)
        return Verdict(
            score,
            raised,
            f"{value:g}, reached in {after} at this rate, {limit}",
            {
                "band": f"{crossing.earliest_us / _US:.0f} to {crossing.latest_us / _US:.0f} s",
                "contradicts": "the value stays where it is, or turns back",
            },
        )

    def rearm(self) -> None:
        """Let the alarm fall, and forget what led to it."""
        self._slope.clear()
        self._crossing = self._looked_us = None
        self._alarm.rearm()
