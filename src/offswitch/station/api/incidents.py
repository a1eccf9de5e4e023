"""Incidents over the API: what happened, what people say about it, the after-action page."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, ConfigDict, Field

from offswitch.clock import new_nonce
from offswitch.decide.roles import Power
from offswitch.reports import word
from offswitch.reports.incident import Outcome, Severity
from offswitch.station.incidents.book import say
from offswitch.station.parts import parts_of
from offswitch.station.people.visitor import Visitor, may

__all__ = ["router"]

router = APIRouter(prefix="/incidents", tags=["incidents"])

Reads = Annotated[Visitor, Depends(may(Power.READ))]
Notes = Annotated[Visitor, Depends(may(Power.NOTE))]
Name = Annotated[str, Path(max_length=80)]
Words = Annotated[str, Field(min_length=1, max_length=word.LONGEST)]


class Body(BaseModel):
    """What every body has in common: an unknown key is refused."""

    model_config = ConfigDict(extra="forbid")


class Opening(Body):
    """An incident that a person opens."""

    scope: Annotated[str, Field(min_length=1, max_length=500)]
    severity: Severity
    reason: Words


class Noting(Body):
    """A note."""

    text: Words


class Grading(Body):
    """How bad it is, and why."""

    severity: Severity
    reason: Words


class HandingOver(Body):
    """Who has it in hand from now on."""

    to: Annotated[str, Field(min_length=1, max_length=100)]


class Closing(Body):
    """How it is closed."""

    cause: Words
    actions: Annotated[list[Words], Field(min_length=1, max_length=50)]
    outcome: Outcome | None = None


def _said(request: Request, who: Visitor, made: word.Word) -> dict[str, Any]:
    say(parts_of(request).outbox, made, who.by, "api")
    return {"incident": made.incident, "what": made.what.value, "recorded": "pending"}


@router.get("")
async def incidents(request: Request, _who: Reads) -> dict[str, Any]:
    """List them, the latest first."""
    book = parts_of(request).incidents
    return {"incidents": [one.line() for one in book.all()], "size": book.size}


@router.get("/figures")
async def figures(request: Request, _who: Reads) -> dict[str, Any]:
    """Count incidents, near misses and false stops by month, and how long things took (REP-6)."""
    return parts_of(request).incidents.figures().as_dict()


@router.post("", status_code=202)
async def opened(request: Request, who: Notes, given: Opening) -> dict[str, Any]:
    """Open one by hand."""
    made = word.opened(new_nonce(), given.scope, given.severity, given.reason)
    return _said(request, who, made)


@router.get("/{name}")
async def incident(request: Request, _who: Reads, name: Name) -> dict[str, Any]:
    """Give all of one."""
    return parts_of(request).incidents.get(name).as_dict()


@router.get("/{name}/support")
async def support(request: Request, _who: Reads, name: Name) -> dict[str, Any]:
    """Give what one needs to see of it before deciding: causes, against, reach, costs (DEC-7)."""
    parts = parts_of(request)
    view = await parts.analyst.of_incident(parts.incidents.get(name))
    return view.as_dict()


@router.get("/{name}/report", response_class=HTMLResponse)
async def report(
    request: Request, _who: Annotated[Visitor, Depends(may(Power.READ))], name: Name
) -> Response:
    """Give the after-action page: one file, from the record alone, the same bytes each time."""
    parts = parts_of(request)
    made = await parts.incidents.report(name, parts.checker)
    policy = f"default-src 'none'; style-src 'sha256-{parts.faces.paper.style_hash}'; sandbox"
    return HTMLResponse(parts.faces.paper.html(made), headers={"content-security-policy": policy})


@router.post("/{name}/notes", status_code=202)
async def noted(request: Request, who: Notes, name: Name, given: Noting) -> dict[str, Any]:
    """Note something."""
    return _said(request, who, word.noted(parts_of(request).incidents.get(name), given.text))


@router.post("/{name}/grade", status_code=202)
async def graded(request: Request, who: Notes, name: Name, given: Grading) -> dict[str, Any]:
    """Say how bad it is."""
    found = parts_of(request).incidents.get(name)
    return _said(request, who, word.graded(found, given.severity, given.reason))


@router.post("/{name}/hand-over", status_code=202)
async def handed(request: Request, who: Notes, name: Name, given: HandingOver) -> dict[str, Any]:
    """Hand it over."""
    return _said(request, who, word.handed_over(parts_of(request).incidents.get(name), given.to))


@router.post("/{name}/close", status_code=202)
async def closed(request: Request, who: Notes, name: Name, given: Closing) -> dict[str, Any]:
    """Close it."""
    found = parts_of(request).incidents.get(name)
    return _said(request, who, word.closed(found, given.cause, given.actions, given.outcome))
