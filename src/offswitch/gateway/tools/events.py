"""A stream of events, cut into whole ones (server-sent events, WHATWG HTML section 9.2).

An event ends at an empty line; a line ends at CR LF, LF or CR. Events are given as the bytes that
came, with what they carry, so that they can be passed on unchanged. One that is longer than is
kept is given in parts, with nothing read of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Cutter", "Event"]

_END = re.compile(rb"\r\n|\n|\r")
_MARK = b"\xef\xbb\xbf"
"""A byte order mark, which readers skip at the beginning."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event, or a part of one that is too long."""

    raw: bytes
    data: bytes | None
    """What it carries; None: nothing, or it was not kept."""
    whole: bool = True
    """Whether the stream is between two events behind it."""
    part: bool = False
    """Whether it is (the beginning, middle or end of) one that is too long."""


class Cutter:
    """Cuts; keeps what is not whole yet, up to `longest` bytes."""

    __slots__ = (
        "_begun", "_buffer", "_data", "_first", "_line", "_longest", "_scanned", "_too_long",
    )  # fmt: skip

    def __init__(self, longest: int) -> None:
        """Begin between two events."""
        self._longest = longest
        self._buffer = bytearray()
        self._line = 0
        """Where in the buffer the current line begins."""
        self._scanned = 0
        self._data: list[bytes] = []
        self._too_long = False
        self._begun = False
        """Whether the current line began in a part that was given already."""
        self._first = True

    def feed(self, data: bytes) -> list[Event]:
        """Take in bytes; give the events that are whole now."""
        buffer = self._buffer
        buffer += data
        events = []
        while True:
            end = _END.search(buffer, self._scanned)
            if end is None or (end.group() == b"\r" and end.end() == len(buffer)):
                # A CR at the end may be half of a line's end.
                self._scanned = end.start() if end else len(buffer)
                break
            line = bytes(buffer[self._line : end.start()])
            self._line = self._scanned = end.end()
            if self._first:
                line, self._first = line.removeprefix(_MARK), False
            if line or self._begun:
                self._take(line)
            else:
                events.append(self._whole())
        if len(buffer) > self._longest:
            events.append(self._part())
        return events

    def rest(self) -> bytes:
        """Give what is left at the end of the stream: no whole event."""
        raw = bytes(self._buffer)
        self._buffer.clear()
        return raw

    @property
    def between(self) -> bool:
        """Whether nothing of an event has been given without its end."""
        return not self._too_long

    def _take(self, line: bytes) -> None:
        self._begun = False
        name, _, value = line.partition(b":")
        if name == b"data" and not self._too_long:
            self._data.append(value[1:] if value.startswith(b" ") else value)

    def _whole(self) -> Event:
        raw = bytes(self._buffer[: self._line])
        del self._buffer[: self._line]
        self._line = self._scanned = 0
        data = b"\n".join(self._data) if self._data else None
        self._data.clear()
        part, self._too_long = self._too_long, False
        return Event(raw, None if part else data, part=part)

    def _part(self) -> Event:
        """Give what there is of an event that is too long, but for a line that has just begun."""
        keep = 1 if self._buffer.endswith(b"\r") else 0
        cut = len(self._buffer) - keep
        raw = bytes(self._buffer[:cut])
        # A line that goes on must not look empty when the rest of it is.
        self._begun = self._begun or self._line < cut
        del self._buffer[:cut]
        self._line = self._scanned = 0
        self._data.clear()
        self._too_long = True
        return Event(raw, None, whole=False, part=True)
