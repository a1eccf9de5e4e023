"""`/healthz`: whether the station answers. `/metrics`: what Prometheus reads (`station/metrics`).

Metrics bear no names, and are for this machine: from elsewhere it takes somebody who may read.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from offswitch.decide.roles import Power
from offswitch.errors import Refused
from offswitch.station.metrics import Gauges
from offswitch.station.parts import parts_of
from offswitch.station.people.visitor import find

__all__ = ["router"]

router = APIRouter()

_HERE = {"127.0.0.1", "::1"}


@router.get("/healthz", include_in_schema=False)
async def healthz(request: Request) -> dict[str, Any]:
    """Answer. Says nothing about targets: anybody may ask."""
    parts = parts_of(request)
    return {"ok": True, "warden": bool(parts.installation)}


@router.get("/metrics", include_in_schema=False)
async def metrics(request: Request) -> Response:
    """Give all metrics in Prometheus' text format."""
    parts = parts_of(request)
    near = request.client is not None and request.client.host in _HERE
    if parts.config.station.behind_proxy or not near:
        who = find(request)
        if who is None or Power.READ not in who.powers:
            raise Refused("metrics are for this machine", "scrape them over loopback, or sign in")
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Gauges(parts, parts.times))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)
