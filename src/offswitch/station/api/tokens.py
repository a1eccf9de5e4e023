"""`/api/v1/tokens`: what programs stop with. A token can do nothing else (SEC-1)."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel, ConfigDict, Field

from offswitch.decide.roles import Power
from offswitch.station.parts import parts_of
from offswitch.station.people import managing
from offswitch.station.people.grants import GrantKind
from offswitch.station.people.visitor import Visitor, may

__all__ = ["router"]

router = APIRouter(tags=["tokens"])

Admin = Annotated[Visitor, Depends(may(Power.PEOPLE))]


class NewToken(BaseModel):
    """A token to make."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(max_length=64)]
    scope: Annotated[str, Field(max_length=500)]
    """What it may stop: it and what is below."""


@router.get("/tokens")
async def tokens(request: Request, _who: Admin) -> dict[str, Any]:
    """List them, without their keys."""
    found = parts_of(request).entrance.grants.of(GrantKind.TOKEN)
    return {"tokens": [managing.grant_shown(one) for one in found]}


@router.post("/tokens", status_code=201)
async def make(request: Request, who: Admin, new: NewToken) -> dict[str, Any]:
    """Make one; the answer bears its key, this once."""
    key = await managing.make_token(parts_of(request), who, new.name, new.scope, "api")
    return {"name": new.name, "token": key}


@router.delete("/tokens/{name}", status_code=204)
async def revoke(request: Request, who: Admin, name: Annotated[str, Path(max_length=64)]) -> None:
    """Revoke one: its next press is refused."""
    parts = parts_of(request)
    one = parts.entrance.grants.known(GrantKind.TOKEN, name)
    await managing.revoke(parts, who, one, "api")
