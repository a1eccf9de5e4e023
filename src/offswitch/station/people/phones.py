"""A phone that can only stop: offered by its person, enrolled once, revoked at any time.

    offer ─► a link, also as a QR code, good for ten minutes ─► enrol, on the phone ─► its key

The key is the address of the phone's one page: no cookie runs out, no session ends, and it works
from the home screen. The worst that somebody can do who reads it is to stop.
"""

from __future__ import annotations

import secrets

from offswitch.decide.roles import Power
from offswitch.errors import NotFound, Refused
from offswitch.station.parts import Parts
from offswitch.station.people.entering import changed
from offswitch.station.people.entrance import Enrolment
from offswitch.station.people.grants import GrantKind
from offswitch.station.people.visitor import Visitor

__all__ = ["enrol", "offer", "offered"]


def offer(parts: Parts, who: Visitor, name: str, scope: str) -> str:
    """Offer to enrol a phone of one's own; gives the path of the link."""
    if Power.STOP not in who.powers:
        parts.refused(who.by, f"enrol {name[:40]}", "console", "not their role")
        raise Refused(f"{who.name} may not stop, and so may no phone of theirs", "ask an admin")
    spelt = parts.entrance.grants.check(GrantKind.DEVICE, name, scope)
    code = secrets.token_urlsafe(24)
    enrolment = Enrolment(who.name, name, spelt)
    parts.entrance.enrolments.put(code, enrolment, parts.clock.mono_us())
    return f"/d/enrol/{code}"


def offered(parts: Parts, code: str) -> Enrolment:
    """Give what a link offers."""
    found = parts.entrance.enrolments.look(code, parts.clock.mono_us())
    if found is None or parts.accounts.get(found.person) is None:
        raise NotFound("this link was used, or is too old", "make a new one on the page Devices")
    return found


async def enrol(parts: Parts, code: str) -> str:
    """Enrol the phone that brings the link's code; gives its key."""
    found = offered(parts, code)
    parts.entrance.enrolments.take(code, parts.clock.mono_us())
    now_us = parts.clock.wall_us()
    key = parts.entrance.grants.make(
        GrantKind.DEVICE, found.name, found.person, found.scope, now_us
    )
    state = f"may stop {found.scope}"
    by = f"person:{found.person}"
    changed(parts, by, f"device {found.name}", "device", "unknown", state, why="enrolled by a link")
    await parts.accounts.settled()
    return key
