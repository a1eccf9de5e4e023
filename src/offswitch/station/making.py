"""The parts of a station, made and put together: after rights are gone, before anybody is heard."""

from __future__ import annotations

from functools import partial

from offswitch.clock import SystemClock
from offswitch.config.load import Loaded
from offswitch.control.place import Place
from offswitch.ledger.outbox import Outbox
from offswitch.station.alarms.book import AlarmBook
from offswitch.station.archive.link import Archive
from offswitch.station.archive.tail import Tail
from offswitch.station.console.faces import Faces
from offswitch.station.console.scene import Eye
from offswitch.station.drilling import Drilling
from offswitch.station.incidents.book import Book
from offswitch.station.notify.book import Queues
from offswitch.station.notify.notifier import Notifier
from offswitch.station.notify.prepare import Addresses, Prepared
from offswitch.station.parts import Parts
from offswitch.station.people.accounts import Accounts
from offswitch.station.people.confirmers import Confirmers
from offswitch.station.people.entrance import Entrance
from offswitch.station.people.first import first_account
from offswitch.station.people.passwords import Passwords
from offswitch.station.people.sso import Provider
from offswitch.station.people.store import Store
from offswitch.station.picture.hub import Hub
from offswitch.station.press.pressing import Presser
from offswitch.station.settle import folder_of
from offswitch.station.support import Analyst
from offswitch.station.tickets.intake import Tickets
from offswitch.station.times import StopTimes

__all__ = ["make", "tell_people"]

_PRESSES = 5
"""The latest presses, as pages show them."""


def make(
    place: Place,
    loaded: Loaded,
    provider: Provider | None,
    faces: Faces,
    clerks: tuple[Archive, Archive, Archive],
) -> Parts:
    """Make them, for the installation at `place`; nothing runs yet."""
    clerk, archive, checker = clerks
    clock = SystemClock()
    store, passwords = Store(folder_of(place.home)), Passwords()
    accounts = Accounts(store)
    first_account(folder_of(place.home), accounts, clock)
    outbox = Outbox(place, clock, "station")
    hub = Hub()
    eye = Eye(hub, clock)
    presser = Presser(
        place,
        clock,
        lambda _pressed: eye.told([each.as_dict() for each in presser.latest[:_PRESSES]]),
    )
    tail, incidents = Tail(clerk), Book()
    tail.add(incidents.take)
    drilling = Drilling(place, clock, loaded.config.drill.canary)
    tail.add(drilling.take)
    times = StopTimes()
    tail.add(times.take)
    analyst = Analyst(clock, hub, incidents, archive, loaded.config)
    tail.add(analyst.take)
    return Parts(
        place=place,
        config=loaded.config,
        clock=clock,
        outbox=outbox,
        accounts=accounts,
        passwords=passwords,
        entrance=Entrance.of(store, provider),
        confirmers=Confirmers(place),
        presser=presser,
        eye=eye,
        hub=hub,
        tail=tail,
        archive=archive,
        checker=checker,
        incidents=incidents,
        analyst=analyst,
        drilling=drilling,
        alarms=AlarmBook(clock.wall_us()),
        times=times,
        faces=faces,
    )


def tell_people(parts: Parts, prepared: Prepared, url: str) -> None:
    """Make what tells people, and what they are asked from outside, last of all parts."""
    queues = Queues(folder_of(parts.place.home))
    known = (parts.config, parts.clock, parts.outbox, parts.tail, parts.hub, queues)
    at = Addresses(url, f"{parts.place.control}/watch")
    parts.notifier = Notifier(*known, prepared=prepared, at=at)
    issuers, here = parts.config.outside, partial(getattr, parts, "installation")
    asked = (parts.clock, parts.outbox, queues, parts.presser)
    parts.tickets = Tickets(issuers, *asked, here)
