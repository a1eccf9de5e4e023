"""Waiting for descriptors: one `epoll`, one call a descriptor.

As little as that, since the recorder passes here for each entry of each peer that waits.
"""

from __future__ import annotations

import select
from collections.abc import Callable

__all__ = ["Poll"]


class Poll:
    """What the recorder waits for."""

    __slots__ = ("_calls", "_epoll")

    def __init__(self) -> None:
        """Wait for nothing yet."""
        self._epoll = select.epoll()
        self._calls: dict[int, Callable[[], None]] = {}

    def add(self, fd: int, call: Callable[[], None]) -> None:
        """Call `call` whenever `fd` can be read, or has ended."""
        self._calls[fd] = call
        self._epoll.register(fd, select.EPOLLIN)

    def drop(self, fd: int) -> None:
        """Wait for `fd` no more; before it is closed."""
        del self._calls[fd]
        self._epoll.unregister(fd)

    def turn(self, timeout_s: float) -> bool:
        """Wait at most so long, call for each that is ready, and tell whether any was."""
        ready = self._epoll.poll(timeout_s)
        for fd, _ in ready:
            call = self._calls.get(fd)
            if call is not None:
                call()
        return bool(ready)
