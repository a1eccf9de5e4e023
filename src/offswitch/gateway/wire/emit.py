"""Heads of requests, written anew for the upstream: no byte goes on as the client wrote it.

Ours are the request line, Host, the framing and, where the route has one, the credential. Answers
are asked for uncompressed, since a compressed stream can neither be read on its way nor be ended.
"""

from __future__ import annotations

from collections.abc import Iterable

from offswitch.gateway.exchange import Head
from offswitch.gateway.plan.upstream import Upstream
from offswitch.gateway.wire.strict import CHUNKED

__all__ = ["emit"]

_OURS = frozenset({b"host", b"accept-encoding", b"content-length", b"x-offswitch-target"})
_CREDENTIALS = frozenset({b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key"})
_DROPPED = _OURS | _CREDENTIALS
_WITH_BODY = frozenset({b"POST", b"PUT", b"PATCH"})


def emit(
    head: Head,
    upstream: Upstream,
    framing: int,
    *,
    websocket: bool = False,
    instead: Iterable[tuple[bytes, bytes]] = (),
    without: frozenset[bytes] = frozenset(),
) -> bytes:
    """Write the head of a request: `framing` as in `Begun`, `instead` for headers that changed."""
    changed = {name for name, _ in instead}
    dropped = (_DROPPED if upstream.key else _OURS) | changed | without
    parts = [
        b"%b %b%b HTTP/1.1\r\nhost: %b\r\n"
        % (head.method, upstream.prefix, head.target, upstream.authority)
    ]
    parts += [b"%b: %b\r\n" % field for field in head.headers if field[0] not in dropped]
    parts += [b"%b: %b\r\n" % field for field in instead if field[0] not in _OURS]
    if upstream.key:
        parts.append(_credential(head, upstream.key))
    if websocket:
        parts.append(b"connection: Upgrade\r\nupgrade: websocket\r\n\r\n")
        return b"".join(parts)
    if framing == CHUNKED:
        parts.append(b"transfer-encoding: chunked\r\naccept-encoding: identity\r\n\r\n")
    elif framing or head.method in _WITH_BODY:
        parts.append(b"content-length: %d\r\naccept-encoding: identity\r\n\r\n" % framing)
    else:
        parts.append(b"accept-encoding: identity\r\n\r\n")
    return b"".join(parts)


def _credential(head: Head, key: bytes) -> bytes:
    """Show the key as the API that is spoken wants it: Anthropic's names a version in each call."""
    names = {name for name, _ in head.headers}
    if b"x-api-key" in names or b"anthropic-version" in names:
        return b"x-api-key: %b\r\n" % key
    return b"authorization: Bearer %b\r\n" % key
