"""`python -I -m offswitch.station`: listen, give all rights away, serve until told to end.

As root it reads the configuration and its secrets, opens its port, imports everything, has the
archive's clerks forked, and becomes a user of its own (`settle`).
"""

from __future__ import annotations

import asyncio
import asyncio.constants
import gc
import logging
import os
import socket
import ssl
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

import uvicorn

from offswitch.clock import SystemClock
from offswitch.config.load import Loaded, installed_kinds, load
from offswitch.config.station import Station
from offswitch.control.place import Place, chosen
from offswitch.control.shed import complain
from offswitch.errors import Busy, OffswitchError
from offswitch.ledger.outbox import Outbox
from offswitch.station.alarms.book import AlarmBook
from offswitch.station.app import create
from offswitch.station.archive.link import Archive
from offswitch.station.archive.tail import Tail
from offswitch.station.console.faces import Faces
from offswitch.station.console.scene import Eye
from offswitch.station.door import Door, listen
from offswitch.station.drilling import Drilling
from offswitch.station.incidents.book import Book
from offswitch.station.lines import Lines, protocol
from offswitch.station.notify.book import Queues
from offswitch.station.notify.notifier import Notifier
from offswitch.station.notify.prepare import Addresses, Prepared, prepare
from offswitch.station.parts import Parts
from offswitch.station.people.accounts import Accounts
from offswitch.station.people.confirmers import Confirmers
from offswitch.station.people.entrance import Entrance
from offswitch.station.people.first import first_account
from offswitch.station.people.passwords import Passwords
from offswitch.station.people.sso import Provider, provider_of
from offswitch.station.people.store import Store
from offswitch.station.picture.hub import Hub
from offswitch.station.prepared import import_ours
from offswitch.station.press.pressing import Presser
from offswitch.station.settle import folder_of, settle
from offswitch.station.support import Analyst
from offswitch.station.tickets.intake import Tickets
from offswitch.station.times import StopTimes
from offswitch.station.tls import context_of

__all__ = ["main"]

_BACKLOG = 2048
_HANDSHAKE_S = 10.0
_PRESSES = 5
"""The latest presses, as pages show them."""


def main(argv: Sequence[str] | None = None) -> int:
    """Serve one installation: `--home H --run R`, or the one that the environment names."""
    given = list(sys.argv[1:] if argv is None else argv)
    place = chosen()
    if len(given) == 4 and given[0] == "--home" and given[2] == "--run":  # noqa: PLR2004
        place = Place(given[1], given[3])
    elif given:
        sys.stderr.write("usage: python -I -m offswitch.station [--home FOLDER --run FOLDER]\n")
        return 2
    try:
        _serve(place)
    except OffswitchError as error:
        sys.stderr.write(f"offswitch station: {error}\n")
        return error.exit_code
    return 0


def _serve(place: Place) -> None:
    named = bool(os.environ.get("OFFSWITCH_CONFIG"))
    loaded = load(place.config, installed_kinds(), named=named)
    complain("station", loaded.degraded)
    section, owner = loaded.config.station, os.geteuid()
    context = context_of(section, place.home)
    provider, why = provider_of(section.sso, place.home, SystemClock())
    complain("station", [why] if why else [])
    sock = _listen(section)
    door = listen(place.control)
    import_ours()
    faces = Faces.read()
    prepared = prepare(loaded.config, SystemClock())
    complain("station", prepared.problems)
    gc.freeze()
    clerks = [Archive.fork(place.home) for _ in range(3)]
    settled, refused = settle(place)
    complain("station", refused)
    parts = _parts(settled, loaded, provider, faces, *clerks)
    url = _url(section, sock)
    _tell_people(parts, prepared, url)
    if door is not None:
        parts.door = Door(*door, owner, parts).run
    _say_where(settled.home, url)
    _hear(parts, context, sock)


def _hear(parts: Parts, context: ssl.SSLContext | None, sock: socket.socket) -> None:
    """Answer requests until told to end."""
    lines = Lines(lambda address, why: parts.refused(f"from:{address}", "a request", "http", why))
    config = uvicorn.Config(
        create(parts),
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        http=protocol(lines),
        ws="none",
        loop="asyncio",
        lifespan="on",
        timeout_keep_alive=30,
        timeout_graceful_shutdown=2,
        h11_max_incomplete_event_size=32 << 10,
        ssl_context_factory=None if context is None else lambda _config, _default: context,
    )
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    # uvicorn has no way to say it: who begins TLS and stays silent holds no descriptor for long.
    asyncio.constants.SSL_HANDSHAKE_TIMEOUT = _HANDSHAKE_S
    uvicorn.Server(config).run(sockets=[sock])


def _tell_people(parts: Parts, prepared: Prepared, url: str) -> None:
    """Make what tells people, and what they are asked from outside, last of all parts."""
    queues = Queues(folder_of(parts.place.home))
    known = (parts.config, parts.clock, parts.outbox, parts.tail, parts.hub, queues)
    at = Addresses(url, f"{parts.place.control}/watch")
    parts.notifier = Notifier(*known, prepared=prepared, at=at)
    issuers, here = parts.config.outside, partial(getattr, parts, "installation")
    asked = (parts.clock, parts.outbox, queues, parts.presser)
    parts.tickets = Tickets(issuers, *asked, here)


def _parts(
    place: Place,
    loaded: Loaded,
    provider: Provider | None,
    faces: Faces,
    clerk: Archive,
    archive: Archive,
    checker: Archive,
) -> Parts:
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


def _listen(section: Station) -> socket.socket:
    """Listen where the configuration says; where it says nothing and that is taken, anywhere."""
    try:
        return _listen_at(section, section.port)
    except Busy:
        if "listen" in section.model_fields_set:
            raise
    return _listen_at(section, 0)


def _listen_at(section: Station, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in section.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((section.host, port))
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        raise Busy(
            f"the console cannot listen on {section.listen}: {error.strerror}",
            'another address: [station] listen = "127.0.0.1:7475" in offswitch.toml',
        ) from None
    return sock


def _url(section: Station, sock: socket.socket) -> str:
    """Give the address by which people reach us; port 0 is known only now."""
    host, port = sock.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    scheme = "https" if section.tls_cert else "http"
    return section.url or f"{scheme}://{shown}:{port}"


def _say_where(home: str, url: str) -> None:
    """Leave our address where `up` finds it."""
    with suppress(OSError), open(f"{folder_of(home)}/address", "w", encoding="ascii") as file:
        file.write(f"{url}\n")


if __name__ == "__main__":
    sys.exit(main())
