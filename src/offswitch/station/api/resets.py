"""Resets over the API: what waits, opening one, confirming one with a proof."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel, ConfigDict, Field

from offswitch.decide.roles import Power
from offswitch.station.parts import parts_of
from offswitch.station.people.visitor import SignedIn, Visitor, may
from offswitch.station.resets.handing import Grounds, confirm, open_reset, waiting

__all__ = ["router"]

router = APIRouter(prefix="/resets", tags=["resets"])

Scope = Annotated[str, Field(min_length=1, max_length=500)]
Words = Annotated[str, Field(min_length=1, max_length=2000)]
Proofs = Annotated[list[Annotated[str, Field(max_length=20_000)]], Field(max_length=4)]


class Opening(BaseModel):
    """What a reset is opened with."""

    model_config = ConfigDict(extra="forbid")

    scope: Scope
    reason: Words
    """The cause."""
    safe: Words
    """Why it is safe now."""
    changed: Words
    """What was changed since."""
    write_off: bool = False


class Confirmation(BaseModel):
    """What a reset is confirmed with."""

    model_config = ConfigDict(extra="forbid")

    scope: Scope
    """The reset's scope, typed once more."""
    proofs: Proofs


@router.get("")
async def resets(
    request: Request, who: Annotated[Visitor, Depends(may(Power.READ))]
) -> dict[str, Any]:
    """Give the resets that wait for people."""
    return await waiting(parts_of(request), who)


@router.post("", status_code=202)
async def opened(request: Request, who: SignedIn, opening: Opening) -> dict[str, Any]:
    """Open one. It clears nothing before people have proven themselves to the warden."""
    grounds = Grounds(**opening.model_dump())
    found: dict[str, Any] = await open_reset(parts_of(request), who, grounds, [])
    return found


@router.post("/{digest}/confirm")
async def confirmed(
    request: Request,
    who: SignedIn,
    digest: Annotated[str, Path(pattern="^[0-9a-f]{64}$")],
    given: Confirmation,
) -> dict[str, Any]:
    """Bring proofs to one; a session or a token alone proves nothing."""
    found: dict[str, Any] = await confirm(parts_of(request), who, digest, given.scope, given.proofs)
    return found
