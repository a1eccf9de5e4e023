"""All of watch that people speak with, put together: desk, clerk, what is lowered, who may what.

The loop asks it four things: what to wait for, to serve what came, to hear what the warden says
of its cells, and what of it people shall see in `status`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from offswitch.control.peer import Peer
from offswitch.control.place import Place
from offswitch.model.decision import Decision
from offswitch.model.entry import EntryKind
from offswitch.watch.bench import Bench
from offswitch.watch.coverage import Coverage
from offswitch.watch.desk.clerk import Clerk, Office
from offswitch.watch.desk.door import Desk
from offswitch.watch.desk.enquiries import Enquiries
from offswitch.watch.desk.listing import banner
from offswitch.watch.desk.lowered import LoweredBook
from offswitch.watch.desk.proposals import Proposals
from offswitch.watch.desk.visitors import Visitors
from offswitch.watch.scribe import Scribe
from offswitch.watch.wiring import Wiring

__all__ = ["Reception"]

Message = dict[str, Any]
_PEOPLE_US = 5_000_000
"""How often the warden is asked whom it knows."""
_SOON_US = 500_000


class Reception:
    """Where people are heard."""

    def __init__(
        self,
        place: Place,
        desk: Desk,
        scribe: Scribe,
        wired: Wiring,
        *,
        covered: Callable[[Bench], Coverage],
        act: Callable[[Decision], None],
        apply: Callable[[Peer, Message], Message],
    ) -> None:
        """Serve at `desk` for the rules that are `wired`."""
        self._desk = desk
        self._clock = clock = desk.clock
        self._wired = wired
        self._enquiries = Enquiries(place.warden_socket, clock)
        self._people_us = 0
        self._visitors = Visitors(desk.owner, desk.gid, desk.station)
        self._lowered = LoweredBook(place.home, clock)
        proposals = Proposals(clock, self._enquiries.ask, self._lowered, self._visitors)
        self.clerk = Clerk(
            Office(
                wired, scribe, clock, self._visitors, self._lowered, proposals, covered, act, apply
            )
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
        return [*self._desk.waits(), *self._enquiries.waits()]

    def turn(self) -> None:
        """Serve what has come, and let return what has come to its end."""
        self._enquiries.turn()
        self._desk.turn(self.clerk.serve)
        self.clerk.turn()
        now_us = self._clock.mono_us()
        if now_us >= self._people_us:
            asked = self._enquiries.ask({"op": "people"}, self._visitors.hear_people)
            self._people_us = now_us + (_PEOPLE_US if asked else _SOON_US)

    def hear(self, rows: Iterable[Mapping[str, Any]], ran: object) -> None:
        """Take in what the warden says of its cells."""
        self._visitors.hear(rows, ran)

    def notes(self) -> list[str]:
        """Say what is lowered: nobody may overlook it (HMI-6)."""
        said = [banner(one) for one in self._lowered.now()]
        if self._lowered.problem:
            said.append(f"bypasses: {self._lowered.problem}")
        return said

    def shelved(self) -> set[str]:
        """Name the rules whose alarms are not shown."""
        return {bench.rule.name for bench in self._wired.benches if self.clerk.shelved(bench)}

    def close(self) -> None:
        """Hang up."""
        self._desk.close()
        self._enquiries.close()
        self._lowered.close()
