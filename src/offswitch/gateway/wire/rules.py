"""What a request's head must obey here, beyond RFC 9112: limits, and names that may be there once.

The rules come from the front's routes, so that what decides the route is told in one way only.
A header by which requests are routed may be there once; a percent-encoded path must fit the same
routes as the decoded one, or an upstream that decodes would see another route than we did.
"""

from __future__ import annotations

from dataclasses import dataclass

from offswitch.gateway.plan.front import Front

__all__ = ["Refusal", "Rules"]

_ONCE = frozenset(
    {
        b"api-key",
        b"authorization",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"expect",
        b"host",
        b"last-event-id",
        b"mcp-protocol-version",
        b"mcp-session-id",
        b"origin",
        b"sec-websocket-key",
        b"sec-websocket-version",
        b"transfer-encoding",
        b"upgrade",
        b"x-api-key",
        b"x-goog-api-key",
        b"x-offswitch-target",
    }
)


class Refusal(Exception):
    """A request that is not taken; after it the connection is closed, whatever follows."""

    def __init__(self, status: int, text: str, *headers: tuple[bytes, bytes]) -> None:
        """Say with which status, and why: our words, never the client's."""
        super().__init__(text)
        self.status = status
        self.text = text
        self.headers = headers


@dataclass(frozen=True, slots=True)
class Rules:
    """What the heads of one front's requests must obey."""

    head: int = 64 << 10
    """Bytes of a head, its last empty line included."""
    target: int = 8 << 10
    """Bytes of a request target."""
    fields: int = 100
    """Header fields."""
    paths: tuple[bytes, ...] = ()
    """What the paths of routes begin with."""
    once: frozenset[bytes] = _ONCE
    """Headers that may be there once: what decides framing, route or who one is."""

    @classmethod
    def of(cls, front: Front) -> Rules:
        """Give the rules that follow from a front's limits and routes."""
        named = {name for route in front.routes for name in (*route.header, route.session) if name}
        paths = tuple(dict.fromkeys(route.path for route in front.routes))
        return cls(head=front.limits.head, paths=paths, once=_ONCE | named)
