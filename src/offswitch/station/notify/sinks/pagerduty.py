"""PagerDuty, by its Events API v2: trigger, acknowledge, resolve, one key an incident.

The thread is the `dedup_key`, so whatever becomes of one incident is one incident there, too. What
was acknowledged here is acknowledged there; the other way is `hooks/pagerduty`.
"""

from __future__ import annotations

import json
import time
from typing import Any

from offswitch.config.notify import Event
from offswitch.printable import printable
from offswitch.station.notify.message import parts
from offswitch.station.notify.notice import Notice, Phase
from offswitch.station.notify.sinks.contract import Outgoing, Result
from offswitch.station.notify.sinks.http import Caller, outcome

__all__ = ["PagerDutySink", "event"]

_SUMMARY = 1000
_WORST = {Event.NOT_CONFIRMED, Event.RE_TRIP, Event.BLIND}


def event(routing_key: str, outgoing: Outgoing) -> dict[str, Any]:
    """Make the event of a notice."""
    notice = outgoing.notice
    made: dict[str, Any] = {"routing_key": routing_key, "dedup_key": notice.thread}
    if notice.phase is Phase.SEEN:
        return {**made, "event_action": "acknowledge"}
    if notice.phase is Phase.CLOSE:
        return {**made, "event_action": "resolve"}
    details = {
        title: [printable(line, 1000) for line in said] for _key, title, said in parts(notice.page)
    }
    if outgoing.called:
        details["Called"] = [printable(outgoing.called)]
    if outgoing.lead:
        details["Lead"] = [printable(outgoing.lead)]
    return {
        **made,
        "event_action": "trigger",
        "client": "Offswitch",
        "client_url": notice.page.link,
        "payload": {
            "summary": printable(notice.page.headline, _SUMMARY),
            "source": printable(notice.scope, 200),
            "severity": _severity(notice),
            "timestamp": time.strftime(
                "%Y-%m-%dT%H:%M:%SZ", time.gmtime(notice.time_us // 1_000_000)
            ),
            "class": notice.event.value,
            "custom_details": details,
        },
    }


def _severity(notice: Notice) -> str:
    if notice.event in _WORST:
        return "critical"
    return "error" if notice.urgent else "info"


class PagerDutySink:
    """One integration."""

    kind = "pagerduty"

    def __init__(self, name: str, url: str, routing_key: str, caller: Caller) -> None:
        """Send to `url` with the integration's key."""
        self.name = name
        self._url = url
        self._key = routing_key
        self._caller = caller

    async def send(self, outgoing: Outgoing) -> Result:
        """Send it."""
        body = json.dumps(event(self._key, outgoing)).encode()
        headers = {"content-type": "application/json", "user-agent": "offswitch"}
        return outcome(await self._caller.post(self._url, body, headers))

    async def close(self) -> None:
        """Hang up."""
        await self._caller.close()
