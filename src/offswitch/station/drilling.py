"""Drills in the station: run hourly by themselves and by people, and what they prove so far.

The figures are made of the record alone. A drill is run in a thread, one at a time, over the same
sockets as any stop; that it could not take place is said, and tried again at the next turn.
"""

from __future__ import annotations

import asyncio

from offswitch.clock import Clock
from offswitch.control.place import Place
from offswitch.drills.canary import Outcome, run_canary
from offswitch.drills.figures import Figures, Tally
from offswitch.drills.schedule import Due, due_of
from offswitch.errors import Busy, OffswitchError
from offswitch.ledger.reader import ShownEntry
from offswitch.model.entry import EntryKind

__all__ = ["Drilling"]

_SETTLED_S = 30.0
"""How long after its start a station leaves everything alone."""
_LOOK_S = 20.0
_HEARD = frozenset({EntryKind.DRILL.value, EntryKind.NOTE.value})
"""Drills, and among the notes what voids them (DRL-4)."""


class Drilling:
    """One in a station."""

    def __init__(self, place: Place, clock: Clock, every_us: int | None) -> None:
        """Drill every so often; None: only when somebody asks."""
        self._place = place
        self._clock = clock
        self._every_us = every_us
        self._tally = Tally()
        self._tried_us = 0
        self._running = False
        self.trouble = ""
        """Why the last drill that was due could not take place; empty: it did."""

    def take(self, entry: ShownEntry) -> None:
        """Hear of one entry; the tail calls it."""
        if entry.public.get("kind") in _HEARD and entry.intact:
            self._tally.hear({**entry.sealed, **entry.public})

    def figures(self) -> Figures:
        """Give what drills prove now."""
        return self._tally.figures(self._clock.wall_us())

    def due(self) -> Due:
        """Say when the next one is due."""
        return due_of(self.figures(), self._every_us, self._tried_us)

    @property
    def running(self) -> bool:
        """Whether one is under way."""
        return self._running

    async def run(self, by: str, channel: str) -> Outcome:
        """Drill once, now; raises what kept it from taking place."""
        if self._running:
            raise Busy("a drill is under way", "it takes half a second")
        self._running, self._tried_us = True, self._clock.wall_us()
        try:
            return await asyncio.to_thread(run_canary, self._place, channel=channel, by=by)
        finally:
            self._running = False

    async def go_on(self) -> None:
        """Drill whenever one is due, until cancelled."""
        await asyncio.sleep(_SETTLED_S)
        while True:
            if self.due().now:
                try:
                    await self.run("drill:schedule", "drill")
                    self.trouble = ""
                except OffswitchError as error:
                    self.trouble = error.message
            await asyncio.sleep(_LOOK_S)
