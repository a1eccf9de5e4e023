"""`GET /api/v1/status`: the object of `offswitch status --json`, as the warden gives it now."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request

from offswitch.decide.roles import Power
from offswitch.station.parts import parts_of
from offswitch.station.people.visitor import Visitor, may
from offswitch.station.wire import ask

__all__ = ["router"]

router = APIRouter(tags=["status"])


@router.get("/status")
async def status(
    request: Request,
    _visitor: Annotated[Visitor, Depends(may(Power.READ))],
    scope: Annotated[str | None, Query(max_length=500)] = None,
) -> dict[str, Any]:
    """Give how everything in `scope` stands."""
    return await ask(parts_of(request).place.warden_socket, {"op": "status", "scope": scope})
