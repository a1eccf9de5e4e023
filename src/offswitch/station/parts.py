"""All that a station is made of, in one value: what the pages and the API work with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from fastapi import Request

from offswitch.clock import Clock
from offswitch.config.declared import Config
from offswitch.control.place import Place
from offswitch.ledger.outbox import Outbox
from offswitch.model.entry import EntryKind
from offswitch.station.alarms.book import AlarmBook
from offswitch.station.archive.link import Archive
from offswitch.station.archive.tail import Tail
from offswitch.station.console.scene import Eye
from offswitch.station.drilling import Drilling
from offswitch.station.incidents.book import Book
from offswitch.station.notify.notifier import Notifier
from offswitch.station.people.accounts import Accounts
from offswitch.station.people.confirmers import Confirmers
from offswitch.station.people.entrance import Entrance
from offswitch.station.people.passwords import Passwords
from offswitch.station.picture.hub import Hub
from offswitch.station.press.pressing import Presser
from offswitch.station.support import Analyst
from offswitch.station.tickets.intake import Tickets
from offswitch.station.times import StopTimes

if TYPE_CHECKING:  # what draws pages asks who looks, and that asks for the parts
    from offswitch.station.console.faces import Faces

__all__ = ["Parts", "parts_of"]

_SECOND_US = 1_000_000
_MOST_REFUSERS = 1000


@dataclass(slots=True)
class Parts:
    """One station."""

    place: Place
    config: Config
    clock: Clock
    outbox: Outbox
    accounts: Accounts
    passwords: Passwords
    entrance: Entrance
    confirmers: Confirmers
    presser: Presser
    eye: Eye
    tail: Tail
    """Follows the record; whoever keeps something of it listens there."""
    archive: Archive
    """Answers people's questions about the record, each in an instant."""
    checker: Archive
    """Does what takes a while: verifies, exports."""
    incidents: Book
    analyst: Analyst
    """Says what there is to see before one decides."""
    drilling: Drilling
    alarms: AlarmBook
    """What people were told of, so that the console's own alarms can be measured."""
    times: StopTimes
    faces: Faces
    """Templates and static files, as they were read at the start."""
    hub: Hub = field(default_factory=Hub)
    """Holds the picture of the world, and tells who subscribes what has changed."""
    installation: str = ""
    """As the warden names itself; empty until it has answered once."""
    notifier: Notifier = field(init=False)
    """Tells people, and hears that they have seen it; made last, of all the others."""
    tickets: Tickets = field(init=False)
    """Orders from outside."""
    door: Callable[[], Awaitable[None]] | None = None
    """Hears people at this machine; None: nobody is heard there."""
    _refused_us: dict[str, int] = field(default_factory=dict)

    def refused(self, by: str, what: str, channel: str, why: str) -> None:
        """Have a refusal recorded, though no more often than once a second for each who."""
        now_us = self.clock.mono_us()
        if now_us - self._refused_us.get(by, -_SECOND_US) < _SECOND_US:
            return
        if len(self._refused_us) > _MOST_REFUSERS:
            self._refused_us.clear()
        self._refused_us[by] = now_us
        self.outbox.tell(
            EntryKind.REFUSED,
            what,
            why=why,
            prior="as it was",
            state="as it was",
            by=by,
            channel=channel,
        )


def parts_of(request: Request) -> Parts:
    """Give the parts of the station that serves `request`."""
    return cast("Parts", request.app.state.parts)
