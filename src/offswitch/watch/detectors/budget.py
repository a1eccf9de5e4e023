"""Budget: an absolute amount for a run, or for a span of time: tokens, calls, money.

    spent = sum of readings (times their price) since the last reset, or within `per`
    score = spent / most;   beyond when spent > most

Without `per` a budget is a run's: it is refilled when a person resets what it stopped, and by
nothing else. With `per` the window slides; readings closer together than a 256th of it are kept
as one. The price of a unit stands in the configuration, by the model's name (a reading's detail
`model`) or a pattern of names; a model that is not named costs as much as the dearest.

    { kind = "budget", series = 'otlp.tokens{type="output"}', most = 20.0, per = "1d",
      unit = "USD", prices = { "m-7*" = 15e-6, "m-7-small" = 1e-6 } }
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from offswitch.config.duration import format_duration
from offswitch.config.section import Duration
from offswitch.watch.detectors.contract import Verdict
from offswitch.watch.detectors.deadband import Deadband, DeadbandSection

__all__ = ["Budget", "BudgetSection"]

_GRAINS = 256
_LARGEST = 1e300


class BudgetSection(DeadbandSection):
    """The keys of a budget."""

    kind: Literal["budget"]
    most: Annotated[float, Field(gt=0)]
    """How much may be spent."""
    per: Duration | None = None
    """In what time; a whole run unless given."""
    unit: Annotated[str, Field(max_length=30)] = "units"
    """What is counted, for people."""
    prices: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    """What one of the series' units costs, by model."""


class Budget:
    """What is spent of an amount."""

    Settings: ClassVar[type[BudgetSection]] = BudgetSection
    EVENTS: ClassVar[bool] = True
    SHARES: ClassVar[bool] = True

    __slots__ = ("_alarm", "_grain", "_recent", "_settings", "_spent")

    def __init__(self, settings: BudgetSection) -> None:
        self._settings = settings
        self._alarm = Deadband(settings)
        self._grain = (settings.per or 0) // _GRAINS
        self._recent: deque[tuple[int, int, float]] = deque()
        """Begin and end of a grain, and what was spent in it; unused for a run."""
        self._spent = 0.0

    def update(
        self, mono_us: int, value: float, detail: Mapping[str, str] | None = None
    ) -> Verdict:
        """Spend what one reading says; what is negative is nothing."""
        settings = self._settings
        cost = value * self._price((detail or {}).get("model", "")) if value > 0 else 0.0
        cost = min(cost, _LARGEST)
        if settings.per is None:
            self._spent = min(self._spent + cost, _LARGEST)
        else:
            self._spend(mono_us, cost, settings.per)
        score = self._spent / settings.most
        inside = score < 1 - settings.deadband
        raised = self._alarm.update(mono_us, beyond=score > 1, inside=inside)
        left = max(settings.most - self._spent, 0.0)
        span = f" in {format_duration(settings.per)}" if settings.per else ""
        unit = settings.unit
        why = f"{self._spent:g} of {settings.most:g} {unit} spent{span}"
        evidence = {
            "band": f"up to {settings.most:g} {unit}{span}",
            "left": f"{left:g} {unit}",
            "contradicts": "the amount was set for less work than this",
        }
        return Verdict(score, raised, why, evidence)

    def _price(self, model: str) -> float:
        prices = self._settings.prices
        if not prices:
            return 1.0
        if model in prices:
            return prices[model]
        found = (price for name, price in prices.items() if fnmatchcase(model, name))
        return next(found, max(prices.values()))

    def _spend(self, mono_us: int, cost: float, per: int) -> None:
        recent = self._recent
        if cost > 0:
            if recent and mono_us - recent[-1][0] <= self._grain:
                begin, _, total = recent[-1]
                recent[-1] = (begin, mono_us, min(total + cost, _LARGEST))
            else:
                recent.append((mono_us, mono_us, cost))
        while recent and recent[0][1] <= mono_us - per:
            recent.popleft()
        self._spent = min(math.fsum(total for _, _, total in recent), _LARGEST)

    def rearm(self) -> None:
        """A person has reset it: the amount is there again."""
        self._recent.clear()
        self._spent = 0.0
        self._alarm.rearm()
