"""How a value comes near its limit: what is said of it before it trips.

    announce   at 50, 75 and 90 % of the limit, once each, as it rises
    early      its trend reaches the limit, and when: an early sign

Each is a finding of its own and stops nothing; a rule that shall act on a trend says so by a
detector of the kind `trend`. Each rises once, whatever rattles: it stands until the value has been
a tenth below the step for `clear_after`, and only then may it rise again (DET-5).

It is fed with what the detector measures in units of its limit (a verdict's score), where that
is a share of the limit: kinds that say so by `SHARES = True`.
"""

from __future__ import annotations

import time
from typing import NamedTuple

from offswitch.config.duration import format_duration
from offswitch.watch.detectors.deadband import Deadband
from offswitch.watch.detectors.slope import Crossing, Slope

__all__ = ["Approach", "Sign"]

_STEPS = (0.5, 0.75, 0.9)
_BACK = 0.9
"""How far below a step, as a share of it, counts as gone."""
_NEAR = 0.2
"""Below this share of the limit no trend is claimed."""
_LOOK_US = 1_000_000
"""How often a trend is looked at, at the most."""


class Sign(NamedTuple):
    """Something to be said of a value that has not tripped."""

    kind: str
    """`announce` or `early`."""
    what: str
    share: float
    evidence: dict[str, str]


class Approach:
    """What has been said of one value already."""

    __slots__ = ("_clear_after", "_early", "_looked_us", "_rising", "_share", "_slope", "_steps")

    def __init__(self, clear_after: int = 10_000_000) -> None:
        self._clear_after = clear_after
        self._slope = Slope()
        self._share = 0.0
        self._looked_us = 0
        self._rising: list[tuple[float, str]] = []
        self.rearm()

    def feed(self, mono_us: int, share: float, why: str) -> None:
        """Take in how much of the limit is reached; cheap, since a stop may wait behind it."""
        self._share = share
        if mono_us >= self._slope.due_us:
            self._slope.add(mono_us, share)
        if share <= _STEPS[0] and not self._steps[0][1].raised:
            return
        for step, alarm in self._steps:
            if share <= step and not alarm.raised:
                break  # the steps rise: none above it can be reached, or stand
            before = alarm.raised
            alarm.update(mono_us, beyond=share > step, inside=share < step * _BACK)
            if alarm.raised and not before:
                self._rising.append((step, why))

    def signs(self, mono_us: int, wall_us: int) -> list[Sign]:
        """Give what is to be said since the last call; looks for a trend once a second."""
        rising, self._rising = self._rising, []
        found = [
            Sign("announce", f"{step:.0%} of the limit is reached: {why}", step, {})
            for step, why in rising
            if self._share <= 1  # what has tripped is an alarm: nothing is left to announce
        ]
        if mono_us - self._looked_us < _LOOK_US:
            return found
        self._looked_us = mono_us
        crossing = self._slope.crossing() if _NEAR <= self._share < 1 else None
        before = self._early.raised
        self._early.update(mono_us, beyond=crossing is not None, inside=crossing is None)
        if crossing is not None and not before:
            found.append(_sign(crossing, self._share, wall_us))
        return found

    def standing(self) -> str:
        """Say what stands of it, for people; empty: nothing does."""
        if self._early.raised:
            return "its trend reaches the limit"
        steps = [step for step, alarm in self._steps if alarm.raised]
        return f"{steps[-1]:.0%} of the limit" if steps else ""

    def rearm(self) -> None:
        """Begin anew."""
        self._slope.clear()
        self._steps = [(step, Deadband.of(clear_after=self._clear_after)) for step in _STEPS]
        self._early = Deadband.of(clear_after=self._clear_after)


def _sign(crossing: Crossing, share: float, wall_us: int) -> Sign:
    at = wall_us / 1e6 + crossing.in_us / 1e6
    clock = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(min(at, 2**32)))
    within = f"{_told(crossing.earliest_us)} to {_told(crossing.latest_us)}"
    what = f"at this rate the limit is reached in {_told(crossing.in_us)}, about {clock}"
    evidence = {
        "band": f"in {within}",
        "slope": f"{crossing.per_s * 3600:.3g} limits an hour, over {_told(crossing.span_us)}",
        "contradicts": "the value stays where it is, or falls",
    }
    return Sign("early", what, share, evidence)


def _told(us: float) -> str:
    """Write a time in whole seconds, or less where it is short."""
    unit = 1_000_000 if us >= 10_000_000 else 1_000  # noqa: PLR2004 - ten seconds
    whole = max(round(us / unit), 1) * unit
    if whole > 120_000_000:  # noqa: PLR2004 - two minutes: seconds are idle
        whole = round(whole / 60_000_000) * 60_000_000
    return format_duration(whole)
