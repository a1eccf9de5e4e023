"""What the desk asks the warden, each on a line of its own, since the answer may take a while.

The warden answers what it has to read a file for, or to weigh, when that is done, and other
questions meanwhile: on the line that watch asks for cells on, one answer would be taken for
another. Nothing here waits: a question that is not answered in time is over, and said to be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from offswitch.clock import Clock
from offswitch.control.line import Line
from offswitch.errors import Unreachable

__all__ = ["Ask", "Enquiries"]

_MOST = 16
_PATIENCE_US = 5_000_000

Message = dict[str, Any]
Ask = Callable[[Message, Callable[[Message], None]], bool]
"""Asks the warden; false: it cannot be asked just now."""


@dataclass(frozen=True, slots=True)
class _Enquiry:
    line: Line
    then: Callable[[Message], None]
    due_us: int


class Enquiries:
    """The questions that are open."""

    def __init__(self, path: str, clock: Clock) -> None:
        """Ask whoever listens at `path`."""
        self._path = path
        self._clock = clock
        self._open: list[_Enquiry] = []

    def ask(self, message: Message, then: Callable[[Message], None]) -> bool:
        """Ask; `then` hears the answer, or an error where there is none. False: not asked."""
        line = Line.to(self._path) if len(self._open) < _MOST else None
        if line is None or not line.send(message):
            return False
        self._open.append(_Enquiry(line, then, self._clock.mono_us() + _PATIENCE_US))
        return True

    def waits(self) -> Iterator[tuple[int, bool]]:
        """Give the descriptors to wait for, and whether also to write."""
        for one in self._open:
            if one.line.sock is not None:
                yield one.line.sock.fileno(), one.line.writing

    def turn(self) -> None:
        """Take in the answers that are there."""
        now_us = self._clock.mono_us()
        for one in list(self._open):
            one.line.flush()
            said = one.line.receive()
            if not said and one.line.alive and now_us < one.due_us:
                continue
            self._open.remove(one)
            one.line.close()
            lost = Unreachable("the warden has not answered", "try again; see: offswitch doctor")
            one.then(said[0] if said else {"error": lost.as_dict()})

    def close(self) -> None:
        """Hang up."""
        for one in self._open:
            one.line.close()
        self._open.clear()
