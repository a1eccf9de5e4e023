"""Since when each layer of a target is as ready as it is: stamped in one place, for every writer.

Whoever finds a layer in another state sets `Tracked.readiness` anew, and nobody has to remember
to date it: the row does (`table.Tracked.__setattr__`). A layer whose words change and whose state
does not keeps its date. A warden's new code that goes on with the rows of the code before keeps
the dates of what is still so; any other start begins anew, since from before nothing is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from offswitch.clock import SystemClock

__all__ = ["kept", "spelled", "stamped"]

States = Mapping[str, tuple[str, str]]
"""Layer → its state, and why."""


def stamped(since_us: Mapping[str, int], before: States, now: Any) -> dict[str, int]:  # noqa: ANN401 - what a row is about to hold
    """Give the dates (UTC, microseconds) of `now`, where those of `before` were `since_us`."""
    wall_us = SystemClock().wall_us()
    return {
        layer: since_us.get(layer, wall_us)
        if layer in before and before[layer][0] == state
        else wall_us
        for layer, (state, _why) in now.items()
    }


def spelled(since_us: Mapping[str, int], now: States) -> dict[str, list[Any]]:
    """Spell states and dates for the code that comes after this one."""
    return {layer: [state, since_us.get(layer, 0)] for layer, (state, _why) in now.items()}


def kept(since_us: Mapping[str, int], now: States, passed: object) -> dict[str, int]:
    """Give the dates of `now`, the older ones of what the code before said of the same states.

    `passed` is as `spelled` gives it; whatever else counts for nothing.
    """
    dates = dict(since_us)
    for layer, said in passed.items() if isinstance(passed, Mapping) else ():
        if not isinstance(said, list) or len(said) != 2:  # noqa: PLR2004 - state and date
            continue
        state, date = said
        if layer in now and now[layer][0] == state and type(date) is int:
            dates[layer] = min(date, dates.get(layer, date))
    return dates
