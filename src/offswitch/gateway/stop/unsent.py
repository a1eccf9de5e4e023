"""Clients that had not read when they were stopped: 50 ms, then what is unsent is thrown away.

What the kernel holds for a slow reader would go on arriving for seconds after a stop. A reset
throws it away; what has left the machine can be called back by nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from offswitch.gateway.wire.client import ClientConnection

__all__ = ["PATIENCE_S", "Unsent"]

PATIENCE_S = 0.05


class Unsent:
    """Those of one worker."""

    __slots__ = ("_loop", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wait for none yet."""
        self._loop = loop
        self._waiting: list[tuple[ClientConnection, Callable[[], None]]] = []

    def end(self, client: ClientConnection, then: Callable[[], None]) -> None:
        """End a client that has been told; call `then` when nothing more can reach it."""
        if not client.outlet.unsent:
            client.close()
            then()
            return
        if not self._waiting:
            self._loop.call_later(PATIENCE_S, self._look)
        self._waiting.append((client, then))

    def _look(self) -> None:
        waiting, self._waiting = self._waiting, []
        for client, then in waiting:
            if client.outlet.unsent:
                client.abort()
            else:
                client.close()
            then()
