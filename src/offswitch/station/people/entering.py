"""Signing in and out, whatever way it was asked for: one place that records it.

password ─┐
passkey  ─┤
invitation┼─► begin: a new session, its cookie, an entry
sso      ─┘
"""

from __future__ import annotations

from fastapi import Request, Response

from offswitch.errors import Refused
from offswitch.model.entry import EntryKind
from offswitch.printable import printable
from offswitch.station.parts import Parts, parts_of
from offswitch.station.people.accounts import Session
from offswitch.station.people.first import first_signed_in
from offswitch.station.people.pauses import Paused
from offswitch.station.people.visitor import Visitor, cookie_of, find, same_site
from offswitch.station.settle import folder_of

__all__ = ["address_of", "begin", "by_password", "changed", "end", "own_page"]

_MOST_WAITING = 32
_WRONG = "name or password are wrong"


def address_of(request: Request) -> str:
    """Give where a request comes from."""
    return request.client.host if request.client is not None else ""


def own_page(request: Request, what: str) -> None:
    """Refuse what another site sent; for what is asked before anybody is signed in."""
    if not same_site(request):
        who = f"from:{address_of(request)}"
        parts_of(request).refused(who, what, "console", "another site sent it")
        raise Refused("another site sent this", "do it on the page itself")


async def by_password(request: Request, name: str, password: str, channel: str) -> None:
    """See that the password is this name's; raises `Refused` or `Paused`, both recorded."""
    parts = parts_of(request)
    now_us, address = parts.clock.mono_us(), address_of(request)
    waits = parts.entrance.pauses.wait_us(name, address, now_us)
    if waits or parts.passwords.waiting > _MOST_WAITING:
        parts.refused(f"from:{address}", "sign-in", channel, "too many wrong tries before")
        raise Paused(waits)
    parts.entrance.pauses.tried(name, address, now_us)
    account = parts.accounts.get(name)
    if not await parts.passwords.match(password, None if account is None else account.password):
        who = printable(name, 40)
        parts.refused(f"name:{who}", "sign-in", channel, f"{_WRONG}, from {address}")
        raise Refused(_WRONG, "an admin can give you a link to set a new one")
    parts.entrance.pauses.passed(name, address, now_us)


def begin(request: Request, response: Response, name: str, way: str, channel: str) -> Session:
    """Begin a session of `name`, and have its cookie set; an older one of this browser ends."""
    parts = parts_of(request)
    before = find(request)
    if before is not None and before.session is not None:
        parts.accounts.sign_out(before.session)
    agent = request.headers.get("user-agent", "")
    key, session = parts.accounts.sign_in(name, parts.clock.wall_us(), way, agent)
    first_signed_in(folder_of(parts.place.home), name)
    why = f"by {way}, from {address_of(request)}"
    changed(parts, f"person:{name}", "signed in", channel, "signed out", "signed in", why=why)
    section = parts.config.station
    response.set_cookie(
        cookie_of(section),
        key,
        max_age=section.session // 1_000_000,
        path="/",
        secure=section.secure,
        httponly=True,
        samesite="strict",
    )
    return session


def end(request: Request, response: Response, who: Visitor, channel: str) -> None:
    """End the session that asks for it."""
    parts = parts_of(request)
    if who.session is not None:
        parts.accounts.sign_out(who.session)
    changed(parts, who.by, "signed out", channel, "signed in", "signed out", why="asked to")
    section = parts.config.station
    response.delete_cookie(
        cookie_of(section), secure=section.secure, httponly=True, samesite="strict"
    )


def changed(
    parts: Parts, by: str, what: str, channel: str, prior: str, state: str, *, why: str
) -> None:
    """Have it recorded that something about people has changed."""
    parts.outbox.tell(
        EntryKind.PEOPLE, what, why=why, prior=prior, state=state, by=by, channel=channel
    )
