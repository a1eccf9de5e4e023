"""How long a lesser stop lasts: a drain and a freeze end in a kill, unless they are reset (ACT-1).

One timer a target. Another press of the same level lengthens nothing, and what is left of the
time is passed on to the warden's next code (SR-23).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from offswitch.model.level import Level
from offswitch.warden.loop import Loop, Timer
from offswitch.warden.plan import limit_s
from offswitch.warden.table import Tracked

__all__ = ["Lasting"]


class Lasting:
    """The timers of one warden."""

    def __init__(self, loop: Loop, outlived: Callable[[Tracked, Level], None]) -> None:
        """`outlived` hears of a target whose stop of that level has lasted long enough."""
        self._loop = loop
        self._outlived = outlived
        self._known: dict[str, tuple[Level, Timer, int]] = {}
        """Target → level, timer, and when it is due (CLOCK_MONOTONIC, ns)."""

    def begin(self, row: Tracked, level: Level) -> None:
        """Let the time run that a stop of that level may last, if it is limited."""
        known = self._known.get(row.target.name)
        if known is not None and known[0] is level:
            return
        self.forget(row)
        seconds = limit_s(level, row.declared)
        if seconds is not None and (row.cell is not None or row.served):
            self._end_in(row, level, seconds)

    def forget(self, row: Tracked) -> None:
        """It was reset, or is held by another level."""
        known = self._known.pop(row.target.name, None)
        if known is not None:
            known[1].cancel()

    def passed(self) -> dict[str, Any]:
        """Give the levels, and when they end."""
        return {name: [int(level), due] for name, (level, _timer, due) in self._known.items()}

    def take_up(self, row: Tracked, passed: list[Any]) -> None:
        """Go on with one that was passed."""
        level, due = passed
        self._end_in(row, Level(level), max(0.0, (due - time.monotonic_ns()) / 1e9))

    def _end_in(self, row: Tracked, level: Level, seconds: float) -> None:
        def over() -> None:
            self._known.pop(row.target.name, None)
            self._outlived(row, level)

        due = time.monotonic_ns() + int(seconds * 1e9)
        self._known[row.target.name] = (level, self._loop.later(seconds, over), due)
