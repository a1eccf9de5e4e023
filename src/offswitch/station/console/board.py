"""The Board, a scope's page and Readiness: all targets, and above them one sentence."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from offswitch.decide.roles import Power
from offswitch.model.scope import parse_scope
from offswitch.station.console.render import page
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


@router.get("/readiness")
async def readiness(request: Request, who: Reads) -> Response:
    """Show whether everything can be stopped right now."""
    return page(request, "readiness.html", visitor=who, view="readiness", again=AGAIN_S)
