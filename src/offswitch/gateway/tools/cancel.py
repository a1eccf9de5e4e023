"""Telling a tool server that calls were cut: `notifications/cancelled`, after the cut (ACT-9).

Until 2025-11-25 a connection that breaks off cancels nothing: the server goes on, and keeps the
answer for whoever comes back. So after a stop each call that was cut is cancelled by its id, on a
connection of its own. Since 2026-07-28 the broken connection says it by itself.

It is tried once, a moment after the cut, a few at a time, and nothing waits for it: whether the
server heeds it nobody knows, and the call stays *unknown* in the book.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from offswitch.gateway.evidence.ask import Ask
from offswitch.gateway.exchange import Head, Headers
from offswitch.gateway.plan.upstream import Upstream
from offswitch.gateway.tools.jsonrpc import Ident

__all__ = ["Cancels"]

_SESSIONLESS = b"2026"
"""With which year a revision begins in which a cut connection cancels."""
_PASSED_ON = (b"mcp-session-id", b"mcp-protocol-version", b"authorization", b"x-api-key")
_AT_ONCE = 8
_MOST = 1000
_AFTER_S = 0.02
"""Cutting comes first."""


@dataclass(frozen=True, slots=True)
class _Cut:
    upstream: Upstream
    path: str
    headers: Headers
    ident: Ident


class Cancels:
    """A worker's, of what it has cut."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        """`context` is for servers behind TLS; without one those are told nothing."""
        self._context = context
        self._waiting: deque[_Cut] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    def cut(self, upstream: Upstream, head: Head, idents: Sequence[Ident]) -> None:
        """Cancel these requests of the request `head` at the server behind; waits for nothing."""
        version = head.get(b"mcp-protocol-version") or b""
        if version >= _SESSIONLESS or (upstream.tls and self._context is None):
            return
        headers = [
            (name, value)
            for name, value in head.headers
            if name in _PASSED_ON and not (upstream.key and name == b"authorization")
        ]
        headers.append((b"accept", b"application/json, text/event-stream"))
        path = head.target.decode("latin-1")
        if not self._waiting:
            asyncio.get_running_loop().call_later(_AFTER_S, self._begin)
        room = _MOST - len(self._waiting)
        self._waiting.extend(_Cut(upstream, path, headers, ident) for ident in idents[:room])

    def _begin(self) -> None:
        while self._waiting and len(self._tasks) < _AT_ONCE:
            task = asyncio.get_running_loop().create_task(self._tell(self._waiting.popleft()))
            self._tasks.add(task)
            task.add_done_callback(self._told)

    def _told(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._begin()

    async def _tell(self, cut: _Cut) -> None:
        said = {
            "jsonrpc": "2.0",
            "method": "notifications/cancelled",
            "params": {"requestId": cut.ident, "reason": "stopped by Offswitch"},
        }
        try:
            await Ask(cut.upstream, self._context).post(cut.path, said, cut.headers)
        except (OSError, ValueError):
            return  # a server that cannot be told is one more reason to call it unknown
