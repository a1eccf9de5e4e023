"""A signed message to a server of yours, as Standard Webhooks has it.

    webhook-id: msg-…                     the same at every try: go by it to drop what comes twice
    webhook-timestamp: 1764325083         seconds; refuse what is older than five minutes
    webhook-signature: v1,BASE64          HMAC-SHA-256 over `id.timestamp.body`

Each try is signed anew, with its own time. A secret that begins with `whsec_` is base64 behind
that, as the standard has it; any other is taken as it stands.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json

from offswitch.clock import Clock
from offswitch.station.notify.message import as_html, markdown, text
from offswitch.station.notify.sinks.contract import Outgoing, Result
from offswitch.station.notify.sinks.http import Caller, outcome

__all__ = ["WebhookSink", "signature"]

_PREFIX = "whsec_"


def signature(secret: str, message_id: str, time_s: int, body: bytes) -> str:
    """Sign a message."""
    key = secret.encode()
    if secret.startswith(_PREFIX):
        try:
            key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
        except (binascii.Error, ValueError):
            key = secret.encode()
    signed = f"{message_id}.{time_s}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


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
            "webhook-id": outgoing.id,
            "webhook-timestamp": str(time_s),
            "webhook-signature": signature(self._secret, outgoing.id, time_s, body),
        }
        return outcome(await self._caller.post(self._url, body, headers))

    async def close(self) -> None:
        """Hang up."""
        await self._caller.close()
