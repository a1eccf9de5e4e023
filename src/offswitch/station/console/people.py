"""The page People: who may sign in, who confirms resets, and which programs may stop.

Everybody may look; an admin adds, removes, gives roles, makes links and tokens. Whom the warden
knows stands beside it with the command that root types: nothing here can change that (SEC-5).
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Path, Request
from fastapi.responses import RedirectResponse, Response

from offswitch.decide.roles import Power, Role
from offswitch.errors import Usage
from offswitch.station.console.render import page
from offswitch.station.parts import parts_of
from offswitch.station.people import managing
from offswitch.station.people.grants import GrantKind
from offswitch.station.people.reach import base_url
from offswitch.station.people.visitor import Visitor, may

__all__ = ["router"]

router = APIRouter()

Name = Annotated[str, Path(max_length=64)]
Word = Annotated[str, Form(max_length=64)]
Reader = Annotated[Visitor, Depends(may(Power.READ))]
Admin = Annotated[Visitor, Depends(may(Power.PEOPLE))]
GIVEN = (Role.OPERATOR, Role.AUDITOR, Role.ADMIN)
"""What an admin can give."""


def _page(request: Request, who: Visitor, status: int = 200, **more: Any) -> Response:  # noqa: ANN401
    parts = parts_of(request)
    tokens = parts.entrance.grants.of(GrantKind.TOKEN)
    return page(
        request,
        "people.html",
        status,
        visitor=who,
        rules=Power.PEOPLE in who.powers,
        people=[managing.account_shown(parts, one) for one in parts.accounts.all()],
        confirmers=parts.confirmers,
        tokens=[managing.grant_shown(one) for one in tokens],
        given=[role.value for role in GIVEN],
        now_us=parts.clock.wall_us(),
        trouble=parts.accounts.trouble,
        **{"link": "", "link_of": "", "token": "", "token_of": "", **more},
    )


@router.get("/people")
async def people(request: Request, who: Reader) -> Response:
    """Show it."""
    return _page(request, who)


@router.post("/people")
async def add(
    request: Request,
    who: Admin,
    name: Word,
    role: Annotated[list[str] | None, Form(max_length=3)] = None,
) -> Response:
    """Let somebody in, and show the link that lets them set a password."""
    parts = parts_of(request)
    link = await managing.add(parts, who, name, _roles(role), "console")
    return _page(request, who, 201, link=base_url(request) + link, link_of=name)


@router.post("/people/{name}/roles")
async def give_roles(
    request: Request,
    who: Admin,
    name: Name,
    role: Annotated[list[str] | None, Form(max_length=3)] = None,
) -> Response:
    """Give somebody the roles that are ticked."""
    await managing.give_roles(parts_of(request), who, name, _roles(role), "console")
    return RedirectResponse("/people", 303)


@router.post("/people/{name}/link")
async def invite(request: Request, who: Admin, name: Name) -> Response:
    """Show a link by which somebody sets a new password."""
    link = await managing.invite(parts_of(request), who, name, "console")
    return _page(request, who, 201, link=base_url(request) + link, link_of=name)


@router.post("/people/{name}/remove")
async def remove(request: Request, who: Admin, name: Name) -> Response:
    """Remove somebody."""
    await managing.remove(parts_of(request), who, name, "console")
    return RedirectResponse("/people", 303)


@router.post("/people/tokens")
async def make_token(
    request: Request, who: Admin, name: Word, scope: Annotated[str, Form(max_length=500)]
) -> Response:
    """Make a token, and show it this once."""
    key = await managing.make_token(parts_of(request), who, name, scope, "console")
    return _page(request, who, 201, token=key, token_of=name)


@router.post("/people/tokens/{name}/revoke")
async def revoke_token(request: Request, who: Admin, name: Name) -> Response:
    """Revoke a token."""
    parts = parts_of(request)
    one = parts.entrance.grants.known(GrantKind.TOKEN, name)
    await managing.revoke(parts, who, one, "console")
    return RedirectResponse("/people", 303)


def _roles(given: list[str] | None) -> set[Role]:
    try:
        return {Role(one) for one in given or []}
    except ValueError:
        raise Usage("that is no role", "operator, auditor, admin") from None
