"""The page Alarms: how the console's own alarms do, measured as ISA-18.2 asks."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from offswitch.station.console.board import AGAIN_S, Reads
from offswitch.station.console.render import page
from offswitch.station.parts import parts_of

__all__ = ["router"]

router = APIRouter()

_MOST = 100


@router.get("/alarms")
async def alarms(request: Request, who: Reads) -> Response:
    """Show the figures and what people were told of last."""
    parts = parts_of(request)
    now_us = parts.clock.wall_us()
    return page(
        request,
        "alarms.html",
        visitor=who,
        again=AGAIN_S,
        figures=parts.alarms.figures(now_us),
        latest=parts.alarms.latest[:_MOST],
        flooded=parts.alarms.flooded,
        watch=parts.hub.picture.desk,
    )
