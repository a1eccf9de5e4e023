"""The latch kept small: too many live stops become few that cover at least as much (SR-17).

It is done where there are more than `MOST_LIVE`, or where either copy of the latch has no
room left for more. Nothing waits for it: a stop is obeyed, latched and recorded first. What
comes under a wider or higher stop by it is stopped at once; that is the price, and the
record names it, each stop that was merged, and who had given how many of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from offswitch.clock import new_nonce
from offswitch.model.merge import Merged, merged
from offswitch.model.order import Stop
from offswitch.warden.core import Core
from offswitch.warden.table import Tracked

__all__ = ["MOST_LIVE", "Merging", "anew"]

MOST_LIVE = 4096
"""Live stops that are held one by one."""
_FEW = 64
"""How many are left where there is no room."""
_IN_ONE_ENTRY = 512
_MOST_ANEW = 256
"""Stops that are pressed again at once: the loop has a lease to renew, too."""


def anew(stops: list[Stop], now_us: int) -> list[Stop]:
    """Give the same stops as new orders; of very many, some that stand for them."""
    made = merged(stops, _MOST_ANEW, now_us)
    gone = {stop.digest for one in made for stop in one.instead_of}
    left = [stop for stop in stops if stop.digest not in gone]
    return [replace(stop, nonce=new_nonce()) for stop in left] + [one.stop for one in made]


class Merging:
    """Merges what is latched in one warden."""

    def __init__(self, core: Core, enforce: Callable[[Tracked, str], None]) -> None:
        """`enforce` commands again what is latched for a target."""
        self._core = core
        self._enforce = enforce
        self._due = False

    def look(self) -> None:
        """Merge soon if there is need to. Takes a microsecond where there is none."""
        if not self._due and len(self._core.latch) > MOST_LIVE:
            self._due = True
            self._core.loop.later(0, self._many)

    def _many(self) -> None:
        self._due = False
        if len(self._core.latch) > MOST_LIVE:
            self._merge(MOST_LIVE // 2, "too many for the latch")

    def cramped(self) -> None:
        """The disk, or tmpfs, has no room for the stops that wait: fewer are wanted."""
        core = self._core
        if len(core.latch) > 1 and core.store.cramped:
            why = core.store.problem or "no room for the latch"
            self._merge(min(_FEW, len(core.latch) // 2), why)

    def _merge(self, most: int, why: str) -> None:
        core = self._core
        before = {row.target.name: core.level(row) for row in core.table}
        made = core.latch.merge(most, core.clock.wall_us(), core.barred)
        if not made:
            return
        core.store.stand(made)
        self._record(made, why)
        for row in core.table:
            level, known = core.level(row), before[row.target.name]
            if level is not None and (known is None or level > known):
                self._enforce(row, "a stop that stands for many covers it")

    def _record(self, made: list[Merged], why: str) -> None:
        note = self._core.recording.note
        for one in made:
            stood_for = sorted(one.instead_of, key=lambda stop: stop.digest)
            for first in range(0, len(stood_for), _IN_ONE_ENTRY):
                part = stood_for[first : first + _IN_ONE_ENTRY]
                by = Counter(stop.by for stop in part)
                note(
                    "order",
                    {"by": one.stop.by, "reason": one.stop.reason, "given_by": dict(by)},
                    order="stop",
                    what="merged",
                    digest=one.stop.digest,
                    scope=one.stop.scope.text,
                    level=one.stop.level.label,
                    channel=one.stop.channel,
                    why=why,
                    prior="latched",
                    state="latched",
                    set=one.stop.nonce,
                    count=len(stood_for),
                    instead_of=[stop.digest for stop in part],
                )
