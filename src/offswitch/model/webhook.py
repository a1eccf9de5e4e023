"""How a message to a server of somebody's is signed: the Standard Webhooks format.

    webhook-id: msg-…                     the same at every try: go by it to drop what comes twice
    webhook-timestamp: 1764325083         seconds; refuse what is older than five minutes
    webhook-signature: v1,BASE64          HMAC-SHA-256 over `id.timestamp.body`

A secret that begins with `whsec_` is base64 behind that, as the standard has it; any other is
taken as it stands, and so is one with nothing behind that: by an empty key anybody could sign. Of
several signatures in one header, which a server that changes its key sends, one has to be right.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

__all__ = ["signature", "signed_by", "signed_headers"]

_PREFIX = "whsec_"
_MOST = 10


def signature(secret: str, message_id: str, time_s: int, body: bytes) -> str:
    """Sign a message."""
    key = secret.encode()
    if secret.startswith(_PREFIX):
        try:
            key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True) or key
        except (binascii.Error, ValueError):
            pass
    signed = f"{message_id}.{time_s}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def signed_headers(secret: str, message_id: str, time_s: int, body: bytes) -> dict[str, str]:
    """Give the three headers of a signed message."""
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(time_s),
        "webhook-signature": signature(secret, message_id, time_s, body),
    }


def signed_by(secret: str, message_id: str, time_s: int, body: bytes, shown: str) -> bool:
    """Tell whether one of the signatures that are `shown` is made with the secret over this."""
    made = signature(secret, message_id, time_s, body).encode()
    given = shown.split()[:_MOST]
    return any(hmac.compare_digest(made, one.encode("utf-8", "replace")) for one in given)
