"""Robust range: the value is far outside of where it has recently been.

    centre = median of the last `window` readings before this one
    spread = 1.4826 * median of |reading - centre|, at least `floor` and 1 % of |centre|
    score  = |value - centre| / (width * spread);  beyond when score > 1

1.4826 makes the spread that of a standard deviation where readings are normal (Hampel
1974; Rousseeuw and Croux 1993). Up to half of the window may be outliers without moving
it, so a burst does not teach it that bursts are normal; what lasts longer than half of
the window becomes the new normal, and the alarm falls. Until `learn` readings were seen
it says nothing, and a rule should not rest on it alone that early.

    { kind = "robust_range", series = 'orders-db.mean{column="price",table="prices"}' }
"""

from __future__ import annotations

import math
from collections import deque
from statistics import median
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from offswitch.watch.detectors.contract import Verdict
from offswitch.watch.detectors.deadband import Deadband, DeadbandSection

__all__ = ["RobustRange", "RobustRangeSection"]

_NORMAL = 1.4826
_RELATIVE_FLOOR = 0.01
_SMALLEST = 1e-12


class RobustRangeSection(DeadbandSection):
    """The keys of a robust range."""

    kind: Literal["robust_range"]
    width: Annotated[float, Field(gt=0)] = 6.0
    """How many spreads away from the centre the limit lies."""
    window: Annotated[int, Field(ge=8, le=4096)] = 120
    """How many readings are the recent past."""
    learn: Annotated[int, Field(ge=4)] = 20
    """How many readings are needed before it judges."""
    floor: Annotated[float, Field(ge=0)] = 0.0
    """The least spread, in the series' own unit."""
    side: Literal["both", "above", "below"] = "both"

    @model_validator(mode="after")
    def _can_learn(self) -> Self:
        if self.learn > self.window:
            raise ValueError("'learn' must not be larger than 'window'")
        return self


class RobustRange:
    """A median and its spread."""

    Settings: ClassVar[type[RobustRangeSection]] = RobustRangeSection

    __slots__ = ("_alarm", "_past", "_settings")

    def __init__(self, settings: RobustRangeSection) -> None:
        self._settings = settings
        self._alarm = Deadband(settings)
        self._past: deque[float] = deque(maxlen=settings.window)

    def update(self, mono_us: int, value: float) -> Verdict:
        """Judge one value by those before it, then learn it."""
        settings = self._settings
        if len(self._past) < settings.learn:
            self._past.append(value)
            return Verdict(0.0, self._alarm.raised, f"{value:g}, still learning")
        centre = median(self._past)
        spread = max(
            _NORMAL * median(abs(one - centre) for one in self._past),
            settings.floor,
            _RELATIVE_FLOOR * abs(centre),
            _SMALLEST,
        )
        away = value - centre
        if settings.side == "above":
            away = max(away, 0.0)
        elif settings.side == "below":
            away = max(-away, 0.0)
        score = abs(away) / (settings.width * spread)
        raised = self._alarm.update(mono_us, beyond=score > 1, inside=score < 1 - settings.deadband)
        if math.isfinite(value):
            self._past.append(value)
        low, high = centre - settings.width * spread, centre + settings.width * spread
        return Verdict(score, raised, f"{value:g}, usual {low:g} to {high:g}")

    def rearm(self) -> None:
        """Let the alarm fall."""
        self._alarm.rearm()
