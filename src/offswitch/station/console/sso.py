"""Signing in at the provider's: the way there, and the way back.

The state lies in a cookie besides, which the browser brings back from the provider's page: so
nobody is signed in as somebody else by a link. The way back ends on a page of ours that goes on
by itself, since a browser sends the session's cookie only from there.
"""

from __future__ import annotations

import hmac
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response

from offswitch.errors import NotFound, OffswitchError, Refused
from offswitch.printable import printable
from offswitch.station.console.render import page
from offswitch.station.console.signing import local, sign_in_page
from offswitch.station.parts import parts_of
from offswitch.station.people.accounts import digest_of
from offswitch.station.people.entering import address_of, begin, changed
from offswitch.station.people.reach import base_url
from offswitch.station.people.sso import Provider

__all__ = ["router"]

router = APIRouter()

_BACK = "/sign-in/sso/back"
_MINUTES_S = 600
Part = Annotated[str, Query(max_length=2000)]


def _cookie(request: Request) -> str:
    prefix = "__Host-" if parts_of(request).config.station.secure else ""
    return f"{prefix}offswitch-sso"


def _provider(request: Request) -> Provider:
    provider = parts_of(request).entrance.provider
    if provider is None:
        raise NotFound("nobody else signs people in here", "sign in with a password")
    return provider


@router.get("/sign-in/sso")
async def there(request: Request, to: Part = "/") -> Response:
    """Go to the provider."""
    provider = _provider(request)
    try:
        url, state = await provider.begin(base_url(request) + _BACK, local(to))
    except OffswitchError as error:
        return _failed(request, error, to)
    response = RedirectResponse(url, 303)
    response.set_cookie(
        _cookie(request),
        digest_of(state),
        max_age=_MINUTES_S,
        path="/",
        secure=parts_of(request).config.station.secure,
        httponly=True,
        samesite="lax",
    )
    return response


@router.get(_BACK)
async def back(request: Request, state: Part = "", code: Part = "", error: Part = "") -> Response:
    """Come back from there."""
    provider, parts = _provider(request), parts_of(request)
    try:
        given = request.cookies.get(_cookie(request), "")
        if not hmac.compare_digest(given.encode(), digest_of(state).encode()):
            raise Refused("this sign-in was not begun in this browser", "begin it anew")
        if error or not code:
            raise Refused(f"the provider refused: {printable(error, 100)}", "ask who runs it")
        arrived = await provider.finish(state, code)
        name, prior = parts.entrance.subjects.admit(
            parts.accounts,
            parts.entrance.passkeys,
            provider.issuer,
            arrived,
            parts.clock.wall_us(),
        )
    except OffswitchError as failure:
        return _failed(request, failure, "/")
    if prior != arrived.roles:
        before = "unknown" if prior is None else ", ".join(sorted(prior))
        why = "as their groups at the provider say"
        roles = ", ".join(sorted(arrived.roles))
        changed(parts, f"sso:{name}", f"roles of {name}", "console", before, roles, why=why)
    response = page(request, "entered.html", to=local(arrived.to), name=name)
    begin(request, response, name, "sso", "console")
    response.delete_cookie(_cookie(request), secure=parts.config.station.secure, httponly=True)
    await parts.accounts.settled()
    return response


def _failed(request: Request, error: OffswitchError, to: str) -> Response:
    parts = parts_of(request)
    parts.refused(f"from:{address_of(request)}", "sign-in", "console", f"sso: {error.message}")
    return sign_in_page(request, 403 if isinstance(error, Refused) else 503, to, error=error)
