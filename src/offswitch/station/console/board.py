"""The Board, a scope's page and Readiness: all targets, and above them one sentence."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import RedirectResponse

from offswitch.decide.roles import Power
from offswitch.errors import NotFound
from offswitch.model.scope import nearest, parse_scope
from offswitch.model.target import Target
from offswitch.station.console.render import page
from offswitch.station.parts import parts_of
from offswitch.station.people.visitor import Visitor, may

__all__ = ["AGAIN_S", "Reads", "router"]

router = APIRouter()

AGAIN_S = 5
"""How often a browser without a script loads what moves."""

Reads = Annotated[Visitor, Depends(may(Power.READ))]


@router.get("/")
async def board(request: Request, who: Reads) -> Response:
    """Show the Board."""
    return page(request, "board.html", visitor=who, view="board", again=AGAIN_S)


@router.get("/scope/{path:path}")
async def scope(request: Request, who: Reads, path: str) -> Response:
    """Show all targets of a scope."""
    text = parse_scope(path).text
    return page(request, "board.html", visitor=who, view="scope", scope=text, again=AGAIN_S)


@router.get("/go")
async def go(request: Request, _who: Reads, to: Annotated[str, Query(max_length=250)]) -> Response:
    """Lead to the target or scope of that name."""
    picture = parts_of(request).hub.picture
    text = parse_scope(to.strip() or "/").text
    if text in picture.targets:
        return RedirectResponse(f"/target/{quote(text)}", 303)
    if not picture.under(text):
        known = [Target(row.name, row.labels) for row in picture.targets.values()]
        near = ", ".join(nearest(parse_scope(text), known))
        raise NotFound(f"nothing is called {text}", f"near it: {near}" if near else "see the Board")
    return RedirectResponse("/" if text == "/" else f"/scope/{quote(text)}", 303)


@router.get("/readiness")
async def readiness(request: Request, who: Reads) -> Response:
    """Show whether everything can be stopped right now."""
    return page(request, "readiness.html", visitor=who, view="readiness", again=AGAIN_S)
