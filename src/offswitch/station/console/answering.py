"""Answers to alarms and to what rules ask: seen, stop it, let it go on.

    POST /alarms/ack          rules      somebody has seen it; it goes on standing
    POST /decisions/approve   decision   stop it now, or let a tool call go: one click, no question
    GET  /decisions/DIGEST               let it go on? which takes a reason
    POST /decisions/deny      decision, reason, hours; of a tool call the decision alone

Watch decides who may say what (`watch/desk/visitors`); here a person's name goes with it.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import RedirectResponse

from offswitch.decide.roles import Power
from offswitch.station.console.board import Reads
from offswitch.station.console.render import page
from offswitch.station.console.signing import local
from offswitch.station.parts import Parts, parts_of
from offswitch.station.people.visitor import Visitor, may
from offswitch.station.wire import ask

__all__ = ["router"]

router = APIRouter()

_MOST_RULES = 500
_HOUR_US = 3_600_000_000

Acks = Annotated[Visitor, Depends(may(Power.ACK))]
Answers = Annotated[Visitor, Depends(may(Power.ANSWER))]
Back = Annotated[str, Form(max_length=500)]
Name = Annotated[str, Form(min_length=8, max_length=80)]


def _desk(parts: Parts) -> str:
    return f"{parts.place.control}/watch"


@router.post("/alarms/ack")
async def ack(
    request: Request,
    who: Acks,
    rules: Annotated[str, Form(max_length=20_000)],
    back: Back = "/",
) -> Response:
    """Say that alarms were seen."""
    for name in list(dict.fromkeys(rules.split()))[:_MOST_RULES]:
        message = {"op": "ack", "rule": name[:200], "by": who.by}
        await ask(_desk(parts_of(request)), message)
    return RedirectResponse(local(back), 303)


@router.post("/decisions/approve")
async def approve(request: Request, who: Answers, decision: Name, back: Back = "/") -> Response:
    """Stop what a rule asks about; or let a tool be called."""
    message = {"op": "approve", "decision": decision, "by": who.by}
    await ask(_desk(parts_of(request)), message)
    return RedirectResponse(local(back), 303)


@router.get("/decisions/{digest}")
async def question(request: Request, who: Reads, digest: str) -> Response:
    """Show one question, what one needs to see for an answer, and the form that lets it go on."""
    analyst = parts_of(request).analyst
    found = analyst.asked(digest)
    before, scope = await analyst.of_question(found), str(found["scope"])
    return page(request, "question.html", visitor=who, scope=scope, asked=found, before=before)


@router.post("/decisions/deny")
async def deny(
    request: Request,
    who: Answers,
    decision: Name,
    reason: Annotated[str, Form(max_length=2000)] = "",
    hours: Annotated[float, Form(ge=0, le=8)] = 0,
) -> Response:
    """Let it go on, for a reason; or do not let a tool be called."""
    message = {"op": "deny", "decision": decision, "reason": reason.strip(), "by": who.by}
    held = {"for_us": int(hours * _HOUR_US)} if hours else {}
    await ask(_desk(parts_of(request)), message | held)
    return RedirectResponse("/", 303)
