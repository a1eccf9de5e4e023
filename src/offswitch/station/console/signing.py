"""Signing in and out. Every try that fails is recorded; each name and address is slowed down."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from offswitch.errors import OffswitchError, Refused
from offswitch.station.console.render import page
from offswitch.station.parts import parts_of
from offswitch.station.people.entering import begin, by_password, end, own_page
from offswitch.station.people.passkeys import HERE
from offswitch.station.people.passwords import LONGEST
from offswitch.station.people.pauses import Paused
from offswitch.station.people.reach import relying_party
from offswitch.station.people.visitor import SignedIn

__all__ = ["local", "router", "sign_in_page"]

router = APIRouter()


@router.get("/sign-in")
async def asked(request: Request, to: str = "/") -> Response:
    """Show the form."""
    return sign_in_page(request, 200, to)


@router.post("/sign-in")
async def sign_in(
    request: Request,
    name: Annotated[str, Form(max_length=64)],
    password: Annotated[str, Form(max_length=LONGEST)],
    to: Annotated[str, Form(max_length=500)] = "/",
) -> Response:
    """Sign in with a password."""
    own_page(request, "sign-in")
    try:
        await by_password(request, name, password, "console")
    except Paused as paused:
        answer = sign_in_page(request, 429, to, name, paused)
        answer.headers["retry-after"] = str(paused.seconds)
        return answer
    except Refused as refused:
        return sign_in_page(request, 401, to, name, refused)
    response = RedirectResponse(local(to), 303)
    begin(request, response, name, "password", "console")
    return response


@router.post("/sign-out")
async def sign_out(request: Request, who: SignedIn) -> Response:
    """Sign out."""
    response = RedirectResponse("/sign-in", 303)
    end(request, response, who, "console")
    return response


def sign_in_page(
    request: Request, status: int, to: str, name: str = "", error: OffswitchError | None = None
) -> Response:
    """Show the form, and what went wrong."""
    passkeys = HERE and bool(relying_party(request))
    return page(
        request,
        "sign-in.html",
        status,
        to=local(to),
        error=error,
        name=name,
        passkeys=passkeys,
        sso=parts_of(request).entrance.provider is not None,
    )


def local(url: str) -> str:
    """Give a path of ours, whatever was asked for."""
    parts = urlsplit(url)
    whole = not parts.scheme and not parts.netloc and url.startswith("/")
    return url if whole and not url.startswith("//") and "\\" not in url else "/"
