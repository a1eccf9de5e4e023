"""The Board: all targets by scope, and above them one sentence."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from offswitch.station.console.render import page
from offswitch.station.parts import parts_of
from offswitch.station.people.visitor import SignedIn
from offswitch.station.wire import ask

__all__ = ["router"]

router = APIRouter()


@router.get("/")
async def board(request: Request, who: SignedIn) -> Response:
    """Show it."""
    said = await ask(parts_of(request).place.warden_socket, {"op": "status", "scope": None})
    return page(request, "board.html", visitor=who, scope="/", said=said)
