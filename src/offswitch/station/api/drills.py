"""Drills over the API: what they prove, and having one run now."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request

from offswitch.decide.roles import Power
from offswitch.drills.figures import NO_SIL
from offswitch.station.parts import parts_of
from offswitch.station.people.visitor import Visitor, may

__all__ = ["router"]

router = APIRouter(prefix="/drills", tags=["drills"])


@router.get("")
async def figures(
    request: Request, _who: Annotated[Visitor, Depends(may(Power.READ))]
) -> dict[str, Any]:
    """Give the figures per layer and combined, from the record alone, and when the next is due."""
    drilling = parts_of(request).drilling
    return {
        "figures": drilling.figures().as_dict(),
        "due": asdict(drilling.due()),
        "running": drilling.running,
        "trouble": drilling.trouble,
        "note": NO_SIL,
    }


@router.post("/canary")
async def canary(
    request: Request, who: Annotated[Visitor, Depends(may(Power.DRILL))]
) -> dict[str, Any]:
    """Run the canary drill now; answers when it has ended, after about half a second."""
    outcome = await parts_of(request).drilling.run(who.by, "api")
    return outcome.as_dict()
