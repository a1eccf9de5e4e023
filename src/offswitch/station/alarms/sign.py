"""One thing that was seen: an alarm of a rule, or a finding; and what lies beside what.

    alarm rises ─┐
    finding ─────┴─► sign ─► grouping (what belongs together) ─► first_out (which came first)
                                    └─► annunciator (what people are told of) ─► figures

A sign is *found* some time after it has *begun*: a sensor looks every so often, and a detector
waits on purpose. What is known is a window, from `found_us - lag_us` to `found_us - wait_us`, and
the slower of two detectors may well have seen the earlier thing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

__all__ = ["Sign", "Ties", "above"]

Ties = Mapping[str, AbstractSet[str]]
"""Which targets were declared to lie beside which: who calls whom, who shares what; both ways."""


@dataclass(frozen=True, slots=True)
class Sign:
    """One thing that was seen."""

    key: str
    """What it is: rule, or series and detector. The same one twice is the same thing again."""
    target: str
    """The path of the target that it is about."""
    found_us: int
    """When it was noticed, UTC in microseconds."""
    lag_us: int = 0
    """How long before that it may have begun, at most: sensor's interval and detector's delay."""
    wait_us: int = 0
    """How long before that it has begun, at least: the detector's delay."""
    what: str = ""
    """In words; hostile."""
    scope: str = ""
    """What a rule's alarm covers, where that is more than its target."""
    grave: bool = False
    """Whether it stops something, or asks somebody."""

    @property
    def early_us(self) -> int:
        """The earliest moment at which it can have begun."""
        return self.found_us - self.lag_us

    @property
    def late_us(self) -> int:
        """The latest one."""
        return self.found_us - min(self.wait_us, self.lag_us)

    @property
    def place(self) -> str:
        """Where it is: the path of its scope, which covers its target, or else its target's."""
        return self.scope if self.scope and "=" not in self.scope else self.target


def above(path: str) -> Iterator[str]:
    """Give the path itself, then what lies above it; `/`, which covers everything, last."""
    while path and path != "/":
        yield path
        path = path.rpartition("/")[0]
    yield "/"
