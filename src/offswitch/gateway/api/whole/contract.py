"""What an answer is put together by, and what a stream may bring instead of one."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Putting", "StreamError"]


class StreamError(Exception):
    """The stream brought an error, as its API words it."""

    def __init__(self, status: int, said: dict[str, object]) -> None:
        """Keep what is told to the client."""
        super().__init__(str(status))
        self.status = status
        self.said = said


class Putting(Protocol):
    """Puts one answer together. Bounded by the stream, which its user bounds."""

    def take(self, name: str, data: bytes) -> None:
        """Take an event. `StreamError`: it is an error. What cannot be read is a ValueError."""
        ...

    def answer(self) -> dict[str, object] | None:
        """Give the answer; None: the stream ended before it was complete."""
        ...
