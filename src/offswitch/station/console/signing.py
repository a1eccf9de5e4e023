"""Signing in and out. Every try that fails is recorded; each name and address is slowed down."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from offswitch.errors import Refused
from offswitch.model.entry import EntryKind
from offswitch.station.console.render import page
from offswitch.station.parts import parts_of
from offswitch.station.people.visitor import COOKIE, SignedIn, same_site

__all__ = ["router"]

router = APIRouter()


@router.get("/sign-in")
async def asked(request: Request, to: str = "/") -> Response:
    """Show the form."""
    return page(request, "sign-in.html", to=_local(to), why="", name="")


@router.post("/sign-in")
async def sign_in(
    request: Request,
    name: Annotated[str, Form(max_length=64)],
    password: Annotated[str, Form(max_length=1024)],
    to: Annotated[str, Form(max_length=500)] = "/",
) -> Response:
    """Sign in with a password."""
    parts = parts_of(request)
    if not same_site(request):
        raise Refused("another site sent this", "sign in on the page itself")
    account = parts.accounts.get(name)
    if not await parts.passwords.match(password, None if account is None else account.password):
        parts.refused(f"name:{name[:40]}", "sign-in", "console", "name or password are wrong")
        why = "Name or password are wrong."
        return page(request, "sign-in.html", 401, to=_local(to), why=why, name=name)
    key, _session = parts.accounts.sign_in(name, parts.clock.wall_us())
    parts.outbox.tell(
        EntryKind.PEOPLE,
        "signed in",
        why="a password",
        prior="signed out",
        state="signed in",
        by=f"person:{name}",
        channel="console",
    )
    response = RedirectResponse(_local(to), 303)
    response.set_cookie(
        COOKIE,
        key,
        max_age=parts.config.station.session // 1_000_000,
        secure=parts.config.station.secure,
        httponly=True,
        samesite="strict",
    )
    return response


@router.post("/sign-out")
async def sign_out(request: Request, who: SignedIn) -> Response:
    """Sign out."""
    parts = parts_of(request)
    if who.session is not None:
        parts.accounts.sign_out(who.session)
    parts.outbox.tell(
        EntryKind.PEOPLE,
        "signed out",
        why="asked to",
        prior="signed in",
        state="signed out",
        by=who.by,
        channel="console",
    )
    response = RedirectResponse("/sign-in", 303)
    response.delete_cookie(COOKIE)
    return response


def _local(url: str) -> str:
    parts = urlsplit(url)
    whole = not parts.scheme and not parts.netloc and url.startswith("/")
    return url if whole and not url.startswith("//") and "\\" not in url else "/"
