"""The page Tickets: orders from outside, those that wait first, and the answer to each (DEC-8)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Path, Request, Response
from fastapi.responses import RedirectResponse

from offswitch.decide.roles import Power
from offswitch.station.console.render import page
from offswitch.station.parts import parts_of
from offswitch.station.people.visitor import Visitor, may

__all__ = ["router"]

router = APIRouter(prefix="/tickets")

_MOST = 200

Reads = Annotated[Visitor, Depends(may(Power.READ))]
Answers = Annotated[Visitor, Depends(may(Power.ANSWER))]
Name = Annotated[str, Path(max_length=80)]
Reason = Annotated[str, Form(max_length=2000)]


@router.get("")
async def tickets(request: Request, who: Reads) -> Response:
    """Show them."""
    parts = parts_of(request)
    shown = [one.as_dict() | {"waits": one.waits} for one in parts.tickets.all()[:_MOST]]
    now_us = parts.clock.wall_us()
    return page(request, "tickets.html", visitor=who, tickets=shown, now_us=now_us, again=30)


@router.post("/{ticket}/accept")
async def accept(request: Request, who: Answers, ticket: Name, reason: Reason = "") -> Response:
    """Stop what it asks for, and show what became of that."""
    done = await parts_of(request).tickets.accept(ticket, who.by, reason, "console")
    return RedirectResponse(f"/stopped/{done.press}?back=/tickets", 303)


@router.post("/{ticket}/decline")
async def decline(request: Request, who: Answers, ticket: Name, reason: Reason = "") -> Response:
    """Say no."""
    await parts_of(request).tickets.decline(ticket, who.by, reason, "console")
    return RedirectResponse("/tickets", 303)
