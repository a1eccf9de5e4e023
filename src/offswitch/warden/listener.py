"""Who relays a target: hears what becomes of it (`run`, `start`)."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Listener"]


class Listener(Protocol):
    """Whoever relays a target (`run`): hears what becomes of it. Never blocks, never raises."""

    def stopped(self, order: str, level: str) -> None:
        """A stop hit the target."""
        ...

    def exited(self, code: int | None, signal: int | None, order: str | None) -> None:
        """Its first process ended."""
        ...
