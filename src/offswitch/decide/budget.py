"""A budget of trips: how many stops of a rule in a while are usual. It never withholds one (SR-12).

A rule that trips again and again is either in vain or fights something that comes back; both
want a person. So a spent budget is an alarm of its own, beside the stop that spent it, and
whatever runs unlatched is stopped all the same.

    budget = "3 per 1h"
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from offswitch.config.duration import format_duration, parse_duration

__all__ = ["Budget", "parse_budget"]

_WRITTEN = re.compile(r"(\d{1,4}) per (\S+)")


@dataclass(frozen=True, slots=True)
class Budget:
    """So many stops in so long are usual."""

    stops: int
    per_us: int

    @property
    def text(self) -> str:
        """As it is written in the file."""
        return f"{self.stops} per {format_duration(self.per_us)}"

    def counted(self, trips: tuple[int, ...], mono_us: int) -> tuple[int, ...]:
        """Give which of `trips` (monotonic microseconds) still count, at most one too many."""
        return tuple(at for at in trips if mono_us - at < self.per_us)[-self.stops - 1 :]

    def spent(self, trips: tuple[int, ...], mono_us: int) -> bool:
        """Tell whether more stops than that have come."""
        return len(self.counted(trips, mono_us)) > self.stops


def parse_budget(text: str) -> Budget:
    """Read `3 per 1h`; raises ValueError with the spelling."""
    match = _WRITTEN.fullmatch(text)
    if match is None or not int(match[1]):
        raise ValueError(f'{text[:40]!r} is no budget; write how many in how long: "3 per 1h"')
    return Budget(int(match[1]), parse_duration(match[2]))
