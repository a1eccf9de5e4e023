"""The page Told: what people were told, who has seen it, who is called next, and how the ways are.

POST /told/{thread}/acknowledge    somebody has seen it: nobody else is called
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Path, Request, Response
from fastapi.responses import RedirectResponse

from offswitch.decide.roles import Power
from offswitch.station.console.render import page
from offswitch.station.console.signing import local
from offswitch.station.parts import parts_of
from offswitch.station.people.visitor import Visitor, may

__all__ = ["router"]

router = APIRouter(prefix="/told")

_MOST = 200

Reads = Annotated[Visitor, Depends(may(Power.READ))]
Acks = Annotated[Visitor, Depends(may(Power.ACK))]


@router.get("")
async def told(request: Request, who: Reads) -> Response:
    """Show it; what nobody has seen comes first."""
    parts = parts_of(request)
    rows = sorted(
        parts.notifier.pages(),
        key=lambda row: not (row["open"] and row["urgent"] and not row["seen_by"]),
    )
    return page(
        request, "told.html", visitor=who, told=rows[:_MOST], ways=parts.notifier.ways(),
        problems=parts.notifier.prepared.problems, again=10,
    )  # fmt: skip


@router.post("/{thread}/acknowledge")
async def acknowledge(
    request: Request,
    who: Acks,
    thread: Annotated[str, Path(max_length=200)],
    back: Annotated[str, Form(max_length=500)] = "/told",
) -> Response:
    """Say that one has seen it."""
    parts_of(request).notifier.acknowledge(thread, who.by, "console")
    return RedirectResponse(local(back), 303)
