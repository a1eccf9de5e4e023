"""Who sends a request: a person with a session, a token, a device, or nobody.

    VisitorOf      anybody; `None` where nobody says who they are
    SignedIn       a person; others are led to the sign-in page, or told 401
    may(POWER)     a person with that power; others are refused, and that is recorded

A session is a cookie that no script reads and no other site sends (HttpOnly, SameSite=Strict,
`__Host-` where people come by TLS). What changes something carries the session's token besides,
in the form's field `csrf` or in the header `X-CSRF`: `SignedIn` and `may` see to that for every
request that is no GET. STOP alone does not ask for it: a page that lay open for a day still
stops, and what a foreign site sends is told by its origin.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from offswitch.config.station import Station
from offswitch.decide.roles import Power, Role, powers
from offswitch.errors import Refused
from offswitch.station.parts import Parts, parts_of
from offswitch.station.people.accounts import Session
from offswitch.station.people.grants import GrantKind

__all__ = [
    "Nobody",
    "SignedIn",
    "Visitor",
    "VisitorOf",
    "cookie_of",
    "find",
    "may",
    "same_site",
]

_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
_LOOKING = {"GET", "HEAD", "OPTIONS"}


class Nobody(Exception):
    """The request says not who sends it, and must."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who sends a request."""

    name: str
    kind: str
    """`person`, `token` or `device`."""
    roles: frozenset[Role]
    scope: str = "/"
    """What they may stop: it and what is below."""
    session: Session | None = field(default=None, repr=False)

    @property
    def by(self) -> str:
        """How orders and entries name them."""
        return f"{self.kind}:{self.name}"

    @property
    def powers(self) -> frozenset[Power]:
        """What they may ask for. Whoever is no person can only stop (SEC-1)."""
        return powers(self.roles) if self.kind == "person" else frozenset({Power.STOP})

    @property
    def csrf(self) -> str:
        """What forms of this session carry."""
        return "" if self.session is None else self.session.csrf


def cookie_of(section: Station) -> str:
    """Name the cookie; with `__Host-` no neighbour below the same domain can set it."""
    return "__Host-offswitch" if section.secure else "offswitch"


def find(request: Request) -> Visitor | None:
    """Find out by the token or else the cookie; None where it names nobody."""
    parts: Parts = parts_of(request)
    bearer = request.headers.get("authorization")
    if bearer is not None:
        return _by_token(request, parts, bearer)
    section = parts.config.station
    key = request.cookies.get(cookie_of(section), "")
    if not key:
        return None
    session = parts.accounts.session(key, parts.clock.wall_us(), section.session, section.idle)
    account = None if session is None else parts.accounts.get(session.name)
    if session is None or account is None:
        return None
    # Who somebody is may be another's word; that they are who the warden knows is not (SEC-5).
    known = session.way != "sso" and parts.confirmers.is_safety(account.name)
    safety = {Role.SAFETY} if known else set()
    return Visitor(account.name, "person", account.roles | safety, session=session)


def _by_token(request: Request, parts: Parts, bearer: str) -> Visitor | None:
    """Find the program whose token was brought; a wrong one is nobody's, with whatever cookie."""
    scheme, _, key = bearer.partition(" ")
    grant = None
    if scheme.lower() == "bearer":
        grant = parts.entrance.grants.find(GrantKind.TOKEN, key.strip())
    if grant is None:
        where = "" if request.client is None else request.client.host
        parts.refused(f"from:{where}", request.url.path[:100], "api", "a token that is nobody's")
        return None
    parts.entrance.grants.used(grant, parts.clock.wall_us())
    return Visitor(grant.name, "token", frozenset(), grant.scope)


async def visitor(request: Request) -> Visitor | None:
    """Find out who asks, for a page or an operation, and for what is shown on every page."""
    request.state.visitor = found = find(request)
    return found


VisitorOf = Annotated[Visitor | None, Depends(visitor)]


async def signed_in(request: Request, found: VisitorOf) -> Visitor:
    """Want a person, and for a change that it is this person's own wish."""
    if found is None:
        raise Nobody
    if found.kind != "person":
        parts_of(request).refused(found.by, request.url.path[:100], "api", "it can only stop")
        raise Refused(f"the {found.kind} {found.name} can only stop", "sign in as a person")
    if request.method not in _LOOKING:
        await _meant(request, found)
    return found


SignedIn = Annotated[Visitor, Depends(signed_in)]


async def _meant(request: Request, found: Visitor) -> None:
    """See that a page of this session sent it, and no other site in its person's name."""
    why = "" if same_site(request) else "another site sent it in their name"
    if not why:
        given = request.headers.get("x-csrf", "")
        if not given and request.headers.get("content-type", "").startswith(_FORMS):
            sent = (await request.form()).get("csrf", "")
            given = sent if isinstance(sent, str) else ""
        if not hmac.compare_digest(given.encode(), found.csrf.encode()):
            why = "it carries not the token of their session"
    if why:
        parts_of(request).refused(found.by, request.url.path[:100], "console", why)
        raise Refused(
            f"this was not sent by a page of your session: {why}",
            "open the page anew and try again; a program sends the header X-CSRF",
        )


def may(power: Power) -> Callable[[Request, Visitor], Awaitable[Visitor]]:
    """Make the dependency that wants somebody with `power`."""

    async def wanted(request: Request, found: SignedIn) -> Visitor:
        if power not in found.powers:
            parts_of(request).refused(found.by, power.value, "console", "not their role")
            raise Refused(
                f"{found.name} may not {power.value}: that takes another role",
                "see who may: the page People",
            )
        return found

    return wanted


def same_site(request: Request) -> bool:
    """Tell whether our own page sent this, as far as the browser says; no browser says nothing."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site in {"same-origin", "none"}
    origin = request.headers.get("origin")
    return origin is None or origin.partition("://")[2] == request.headers.get("host")
