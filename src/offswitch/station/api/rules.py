"""Rules, alarms and questions over the API, as watch has them at its desk.

GET  /api/v1/rules                       rules in force, what is lowered, what waits for proofs
POST /api/v1/rules/{rule}/lower          bypass a rule, or shelve its alarm, for a while
POST /api/v1/rules/lowerings/{digest}    the proofs that it takes
POST /api/v1/rules/{rule}/restore        take it back
GET  /api/v1/alarms, /api/v1/decisions   what stands, what asks
POST /api/v1/alarms/{rule}/ack           seen
GET  /api/v1/decisions/{digest}/support  what one needs to see before answering
POST /api/v1/decisions/{digest}          approve: stop it; deny: let it go on
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel, ConfigDict, Field

from offswitch.decide.roles import Power
from offswitch.station.desk import at_desk
from offswitch.station.parts import parts_of
from offswitch.station.people.visitor import Visitor, may

__all__ = ["Lowering", "lowering", "router"]

router = APIRouter(tags=["rules"])

_MINUTE_US = 60_000_000

Reads = Annotated[Visitor, Depends(may(Power.READ))]
Name = Annotated[str, Path(pattern="^[a-z0-9][a-z0-9_-]{0,62}$")]
Digest = Annotated[str, Path(pattern="^[0-9a-f]{8,64}$")]
Words = Annotated[str, Field(min_length=1, max_length=500)]


class Body(BaseModel):
    """What every body has in common: an unknown key is refused."""

    model_config = ConfigDict(extra="forbid")


class Lowering(Body):
    """What is lowered, and on what grounds."""

    what: Literal["bypass", "shelve"]
    series: Annotated[str, Field(max_length=500)] = ""
    """One channel of the rule; empty: all of it."""
    reason: Words
    measure: Words
    """What is done instead meanwhile."""
    minutes: Annotated[int, Field(ge=1, le=480)]


class Proofs(Body):
    """Proofs over the digest of a lowering."""

    what: Literal["bypass", "shelve"]
    proofs: Annotated[list[Annotated[str, Field(max_length=16_000)]], Field(max_length=4)]


class Restoring(Body):
    """What is taken back."""

    what: Literal["bypass", "shelve"]
    series: Annotated[str, Field(max_length=500)] = ""


class Seen(Body):
    """Somebody has seen an alarm."""

    reason: Annotated[str, Field(max_length=500)] = ""


class Answer(Body):
    """What a person says to a question."""

    answer: Literal["approve", "deny"]
    reason: Annotated[str, Field(max_length=500)] = ""
    minutes: Annotated[int | None, Field(ge=1, le=480)] = None
    """For how long a *deny* holds; as long as the rule asks for unless given."""


@router.get("/rules")
async def rules(request: Request, _who: Reads) -> dict[str, Any]:
    """Give the rules in force, and what of them is lowered."""
    found: dict[str, Any] = await at_desk(parts_of(request), {"op": "rules"})
    return found


@router.post("/rules/lowerings/{digest}")
async def proven(
    request: Request,
    who: Annotated[Visitor, Depends(may(Power.BYPASS))],
    digest: Digest,
    given: Proofs,
) -> dict[str, Any]:
    """Bring proofs to a lowering that waits for them."""
    message = {"op": given.what, "digest": digest, "proofs": given.proofs}
    found: dict[str, Any] = await at_desk(parts_of(request), message, who)
    return found


@router.post("/rules/{rule}/lower", status_code=202)
async def lowered(
    request: Request,
    who: Annotated[Visitor, Depends(may(Power.BYPASS))],
    rule: Name,
    given: Lowering,
) -> dict[str, Any]:
    """Ask for a lowering; it begins when enough people have proven themselves to the warden."""
    found: dict[str, Any] = await at_desk(parts_of(request), lowering(rule, who, given), who)
    return found


def lowering(rule: str, who: Visitor, given: Lowering) -> dict[str, Any]:
    """Make what watch is asked."""
    return {
        "op": given.what,
        "rule": rule,
        "series": given.series,
        "owner": who.name,
        "reason": given.reason,
        "measure": given.measure,
        "for_us": given.minutes * _MINUTE_US,
    }


@router.post("/rules/{rule}/restore")
async def restored(
    request: Request,
    who: Annotated[Visitor, Depends(may(Power.STOP))],
    rule: Name,
    given: Restoring,
) -> dict[str, Any]:
    """Take a lowering back: whoever may stop may make things safer."""
    op = "restore" if given.what == "bypass" else "unshelve"
    message = {"op": op, "rule": rule, "series": given.series}
    found: dict[str, Any] = await at_desk(parts_of(request), message, who)
    return found


@router.get("/alarms")
async def alarms(request: Request, _who: Reads) -> dict[str, Any]:
    """Give the alarms that stand, and what comes near its limit."""
    found: dict[str, Any] = await at_desk(parts_of(request), {"op": "alarms"})
    return found


@router.post("/alarms/{rule}/ack")
async def acked(
    request: Request, who: Annotated[Visitor, Depends(may(Power.ACK))], rule: Name, given: Seen
) -> dict[str, Any]:
    """Say that somebody has seen it; it goes on standing."""
    message = {"op": "ack", "rule": rule, "reason": given.reason}
    found: dict[str, Any] = await at_desk(parts_of(request), message, who)
    return found


@router.get("/decisions")
async def decisions(request: Request, _who: Reads) -> dict[str, Any]:
    """Give what rules ask, the one with the least time left first."""
    found: dict[str, Any] = await at_desk(parts_of(request), {"op": "decisions"})
    return found


@router.get("/decisions/{digest}/support")
async def support(request: Request, _who: Reads, digest: Digest) -> dict[str, Any]:
    """Give what one needs to see before answering: causes, against, reach, costs (DEC-7)."""
    analyst = parts_of(request).analyst
    view = await analyst.of_question(analyst.asked(digest))
    return view.as_dict()


@router.post("/decisions/{digest}")
async def decided(
    request: Request,
    who: Annotated[Visitor, Depends(may(Power.ANSWER))],
    digest: Digest,
    given: Answer,
) -> dict[str, Any]:
    """Answer: `approve` stops, `deny` lets it go on and takes a reason."""
    message: dict[str, Any] = {"op": given.answer, "decision": digest, "reason": given.reason}
    if given.minutes is not None:
        message["for_us"] = given.minutes * _MINUTE_US
    found: dict[str, Any] = await at_desk(parts_of(request), message, who)
    return found
