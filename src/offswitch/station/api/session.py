"""`/api/v1/session`: who asks, signing in and out; and the other sessions of the same person."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from offswitch.errors import NotFound
from offswitch.station.parts import parts_of
from offswitch.station.people.accounts import Session
from offswitch.station.people.entering import begin, by_password, changed, end, own_page
from offswitch.station.people.passwords import LONGEST
from offswitch.station.people.visitor import SignedIn

__all__ = ["router", "session_shown"]

router = APIRouter(tags=["session"])


class SignIn(BaseModel):
    """Who signs in."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(max_length=64)]
    password: Annotated[str, Field(max_length=LONGEST)]


def session_shown(one: Session, own: Session | None) -> dict[str, Any]:
    """Give what is shown of a session: nothing by which it could be taken over."""
    return {
        "id": one.id,
        "way": one.way,
        "agent": one.agent,
        "made_us": one.made_us,
        "seen_us": one.seen_us,
        "this": own is not None and own.key == one.key,
    }


@router.post("/session", status_code=201)
async def sign_in(request: Request, response: Response, given: SignIn) -> dict[str, Any]:
    """Sign in; the answer sets the cookie, and bears what later requests carry as `X-CSRF`."""
    own_page(request, "sign-in")
    await by_password(request, given.name, given.password, "api")
    session = begin(request, response, given.name, "password", "api")
    return {"name": session.name, "csrf": session.csrf}


@router.get("/session")
async def session(who: SignedIn) -> dict[str, Any]:
    """Tell who asks, and what they may do."""
    return {
        "name": who.name,
        "roles": sorted(who.roles),
        "powers": sorted(who.powers),
        "scope": who.scope,
        "csrf": who.csrf,
    }


@router.delete("/session", status_code=204)
async def sign_out(request: Request, response: Response, who: SignedIn) -> None:
    """Sign out."""
    end(request, response, who, "api")


@router.get("/sessions")
async def sessions(request: Request, who: SignedIn) -> dict[str, Any]:
    """List one's own sessions."""
    mine = parts_of(request).accounts.sessions_of(who.name)
    return {"sessions": [session_shown(one, who.session) for one in mine]}


@router.delete("/sessions/{session_id}", status_code=204)
async def end_session(
    request: Request, who: SignedIn, session_id: Annotated[str, Path(max_length=64)]
) -> None:
    """End one of one's own sessions."""
    parts = parts_of(request)
    for one in parts.accounts.sessions_of(who.name):
        if one.id == session_id:
            parts.accounts.sign_out(one)
            changed(
                parts,
                who.by,
                "session ended",
                "api",
                "signed in",
                "signed out",
                why="asked to, from another session",
            )
            return
    raise NotFound("no session of yours has that id", "see: GET /api/v1/sessions")
