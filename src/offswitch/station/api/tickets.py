"""`/api/v1/tickets`: orders from outside (DEC-8).

POST /tickets                    hand one in; nobody signs in: the order's signature is enough
GET  /tickets, /tickets/{id}     what came, and what became of it
POST /tickets/{id}/accept        stop what was asked, as whoever accepts
POST /tickets/{id}/decline       say no, and why
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel, ConfigDict, Field

from offswitch.decide.outside import LONGEST
from offswitch.decide.roles import Power
from offswitch.errors import Usage
from offswitch.station.parts import parts_of
from offswitch.station.people.visitor import Visitor, may

__all__ = ["router"]

router = APIRouter(tags=["tickets"])

Reads = Annotated[Visitor, Depends(may(Power.READ))]
Answers = Annotated[Visitor, Depends(may(Power.ANSWER))]
Name = Annotated[str, Path(max_length=80)]
_TEXT = {
    "requestBody": {
        "required": True,
        "content": {"text/plain": {"schema": {"type": "string", "maxLength": LONGEST}}},
    }
}


class Answer(BaseModel):
    """What somebody says to it."""

    model_config = ConfigDict(extra="forbid")

    reason: Annotated[str, Field(max_length=2000)] = ""


@router.post("/tickets", status_code=201, openapi_extra=_TEXT)
async def file(request: Request) -> dict[str, Any]:
    """Hand an order in: its line of JSON and its signature, as text."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LONGEST:
            raise Usage("that is longer than an order", f"at most {LONGEST} bytes")
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise Usage("that is not UTF-8", "one line of JSON, then the signature") from None
    where = "" if request.client is None else request.client.host
    ticket = await parts_of(request).tickets.file(text, "api", f"from:{where}")
    # Who hands it in learns that it came, and nothing about us.
    return {"ticket": ticket.id, "state": ticket.state.value, "reference": ticket.reference}


@router.get("/tickets")
async def tickets(request: Request, _visitor: Reads) -> dict[str, Any]:
    """List them, those that wait first."""
    return {"tickets": [one.as_dict() for one in parts_of(request).tickets.all()]}


@router.get("/tickets/{ticket}")
async def ticket(request: Request, _visitor: Reads, ticket: Name) -> dict[str, Any]:
    """Give one."""
    return parts_of(request).tickets.get(ticket).as_dict()


@router.post("/tickets/{ticket}/accept")
async def accept(request: Request, who: Answers, ticket: Name, answer: Answer) -> dict[str, Any]:
    """Stop what it asks for."""
    done = await parts_of(request).tickets.accept(ticket, who.by, answer.reason, "api")
    return done.as_dict()


@router.post("/tickets/{ticket}/decline")
async def decline(request: Request, who: Answers, ticket: Name, answer: Answer) -> dict[str, Any]:
    """Say no."""
    done = await parts_of(request).tickets.decline(ticket, who.by, answer.reason, "api")
    return done.as_dict()
