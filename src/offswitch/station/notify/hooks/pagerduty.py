"""`POST /hooks/pagerduty`: what was acknowledged there is acknowledged here.

A webhook v3 with a signature that holds. `incident.acknowledged` and `incident.resolved` mean that
a person has seen it, and nothing more: nothing here is stopped, reset or closed by PagerDuty. It
counts for what was paged before it happened; what became worse since then still calls.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request

from offswitch.errors import NotFound, OffswitchError, Usage
from offswitch.printable import printable
from offswitch.station.notify.hooks.signed import body_of, of_pagerduty
from offswitch.station.parts import parts_of

__all__ = ["router"]

router = APIRouter(tags=["hooks"])

_SEEN = {"incident.acknowledged", "incident.resolved"}
_DAYS_US = 3 * 86_400_000_000
"""PagerDuty tries again for two days."""


@router.post("/hooks/pagerduty")
async def pagerduty(request: Request) -> dict[str, Any]:
    """Take one event in."""
    parts = parts_of(request)
    notifier = parts.notifier
    body = await body_of(request)
    try:
        header = request.headers.get("x-pagerduty-signature", "")
        sender = of_pagerduty(notifier.prepared.pagerduty, body, header)
        event = _event(body)
        now_us = parts.clock.wall_us()
        notifier.once(f"pagerduty {event['id']}", now_us, _DAYS_US)
    except OffswitchError as error:
        parts.refused("pagerduty", "acknowledge", "pagerduty", error.message)
        raise
    if event["type"] not in _SEEN:
        return {"taken": False}
    by = f"pagerduty:{printable(event['by'], 80)}"
    try:
        notifier.acknowledge(
            event["key"], by, "pagerduty", via=sender.sink, at_us=event["time_us"] or now_us
        )
    except NotFound:
        return {"taken": False}
    return {"taken": True}


def _event(body: bytes) -> dict[str, Any]:
    """Read what an event says, as far as it matters here."""
    try:
        event = json.loads(body)["event"]
        data, agent = event.get("data") or {}, event.get("agent") or {}
        said = {
            "id": str(event["id"])[:200],
            "type": str(event["event_type"])[:80],
            "key": str(data.get("incident_key") or data.get("dedup_key") or "")[:200],
            "by": str(agent.get("summary") or agent.get("id") or "somebody")[:200],
        }
        time_us = int(datetime.fromisoformat(str(event["occurred_at"])).timestamp() * 1e6)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
        raise Usage("that is no event of PagerDuty's", "a webhook v3 is wanted") from None
    return {**said, "time_us": time_us}
