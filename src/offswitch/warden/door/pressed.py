"""A message of the control socket, made into stops.

The warden and its keeper may both hear the same press, and must make the same orders of
it, to the last byte: so both do it here. Who pressed is the kernel's word (`by`), never the
message's. Nothing that surrounds the scopes can spoil a stop: a garbled reason, nonce or
time is mended or replaced, since refusing to stop would be the worse answer.
"""

from __future__ import annotations

from typing import Any

from offswitch.clock import new_nonce
from offswitch.errors import Usage
from offswitch.model.level import parse_level
from offswitch.model.order import Stop
from offswitch.model.scope import parse_scope
from offswitch.warden.door.rights import STATION_CHANNELS

__all__ = ["CHANNELS", "stops_of"]

CHANNELS = frozenset({"cli", "board", "rule", "demo", "warrant"}) | STATION_CHANNELS
"""What a peer may say of the road on which its press came."""
_MOST_SCOPES = 256
_LONGEST_NONCE = 64
_LONGEST_REASON = 2000


def stops_of(message: dict[str, Any], installation: str, by: str, now_us: int) -> list[Stop]:
    """Give one stop a scope; raises `Usage` where scopes or level cannot be understood."""
    texts = message.get("scopes")
    if not isinstance(texts, list) or not 0 < len(texts) <= _MOST_SCOPES:
        raise Usage("a stop names between 1 and 256 scopes", "offswitch stop SCOPE")
    level = parse_level(str(message.get("level", "kill")))
    channel = message.get("channel")
    given = message.get("time_us")
    time_us = given if type(given) is int and 0 < given < 1 << 53 else now_us
    nonce = _clean(message.get("nonce"), _LONGEST_NONCE) or new_nonce()
    reason = _clean(message.get("reason"), _LONGEST_REASON)
    return [
        Stop(
            installation,
            parse_scope(text),
            level,
            by,
            channel if isinstance(channel, str) and channel in CHANNELS else "cli",
            nonce,
            time_us,
            reason,
        )
        for text in dict.fromkeys(str(text) for text in texts)
    ]


def _clean(value: object, longest: int) -> str:
    """Give a text that has UTF-8, whatever came."""
    return str(value or "")[:longest].encode("utf-8", "replace").decode()
