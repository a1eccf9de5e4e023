"""A signed message to a server of yours, as Standard Webhooks has it (`model.webhook`).

The id is the same at every try: go by it to drop what comes twice. Each try is signed anew, with
its own time.
"""

from __future__ import annotations

import json

from offswitch.clock import Clock
from offswitch.model.webhook import signed_headers
from offswitch.station.notify.message import as_html, markdown, text
from offswitch.station.notify.sinks.contract import Outgoing, Result
from offswitch.station.notify.sinks.http import Caller, outcome

__all__ = ["WebhookSink"]


class WebhookSink:
    """Sends to one server."""

    kind = "webhook"

    def __init__(self, name: str, url: str, secret: str, caller: Caller, clock: Clock) -> None:
        """Send to `url`, signed by `secret`."""
        self.name = name
        self._url = url
        self._secret = secret
        self._caller = caller
        self._clock = clock

    async def send(self, outgoing: Outgoing) -> Result:
        """Send it."""
        notice = outgoing.notice
        body = json.dumps(
            {
                "type": f"offswitch.{notice.event}",
                "id": outgoing.id,
                **notice.as_dict(),
                "seen_by": outgoing.seen_by,
                "called": outgoing.called,
                "lead": outgoing.lead,
                "text": text(notice.page),
                "markdown": markdown(notice.page),
                "html": as_html(notice.page),
            }
        ).encode()
        time_s = self._clock.wall_us() // 1_000_000
        headers = {
            "content-type": "application/json",
            "user-agent": "offswitch",
            **signed_headers(self._secret, outgoing.id, time_s, body),
        }
        return outcome(await self._caller.post(self._url, body, headers))

    async def close(self) -> None:
        """Hang up."""
        await self._caller.close()
