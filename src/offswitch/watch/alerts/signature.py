"""Signatures over a body: HMAC-SHA256 in hex, as Sentry, Grafana, GitHub and others send it.

    Sentry-Hook-Signature: HEX                       over the body
    X-Hub-Signature-256: sha256=HEX                  over the body
    X-Grafana-Alerting-Signature: HEX                over the body, or over `TIME:body` where
                                                     Grafana is told a header for the time

With a time in it, what is older than five minutes is refused: a copy of a message is none.
"""

from __future__ import annotations

import hashlib
import hmac

from offswitch.watch.http.exchange import Request

__all__ = ["HEADERS", "signed"]

HEADERS = {"sentry": "sentry-hook-signature", "grafana": "x-grafana-alerting-signature"}
"""The header of a preset's signature."""
_FRESH_S = 300


def signed(request: Request, secret: str, header: str, time_header: str, wall_us: int) -> bool:
    """Tell whether the body bears the signature of whoever knows the secret, and is of now."""
    given = request.head.headers.get(header, "").strip().removeprefix("sha256=").lower()
    over = request.raw
    if time_header:
        time = request.head.headers.get(time_header, "")
        if not (time.isascii() and time.isdecimal() and len(time) < 12):  # noqa: PLR2004 - seconds
            return False
        if abs(wall_us // 1_000_000 - int(time)) > _FRESH_S:
            return False
        over = time.encode() + b":" + over
    made = hmac.new(secret.encode(), over, hashlib.sha256).hexdigest()
    return hmac.compare_digest(made.encode(), given.encode("utf-8", "replace"))
