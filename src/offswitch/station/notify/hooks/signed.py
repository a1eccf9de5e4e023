"""Whether a request is from whom it says, and whether it has come before.

Slack signs `v0:TIME:BODY` and refuses its own requests after five minutes; PagerDuty signs the
body alone, so there the event's own id and time stand for that. Whatever was taken once is kept
for as long as it could be taken again, across restarts, too: a copy of a request is none.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from fastapi import Request

from offswitch.errors import Refused, Usage
from offswitch.station.notify.book import Change, Queues
from offswitch.station.notify.prepare import Incoming

__all__ = ["FRESH_US", "Once", "body_of", "of_pagerduty", "of_slack"]

FRESH_US = 300_000_000
"""How old a request of Slack's may be, microseconds."""
_LONGEST = 64 << 10
_ROOM = "taken"
_MOST = 20_000
_LONGEST_TIME = 12


async def body_of(request: Request) -> bytes:
    """Read the body, as far as a request of theirs is long."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LONGEST:
            raise Usage("that is too long", "nothing of theirs has more than 64 KiB")
    return body


def of_slack(
    senders: Sequence[Incoming], body: bytes, time: str, signature: str, now_us: int
) -> Incoming:
    """Give whose app signed this now; `Refused` says why it is not believed."""
    if not (time.isascii() and time.isdecimal() and len(time) < _LONGEST_TIME):
        raise Refused("a request without a time", "Slack sends one")
    if abs(now_us - int(time) * 1_000_000) > FRESH_US:
        raise Refused("a request that is not of now", "see the clock of this machine")
    signed = b"v0:" + time.encode() + b":" + body
    for sender in senders:
        made = "v0=" + hmac.new(sender.secret.encode(), signed, hashlib.sha256).hexdigest()
        if hmac.compare_digest(made.encode(), signature.encode("utf-8", "replace")):
            return sender
    raise Refused("a request that Slack did not sign", "see signing_secret_file")


def of_pagerduty(senders: Sequence[Incoming], body: bytes, signatures: str) -> Incoming:
    """Give whose webhook this is; `Refused` where none of them signed it."""
    given = [one.strip() for one in signatures.split(",")][:10]
    for sender in senders:
        made = "v1=" + hmac.new(sender.secret.encode(), body, hashlib.sha256).hexdigest()
        for one in given:
            if hmac.compare_digest(made.encode(), one.encode("utf-8", "replace")):
                return sender
    raise Refused("a request that PagerDuty did not sign", "see webhook_secret_file")


class Once:
    """Remembers what was taken."""

    def __init__(self, book: Queues) -> None:
        """Keep it in the book."""
        self._book = book

    def take(self, what: str, now_us: int, lasts_us: int = 2 * FRESH_US) -> list[Change]:
        """Take something that may come once; `Refused` the second time."""
        kept = self._book.kept(_ROOM)
        key = hashlib.sha256(what.encode("utf-8", "replace")).hexdigest()
        if int(kept.get(key, 0)) > now_us:
            raise Refused("that came before: a copy of a request is none", "do it again")
        changes: list[Change] = []
        for old in [one for one, until_us in kept.items() if int(until_us) <= now_us]:
            changes += self._book.forget(_ROOM, old)
        if len(kept) >= _MOST:
            raise Refused("too much came of late", "wait some minutes")
        return changes + self._book.keep(_ROOM, key, now_us + lasts_us)
