"""What the holder asks of one API's stream."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Calls"]


class Calls(Protocol):
    """Holds the calls in one stream until they are judged."""

    held: int
    """Bytes that are held back."""

    def quiet(self, events: bytes) -> bool:
        """Tell whether nothing is held, and these events speak of no call."""
        ...

    def event(self, event: bytes) -> bytes:
        """Take a whole event, and give what goes on now.

        What cannot be read raises one of `LookupError`, `TypeError`, `ValueError`, `AttributeError`
        or `RecursionError`; the holder then ends the stream.
        """
        ...
