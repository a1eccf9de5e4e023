"""Stands where a sensor could not be prepared: it says at every look why nobody sees there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from offswitch.config.section import SensorSection
from offswitch.watch.sensors.contract import Glance, Need, Signal

__all__ = ["Unprepared"]


class Unprepared:
    """Sees nothing, and says why."""

    Settings: ClassVar[type[SensorSection]] = SensorSection
    SIGNAL: ClassVar[Signal] = Signal.METRICS
    ISOLATED: ClassVar[bool] = True
    NEEDS: ClassVar[frozenset[Need]] = frozenset()
    IMPLICIT: ClassVar[str] = ""

    def __init__(self, problem: str) -> None:
        """Have `problem` told."""
        self._problem = problem

    def wake(self) -> Sequence[int]:
        """Nothing wakes it."""
        return ()

    def look(self) -> Glance:
        """Say why nobody sees."""
        return Glance(problem=self._problem)

    def close(self) -> None:
        """Hold nothing."""
