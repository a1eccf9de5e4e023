"""Threshold: the value is above or below a fixed limit.

    excess = (value - above) / |above|    or    (below - value) / |below|,   whichever is larger
    score  = 1 + excess;  beyond when excess > 0, inside when excess < -deadband

A limit of 0 is measured in units of 1 and has no band. With both limits it trips outside
of the range.

    { kind = "threshold", series = "processes.memory_bytes", above = 2e9 }
"""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import model_validator

from offswitch.watch.detectors.contract import Verdict
from offswitch.watch.detectors.deadband import Deadband, DeadbandSection

__all__ = ["Threshold", "ThresholdSection"]


class ThresholdSection(DeadbandSection):
    """The keys of a threshold."""

    kind: Literal["threshold"]
    above: float | None = None
    """Trips when the value is larger than this."""
    below: float | None = None
    """Trips when the value is smaller than this."""

    @model_validator(mode="after")
    def _has_a_limit(self) -> Self:
        if self.above is None and self.below is None:
            raise ValueError("a threshold wants 'above' or 'below', or both")
        if self.above is not None and self.below is not None and self.below >= self.above:
            raise ValueError("'below' must be smaller than 'above': it trips outside of the two")
        return self


class Threshold:
    """A fixed limit."""

    Settings: ClassVar[type[ThresholdSection]] = ThresholdSection
    SHARES: ClassVar[bool] = True

    __slots__ = ("_alarm", "_settings")

    def __init__(self, settings: ThresholdSection) -> None:
        self._settings = settings
        self._alarm = Deadband(settings)

    def update(self, mono_us: int, value: float) -> Verdict:
        """Compare one value with the limits."""
        settings = self._settings
        excess, limit = float("-inf"), 0.0
        if settings.above is not None:
            excess, limit = (value - settings.above) / (abs(settings.above) or 1.0), settings.above
        if settings.below is not None:
            under = (settings.below - value) / (abs(settings.below) or 1.0)
            if under > excess:
                excess, limit = under, settings.below
        # There is no share of nought: a limit of 0 has no band.
        inside = excess < -settings.deadband if limit else excess <= 0
        raised = self._alarm.update(mono_us, beyond=excess > 0, inside=inside)
        return Verdict(1 + excess, raised, f"{value:g}, limit {limit:g}")

    def rearm(self) -> None:
        """Let the alarm fall."""
        self._alarm.rearm()
