"""`/api/v1/pages`: what people were told, who has seen it; and saying that one has.

GET  /pages                          what was told, the latest first, and how the ways are
POST /pages/{thread}/acknowledge     seen: nobody else is called
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request

from offswitch.decide.roles import Power
from offswitch.station.parts import parts_of
from offswitch.station.people.visitor import Visitor, may

__all__ = ["router"]

router = APIRouter(tags=["pages"])


@router.get("/pages")
async def pages(
    request: Request, _visitor: Annotated[Visitor, Depends(may(Power.READ))]
) -> dict[str, Any]:
    """List them."""
    notifier = parts_of(request).notifier
    return {"pages": notifier.pages(), "ways": notifier.ways()}


@router.post("/pages/{thread}/acknowledge")
async def acknowledge(
    request: Request,
    who: Annotated[Visitor, Depends(may(Power.ACK))],
    thread: Annotated[str, Path(max_length=200)],
) -> dict[str, Any]:
    """Say that it was seen."""
    parts_of(request).notifier.acknowledge(thread, who.by, "console")
    return {"thread": thread, "seen_by": who.by}
