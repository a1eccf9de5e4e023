"""`POST /api/v1/stops`: stop. No reason, no second question, no rate limit (SEC-4)."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, ConfigDict, Field

from offswitch.decide.roles import Power
from offswitch.errors import NotFound
from offswitch.model.level import parse_level
from offswitch.model.scope import parse_scope
from offswitch.station.console.stopping import stopper_of
from offswitch.station.parts import parts_of
from offswitch.station.people.visitor import Nobody, VisitorOf

__all__ = ["router"]

router = APIRouter(tags=["stops"])

_LONGEST_WAIT_S = 30.0
_ACCEPTED_WITHIN_S = 5.0
"""Warden or keeper accept within milliseconds; ten thousand at once take a little longer."""


class StopOrder(BaseModel):
    """What is to be stopped."""

    model_config = ConfigDict(extra="forbid")

    scopes: Annotated[list[Annotated[str, Field(max_length=500)]], Field(max_length=256)]
    """Paths or selectors; empty: everything."""
    level: str = "kill"
    reason: Annotated[str, Field(max_length=2000)] = ""
    wait_s: Annotated[float, Field(ge=0, le=_LONGEST_WAIT_S)] = 0
    """How long to wait for the last word; else it answers as soon as somebody has accepted."""


@router.post("/stops", status_code=202)
async def stop(request: Request, order: StopOrder) -> dict[str, Any]:
    """Stop; answers when the warden (or the keeper) has accepted it."""
    parts = parts_of(request)
    scopes = tuple(parse_scope(scope).text for scope in order.scopes) or ("/",)
    who = stopper_of(request, scopes)
    pressed = parts.presser.press(scopes, parse_level(order.level), who.by, "api", order.reason)
    await pressed.told(max(order.wait_s, _ACCEPTED_WITHIN_S), whole=order.wait_s > 0)
    return pressed.as_dict()


@router.get("/stops/{press}")
async def pressed(
    request: Request, who: VisitorOf, press: Annotated[str, Path(max_length=64)]
) -> dict[str, Any]:
    """Tell what has become of a press; whoever may not read is told of their own."""
    if who is None:
        raise Nobody
    found = parts_of(request).presser.of(press)
    if found is None or (Power.READ not in who.powers and found.by != who.by):
        raise NotFound("no such press is known here", "see: offswitch ledger show")
    return found.as_dict()
