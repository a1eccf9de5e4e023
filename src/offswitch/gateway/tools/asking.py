"""What a client's messages ask of a tool server: read alike over HTTP and over pipes. Pure.

A call is judged by what asks for an answer, so nothing may ask for something without wanting one:
the name of whatever is only told begins with `notifications/`, and a server that did not mind would
else call a tool that nobody has judged.
"""

from __future__ import annotations

from collections.abc import Container, Mapping

from offswitch.gateway.exchange import Call, Malformed
from offswitch.gateway.tools.jsonrpc import Notice, Parsed, Request, key_of

__all__ = ["BEGINS", "CALL", "call_of", "requests_of"]

BEGINS = frozenset({"initialize", "server/discover"})
"""How a session begins; since 2026-07-28 there are none, and a client only asks what there is."""
CALL = "tools/call"
_TOLD = "notifications/"
_LONGEST_TOOL = 256


def requests_of(parsed: Parsed, taken: Container[str] = ()) -> Mapping[str, Request]:
    """Give what wants an answer, by its key; `taken` are the keys of those that are not answered.

    `Malformed` where two bear one id, or where something else than a notification wants none.
    """
    found: dict[str, Request] = {}
    for message in parsed.messages:
        if isinstance(message, Notice) and not message.method.startswith(_TOLD):
            raise Malformed("a request has an id: without one it is a notification")
        if isinstance(message, Request):
            key = key_of(message.ident)
            if key in found or key in taken:
                raise Malformed("two requests bear the same id")
            found[key] = message
    return found


def call_of(message: Request, key: str) -> Call:
    """Give the call of a tool that a request is."""
    name, arguments = message.params.get("name"), message.params.get("arguments")
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_TOOL or not name.isprintable():
        raise Malformed("a tool is called by its name, a plain text")
    if arguments is not None and not isinstance(arguments, dict):
        raise Malformed("what a tool is called with is an object")
    return Call(name, arguments or {}, key)
