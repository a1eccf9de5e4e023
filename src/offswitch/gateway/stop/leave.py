"""Going down without losing a stream: for a reload, an upgrade, the end of the day.

    at once         nobody is accepted; requests that still come are answered with
                    `connection: close`
    after a grace   connections between two requests are closed
    at the end      what still flies is ended in its API's words

Whoever connects meanwhile waits in the queue of the listening socket, which another worker has too:
a reload hands the very same sockets to the new workers before it drains the old ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import Protocol

__all__ = ["GRACE_S", "Leaving", "leave"]

GRACE_S = 2.0
"""Seconds in which a client with an open connection may still send a request on it."""
_LOOK_S = 0.05
_LAST_WORDS_S = 0.2


class Ending(Protocol):
    """A request in work."""

    def go_down(self) -> None:
        """End it now, in words."""
        ...


class Leaving(Protocol):
    """A connection of a client."""

    @property
    def idle(self) -> bool:
        """Whether it is between two requests."""
        ...

    @property
    def serving(self) -> Ending | None:
        """The request that is in work on it."""
        ...

    def close(self) -> None:
        """End it, once what was given is sent."""
        ...


async def leave(
    loop: asyncio.AbstractEventLoop,
    servers: Sequence[asyncio.Server],
    clients: Collection[Leaving],
    deadline_s: float,
) -> bool:
    """Accept no more and wait for the clients to go; true: all did before the deadline."""
    for server in servers:
        server.close()
    start = loop.time()
    grace = start + min(GRACE_S, deadline_s / 2)
    while clients and loop.time() < start + deadline_s:
        if loop.time() >= grace:
            for client in list(clients):
                if client.idle:
                    client.close()
        await asyncio.sleep(_LOOK_S)
    if not clients:
        return True
    for client in list(clients):
        if client.serving is not None:
            client.serving.go_down()
        else:
            client.close()
    await asyncio.sleep(_LAST_WORDS_S)
    return False
