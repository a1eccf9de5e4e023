"""`/api/v1/people`: who may sign in, with which roles; and links by which they set a password."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel, ConfigDict, Field

from offswitch.decide.roles import Power, Role
from offswitch.station.parts import parts_of
from offswitch.station.people import managing
from offswitch.station.people.visitor import Visitor, may

__all__ = ["router"]

router = APIRouter(tags=["people"])

Name = Annotated[str, Path(max_length=64)]
Given = Annotated[list[Literal["operator", "auditor", "admin"]], Field(max_length=3)]
Admin = Annotated[Visitor, Depends(may(Power.PEOPLE))]


class NewPerson(BaseModel):
    """Somebody to let in."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(max_length=64)]
    roles: Given


class Roles(BaseModel):
    """What somebody is from now on; `safety` comes from the warden alone."""

    model_config = ConfigDict(extra="forbid")

    roles: Given


@router.get("/people")
async def people(
    request: Request, _who: Annotated[Visitor, Depends(may(Power.READ))]
) -> dict[str, Any]:
    """List who may sign in, and whom the warden knows."""
    parts = parts_of(request)
    return {
        "people": [managing.account_shown(parts, one) for one in parts.accounts.all()],
        "mode": parts.confirmers.mode,
        "confirmers": parts.confirmers.people,
        "problems": parts.confirmers.problems,
    }


@router.post("/people", status_code=201)
async def add(request: Request, who: Admin, new: NewPerson) -> dict[str, Any]:
    """Let somebody in; the answer bears the link by which they set their password, this once."""
    link = await managing.add(parts_of(request), who, new.name, set(map(Role, new.roles)), "api")
    return {"name": new.name, "link": link}


@router.patch("/people/{name}")
async def give_roles(request: Request, who: Admin, name: Name, given: Roles) -> dict[str, Any]:
    """Give somebody these roles and no others; their sessions end."""
    parts, roles = parts_of(request), set(map(Role, given.roles))
    account = await managing.give_roles(parts, who, name, roles, "api")
    return managing.account_shown(parts, account)


@router.delete("/people/{name}", status_code=204)
async def remove(request: Request, who: Admin, name: Name) -> None:
    """Remove somebody, with their sessions, links, passkeys and phones."""
    await managing.remove(parts_of(request), who, name, "api")


@router.post("/people/{name}/invitation", status_code=201)
async def invite(request: Request, who: Admin, name: Name) -> dict[str, Any]:
    """Make a link by which somebody sets a new password."""
    link = await managing.invite(parts_of(request), who, name, "api")
    return {"name": name, "link": link}
