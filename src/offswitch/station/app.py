"""The station, put together: readable from top to bottom.

request ─► headers ─► who is it (people/visitor) ─► a page (console/) or the API (api/)
a press ─► press/ ─► warden, keeper, spool            what was done ─► outbox ─► recorder
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI

from offswitch.errors import OffswitchError
from offswitch.station.api import devices as api_devices
from offswitch.station.api import drills as api_drills
from offswitch.station.api import (
    health,
    incidents,
    ledger,
    pages,
    problems,
    resets,
    session,
    status,
    stops,
    tokens,
)
from offswitch.station.api import people as api_people
from offswitch.station.api import rules as api_rules
from offswitch.station.api import tickets as api_tickets
from offswitch.station.console import alarms as alarm_pages
from offswitch.station.console import (
    answering,
    board,
    devices,
    drills,
    feed,
    files,
    me,
    passkeys,
    people,
    record,
    resetting,
    rules,
    signing,
    sso,
    stopping,
    target,
    tickets,
    told,
    views,
)
from offswitch.station.console import incidents as incident_pages
from offswitch.station.console.drawing import Paint
from offswitch.station.http.bounds import Bounds
from offswitch.station.http.headers import Headers
from offswitch.station.notify.hooks import pagerduty, slack
from offswitch.station.parts import Parts
from offswitch.station.picture.desk import DeskReader
from offswitch.station.picture.follower import Follower
from offswitch.station.picture.proofs import Proofs
from offswitch.station.wire import ask

__all__ = ["create"]

_PUMP_S = 0.05
_LOOK_S = 2.0
_ANNUNCIATE_S = 1.0
_API_VERSION = "1"
"""Of the interface; which build answers is told to nobody who is not signed in."""

_PAGES = (
    signing.router,
    sso.router,
    stopping.router,
    board.router,
    answering.router,
    target.router,
    record.router,
    incident_pages.router,
    alarm_pages.router,
    resetting.router,
    rules.router,
    drills.router,
    tickets.router,
    told.router,
    people.router,
    me.router,
    passkeys.router,
    devices.router,
    feed.router,
    files.router,
)
_VIEWS = {
    "frame": views.nothing,
    "board": views.board,
    "scope": views.scope,
    "target": views.target,
    "readiness": views.readiness,
    "stopped": views.stopped,
}
"""What is live on pages besides their frame, by the name that `page(view=…)` takes."""
_API = (
    status.router,
    stops.router,
    session.router,
    api_people.router,
    tokens.router,
    api_devices.router,
    ledger.router,
    incidents.router,
    resets.router,
    api_rules.router,
    api_drills.router,
    pages.router,
    api_tickets.router,
)
_HOOKS = (slack.router, pagerduty.router)
"""What others tell us: signed by them, and by nobody who is signed in."""


def create(parts: Parts) -> FastAPI:
    """Make the application of a station."""
    app = FastAPI(
        title="Offswitch",
        version=_API_VERSION,
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=_life,
    )
    app.state.parts = parts
    app.state.feeds = feed.Feeds(parts.eye, Paint(parts.faces.templates), _VIEWS)
    problems.install(app)
    app.include_router(health.router)
    for router in _API:
        app.include_router(router, prefix="/api/v1", responses=problems.described())
    for router in _HOOKS:
        app.include_router(router, include_in_schema=False)
    for router in _PAGES:
        app.include_router(router, include_in_schema=False)
    app.add_middleware(
        Bounds,
        section=parts.config.station,
        tell=lambda address, why: parts.refused(f"from:{address}", "a request", "http", why),
    )
    app.add_middleware(Headers, secure=parts.config.station.secure)
    return app


@asynccontextmanager
async def _life(app: FastAPI) -> AsyncIterator[None]:
    """Keep going what goes on beside the requests."""
    parts: Parts = app.state.parts
    parts.tail.add(Proofs(parts.hub).hear)
    parts.tail.add(parts.notifier.hear)
    always = (
        _record,
        _look,
        _follow,
        _see,
        _hear,
        _watch,
        _notify,
        _drill,
        _remind,
        _door,
        _annunciate,
    )
    tasks = [asyncio.create_task(work(parts)) for work in always]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await parts.presser.close()
        await parts.notifier.close()
        parts.outbox.close()


async def _watch(parts: Parts) -> None:
    """Keep what pages show up to date."""
    await parts.eye.watch()


async def _record(parts: Parts) -> None:
    """Hand in what is to be recorded."""
    while True:
        parts.outbox.pump()
        await asyncio.sleep(_PUMP_S)


async def _notify(parts: Parts) -> None:
    """Tell people what happens."""
    await parts.notifier.run()


async def _door(parts: Parts) -> None:
    """Hear people at this machine."""
    if parts.door is not None:
        await parts.door()


async def _remind(parts: Parts) -> None:
    """Remind people of what they are asked from outside."""
    await parts.tickets.run()


async def _look(parts: Parts) -> None:
    """Ask the warden whose installation this is, and whom it knows."""
    while True:
        with suppress(OffswitchError):
            said = await ask(parts.place.warden_socket, {"op": "ping"})
            parts.installation = str(said.get("installation", ""))
            parts.outbox.of(parts.installation)
            await parts.confirmers.look()
        section = parts.config.station
        parts.accounts.sweep(parts.clock.wall_us(), section.session, section.idle)
        await asyncio.sleep(_LOOK_S)


async def _follow(parts: Parts) -> None:
    """Follow the record; without anybody who reads it this station ends, and is started anew."""
    try:
        await parts.tail.run()
    except OffswitchError as error:
        sys.stderr.write(f"offswitch station: {error}\n")
        signal.raise_signal(signal.SIGTERM)


async def _see(parts: Parts) -> None:
    """Keep the picture of the world, as the warden tells it."""
    await Follower(parts.place.warden_socket, parts.hub, parts.clock).run()


async def _hear(parts: Parts) -> None:
    """Keep what watch says at its desk."""
    await DeskReader(f"{parts.place.control}/watch", parts.hub, parts.clock).run()


async def _drill(parts: Parts) -> None:
    """Rehearse."""
    await parts.drilling.go_on()


async def _annunciate(parts: Parts) -> None:
    """Measure what people are told of."""
    while True:
        parts.alarms.hear(parts.hub.picture.desk.alarms, parts.clock.wall_us())
        await asyncio.sleep(_ANNUNCIATE_S)
