"""`/api/v1/devices`: phones that can only stop; one's own, and for an admin everybody's."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, ConfigDict, Field

from offswitch.decide.roles import Power
from offswitch.station.parts import parts_of
from offswitch.station.people import managing, phones
from offswitch.station.people.grants import GrantKind
from offswitch.station.people.visitor import SignedIn

__all__ = ["router"]

router = APIRouter(tags=["devices"])


class NewDevice(BaseModel):
    """A phone to enrol."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(max_length=64)]
    scope: Annotated[str, Field(max_length=500)]
    """What it stops."""


@router.get("/devices")
async def devices(request: Request, who: SignedIn) -> dict[str, Any]:
    """List them, without their keys."""
    mine = None if Power.PEOPLE in who.powers else who.name
    found = parts_of(request).entrance.grants.of(GrantKind.DEVICE, mine)
    return {"devices": [managing.grant_shown(one) for one in found]}


@router.post("/devices", status_code=201)
async def offer(request: Request, who: SignedIn, new: NewDevice) -> dict[str, Any]:
    """Offer to enrol a phone of one's own; the answer bears the link, good for ten minutes."""
    return {"name": new.name, "link": phones.offer(parts_of(request), who, new.name, new.scope)}


@router.delete("/devices/{name}", status_code=204)
async def revoke(
    request: Request, who: SignedIn, name: Annotated[str, Path(max_length=64)]
) -> None:
    """Revoke one: its next press is refused."""
    parts = parts_of(request)
    one = parts.entrance.grants.known(GrantKind.DEVICE, name)
    await managing.revoke(parts, who, one, "api")
