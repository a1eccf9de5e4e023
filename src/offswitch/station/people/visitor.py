"""Who sends a request: a person with a session, a token, a device, or nobody.

    VisitorOf      anybody; `None` where nobody says who they are
    SignedIn       a person; others are led to the sign-in page, or told 401
    may(POWER)     a person with that power; others are refused, and that is recorded

A session is a cookie that no script reads and no other site sends (HttpOnly, SameSite=Strict).
A form besides carries the session's token, but STOP does not need it: a page that lay open
for a day still stops, and what a foreign site sends is told by its origin.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from offswitch.decide.roles import Power, Role, powers
from offswitch.errors import Refused
from offswitch.station.parts import Parts, parts_of
from offswitch.station.people.accounts import Session

__all__ = ["COOKIE", "Nobody", "SignedIn", "Visitor", "VisitorOf", "find", "may", "same_site"]

COOKIE = "offswitch"


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


def find(request: Request) -> Visitor | None:
    """Find out by the cookie; None where it names no session."""
    parts: Parts = parts_of(request)
    key = request.cookies.get(COOKIE, "")
    if not key:
        return None
    section = parts.config.station
    session = parts.accounts.session(key, parts.clock.wall_us(), section.session, section.idle)
    account = None if session is None else parts.accounts.get(session.name)
    if session is None or account is None:
        return None
    safety = {Role.SAFETY} if parts.confirmers.is_safety(account.name) else set()
    return Visitor(account.name, "person", account.roles | safety, session=session)


async def visitor(request: Request) -> Visitor | None:
    """Find out who asks, for a page or an operation, and for what is shown on every page."""
    request.state.visitor = found = find(request)
    return found


VisitorOf = Annotated[Visitor | None, Depends(visitor)]


async def signed_in(request: Request, found: VisitorOf) -> Visitor:
    """Want a person."""
    del request
    if found is None or found.kind != "person":
        raise Nobody
    return found


SignedIn = Annotated[Visitor, Depends(signed_in)]


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
