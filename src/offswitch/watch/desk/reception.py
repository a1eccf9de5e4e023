"""All of watch that people speak with, put together: desk, clerk, what is lowered, who may what.

The loop asks it four things: what to wait for, to serve what came, to hear what the warden says
of its cells, and what of it people shall see in `status`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from offswitch.clock import Clock
from offswitch.control.peer import Peer
from offswitch.decide.lowering import What
from offswitch.model.decision import Decision
from offswitch.model.entry import EntryKind
from offswitch.watch.bench import Bench
from offswitch.watch.coverage import Coverage
from offswitch.watch.desk.clerk import Clerk, Office
from offswitch.watch.desk.door import Desk
from offswitch.watch.desk.lowered import LoweredBook
from offswitch.watch.desk.visitors import Visitors
from offswitch.watch.scribe import Scribe
from offswitch.watch.wiring import Wiring

__all__ = ["Reception"]

Message = dict[str, Any]


class Reception:
    """Where people are heard."""

    def __init__(
        self,
        home: str,
        desk: Desk,
        clock: Clock,
        scribe: Scribe,
        wired: Wiring,
        *,
        covered: Callable[[Bench], Coverage],
        act: Callable[[Decision], None],
        apply: Callable[[Peer, Message], Message],
    ) -> None:
        """Serve at `desk` for the rules that are `wired`."""
        self._desk = desk
        self._wired = wired
        self._visitors = Visitors(desk.owner, desk.gid)
        self._lowered = LoweredBook(home, clock)
        self.clerk = Clerk(
            Office(wired, scribe, clock, self._visitors, self._lowered, covered, act, apply)
        )
        self.clerk.lower_all()
        if self._lowered.problem:
            scribe.tell(
                EntryKind.NOTE,
                "what was lowered",
                why=self._lowered.problem,
                prior="perhaps lowered",
                state="every rule in force",
            )

    def waits(self) -> Iterable[tuple[int, bool]]:
        """Give the descriptors to wait for, and whether also to write."""
        return self._desk.waits()

    def turn(self) -> None:
        """Serve what has come, and let return what has come to its end."""
        self._desk.turn(self.clerk.serve)
        self.clerk.turn()

    def hear(self, rows: Iterable[Mapping[str, Any]], ran: object) -> None:
        """Take in what the warden says of its cells."""
        self._visitors.hear(rows, ran)

    def notes(self) -> list[str]:
        """Say what is lowered: nobody may overlook it (HMI-6)."""
        said = []
        for one in self._lowered.now():
            until = time.strftime("%H:%M UTC", time.gmtime(one.until_us / 1e6))
            does = (
                "its alarm is shelved" if one.what is What.SHELVE else "it asks, and does not stop"
            )
            does = f"its channel {one.series} is left out" if one.series else does
            said.append(
                f"BYPASS: rule {one.rule}: {does} until {until}, by {one.owner}: {one.reason};"
                f" instead: {one.measure}"
            )
        if self._lowered.problem:
            said.append(f"bypasses: {self._lowered.problem}")
        return said

    def shelved(self) -> set[str]:
        """Name the rules whose alarms are not shown."""
        return {bench.rule.name for bench in self._wired.benches if self.clerk.shelved(bench)}

    def close(self) -> None:
        """Hang up."""
        self._desk.close()
        self._lowered.close()
