"""Refusals as JSON-RPC says them, and how they go over HTTP.

A refused request is answered with status 200 and an error in its body: that reaches the caller as
an error of his call in every client that we know of. At another status older MCP clients drop the
connection, or wait for ever. What asks for no answer, and what opens or ends a stream, is refused
by the status alone, with the same error beside it.

    -32050  stopped, or nobody vouches for the page     -32052  not allowed, or denied
    -32051  held back just now                          -32053  the server behind broke off
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from offswitch.gateway.exchange import Cause, Reply, Why
from offswitch.gateway.tools.jsonrpc import Ident

__all__ = ["STATUS", "error_of", "event_of", "reply_of"]

_CODES: Mapping[Cause, int] = {
    Cause.STOPPED: -32050,
    Cause.NO_LEASE: -32050,
    Cause.RESTRICTED: -32051,
    Cause.NOT_ALLOWED: -32052,
    Cause.NO_ROUTE: -32601,
    Cause.MALFORMED: -32600,
    Cause.TOO_LARGE: -32600,
    Cause.UPSTREAM: -32053,
    Cause.TIMED_OUT: -32053,
    Cause.BUSY: -32054,
}
STATUS: Mapping[Cause, int] = {
    Cause.STOPPED: 503,
    Cause.NO_LEASE: 503,
    Cause.RESTRICTED: 503,
    Cause.NOT_ALLOWED: 403,
    Cause.NO_ROUTE: 404,
    Cause.MALFORMED: 400,
    Cause.TOO_LARGE: 413,
    Cause.UPSTREAM: 502,
    Cause.TIMED_OUT: 504,
    Cause.BUSY: 503,
}
"""Where there is no request to answer."""
_SAYS: Mapping[Cause, str] = {
    Cause.STOPPED: "stopped by an operator",
    Cause.NO_LEASE: "stopped: nobody vouches for the switch",
    Cause.RESTRICTED: "held back by an operator",
    Cause.NOT_ALLOWED: "not allowed",
    Cause.NO_ROUTE: "no route leads from here",
    Cause.MALFORMED: "this cannot be read",
    Cause.TOO_LARGE: "too large",
    Cause.UPSTREAM: "the tool server broke off",
    Cause.TIMED_OUT: "the tool server took too long",
    Cause.BUSY: "too much at once",
}


def error_of(why: Why) -> dict[str, object]:
    """Give the error object."""
    text = _SAYS[why.cause] + (f": {why.text}" if why.text else "")
    data = {
        "by": "offswitch",
        "cause": why.cause.value,
        "target": why.target,
        "level": why.level,
        "ask": why.ask,
        "retry": False,
    }
    told = {key: value for key, value in data.items() if value not in {None, ""}}
    return {"code": _CODES[why.cause], "message": f"Offswitch: {text}", "data": told}


def reply_of(why: Why, idents: Sequence[Ident], *, batch: bool = False) -> Reply:
    """Refuse the requests with these ids; none: by the status."""
    bodies = _bodies(why, idents)
    headers = [(b"content-type", b"application/json"), (b"x-should-retry", b"false")]
    if not bodies:
        said = {"jsonrpc": "2.0", "id": None, "error": error_of(why)}
        return Reply(STATUS[why.cause], headers, _encoded(said))
    return Reply(200, headers, _encoded(bodies if batch else bodies[0]))


def event_of(why: Why, idents: Iterable[Ident]) -> bytes:
    """Give the events that end a stream: an error for each request that was not answered."""
    events = [b"event: message\ndata: " + _encoded(one) + b"\n\n" for one in _bodies(why, idents)]
    return b"".join(events) or b": stopped by Offswitch\n\n"


def _bodies(why: Why, idents: Iterable[Ident]) -> list[dict[str, object]]:
    return [{"jsonrpc": "2.0", "id": ident, "error": error_of(why)} for ident in idents]


def _encoded(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
