"""The pages Incidents and Incident: what happened, what contradicts it, what a stop would hit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Path, Request, Response
from fastapi.responses import RedirectResponse

from offswitch.clock import new_nonce
from offswitch.decide.roles import Power
from offswitch.errors import OffswitchError
from offswitch.reports import word
from offswitch.reports.incident import Incident, Outcome, Severity, Sort
from offswitch.station.console.render import page
from offswitch.station.incidents.book import say
from offswitch.station.parts import parts_of
from offswitch.station.people.visitor import Visitor, may

__all__ = ["router"]

router = APIRouter(prefix="/incidents")

_MOST = 200
_SHOWN = 60

Reads = Annotated[Visitor, Depends(may(Power.READ))]
Notes = Annotated[Visitor, Depends(may(Power.NOTE))]
Name = Annotated[str, Path(max_length=80)]
Words = Annotated[str, Form(max_length=word.LONGEST)]
Line = Annotated[str, Form(max_length=500)]


@router.get("")
async def incidents(request: Request, who: Reads, every: str = "") -> Response:
    """List those that are open; all of them, near misses and false stops included, on request."""
    book = parts_of(request).incidents
    known = book.all()
    shown = [one for one in known if every or (one.open and one.sort is not Sort.NEAR_MISS)]
    return page(
        request,
        "incidents.html",
        visitor=who,
        shown=shown[:_MOST],
        left_out=max(len(shown) - _MOST, 0),
        known=len(known),
        every=bool(every),
        figures=book.figures().as_dict(),
        error=None,
    )


@router.post("")
async def opened(
    request: Request, who: Notes, scope: Line = "", severity: Line = "", reason: Words = ""
) -> Response:
    """Open one by hand."""
    parts = parts_of(request)
    made = word.opened(new_nonce(), scope.strip(), Severity(severity), reason)
    say(parts.outbox, made, who.by, "console")
    return RedirectResponse("/incidents", 303)


@router.get("/{name}")
async def incident(request: Request, who: Reads, name: Name) -> Response:
    """Show one."""
    return await _shown(request, who, parts_of(request).incidents.get(name), 200, None)


@router.post("/{name}")
async def said(
    request: Request,
    who: Notes,
    name: Name,
    what: Line,
    text: Words = "",
    severity: Line = "",
    outcome: Line = "",
    actions: Words = "",
) -> Response:
    """Note, grade, hand over or close; what is said goes to the record, and is shown from there."""
    parts = parts_of(request)
    found = parts.incidents.get(name)
    lines = [line.strip() for line in actions.splitlines() if line.strip()]
    makes: dict[str, Callable[[], word.Word]] = {
        "note": lambda: word.noted(found, text),
        "grade": lambda: word.graded(found, Severity(severity), text),
        "hand-over": lambda: word.handed_over(found, text),
        "close": lambda: word.closed(found, text, lines, Outcome(outcome) if outcome else None),
    }
    try:
        made = makes[what]()
    except OffswitchError as error:
        return await _shown(request, who, found, 409, error)
    say(parts.outbox, made, who.by, "console")
    return RedirectResponse(f"/incidents/{found.id}?said={made.what.value}", 303)


async def _shown(
    request: Request, who: Visitor, found: Incident, status: int, error: OffswitchError | None
) -> Response:
    events = found.events[-_SHOWN:]
    before = await parts_of(request).analyst.of_incident(found)
    return page(
        request,
        "incident.html",
        status,
        visitor=who,
        scope=found.scope or "/",
        it=found,
        before=before,
        events=events,
        earlier=len(found.events) - len(events) + sum(found.left_out.values()),
        delays=found.delays.as_dict(),
        severities=[one.value for one in Severity],
        outcomes=[one.value for one in Outcome],
        said=request.query_params.get("said", ""),
        error=error,
    )
