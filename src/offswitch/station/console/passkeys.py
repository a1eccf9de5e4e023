"""Passkeys on the pages: registering one on one's account, and signing in with it.

The script `passkey.js` speaks with the authenticator; what it sends here is JSON, and bears the
session's token as `X-CSRF` where there is a session.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse
from pydantic import BaseModel, ConfigDict, Field

from offswitch.errors import OffswitchError, Refused
from offswitch.station.console.signing import local
from offswitch.station.parts import parts_of
from offswitch.station.people.entering import address_of, begin, by_password, changed, own_page
from offswitch.station.people.passkeys import SIGN_IN, options, registered
from offswitch.station.people.passwords import LONGEST
from offswitch.station.people.reach import base_url, relying_party
from offswitch.station.people.visitor import SignedIn, Visitor

__all__ = ["router"]

router = APIRouter()

_FRESH_US = 10 * 60_000_000


class Still(BaseModel):
    """That it is still the one who signed in."""

    model_config = ConfigDict(extra="forbid")

    password: Annotated[str, Field(max_length=LONGEST)] = ""


class New(BaseModel):
    """What the browser made."""

    model_config = ConfigDict(extra="forbid")

    credential: dict[str, Any]
    label: Annotated[str, Field(max_length=100)] = ""


class Word(BaseModel):
    """What the authenticator signed, as the text of a proof."""

    model_config = ConfigDict(extra="forbid")

    proof: Annotated[str, Field(max_length=16384)]
    to: Annotated[str, Field(max_length=500)] = "/"


@router.post("/me/passkeys/ask")
async def ask_new(request: Request, who: SignedIn, still: Still) -> Response:
    """Give what the browser's authenticator is asked for; a stolen session does not get it."""
    parts = parts_of(request)
    if parts.accounts.known(who.name).password is not None:
        await by_password(request, who.name, still.password, "console")
    elif who.session is None or parts.clock.wall_us() - who.session.made_us > _FRESH_US:
        raise Refused("you signed in a while ago", "sign out and in, then register it")
    passkeys = parts.entrance.passkeys
    challenge = passkeys.challenges.make(_purpose(who), parts.clock.mono_us())
    return JSONResponse(options(who.name, relying_party(request), challenge, passkeys.of(who.name)))


@router.post("/me/passkeys")
async def register(request: Request, who: SignedIn, new: New) -> Response:
    """Keep a new passkey."""
    parts = parts_of(request)
    one, challenge = registered(
        new.credential,
        who.name,
        relying_party(request),
        base_url(request),
        new.label,
        parts.clock.wall_us(),
    )
    parts.entrance.passkeys.challenges.take(_purpose(who), challenge, parts.clock.mono_us())
    parts.entrance.passkeys.add(one)
    what = f"passkey {one.label}"
    changed(parts, who.by, what, "console", "unknown", "signs in", why="registered")
    await parts.accounts.settled()
    return JSONResponse({"line": one.line}, 201)


@router.post("/me/passkeys/{ident}/remove")
async def remove(
    request: Request, who: SignedIn, ident: Annotated[str, Path(max_length=1400)]
) -> Response:
    """Forget one of one's own."""
    parts = parts_of(request)
    one = parts.entrance.passkeys.remove(who.name, ident)
    what = f"passkey {one.label}"
    changed(parts, who.by, what, "console", "signs in", "unknown", why="asked to")
    await parts.accounts.settled()
    return RedirectResponse("/me", 303)


@router.post("/sign-in/passkey/ask")
async def ask(request: Request) -> Response:
    """Give a challenge to sign."""
    parts = parts_of(request)
    challenge = parts.entrance.passkeys.challenges.make(SIGN_IN, parts.clock.mono_us())
    return JSONResponse({"challenge": challenge.hex()})


@router.post("/sign-in/passkey")
async def sign_in(request: Request, word: Word) -> Response:
    """Sign in whoever's passkey has signed it."""
    own_page(request, "sign-in")
    parts = parts_of(request)
    try:
        one = parts.entrance.passkeys.check(word.proof, parts.clock.mono_us())
        if parts.accounts.get(one.name) is None:
            raise Refused("this passkey is of nobody who may sign in", "ask an admin")
    except OffswitchError as error:
        who = f"from:{address_of(request)}"
        parts.refused(who, "sign-in", "console", f"passkey: {error.message}")
        raise
    response = JSONResponse({"to": local(word.to)})
    begin(request, response, one.name, "passkey", "console")
    return response


def _purpose(who: Visitor) -> str:
    return f"register:{who.name}:{who.csrf}"
