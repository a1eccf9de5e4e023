r"""Server-sent events, cut out of bytes that come in any pieces.

An event ends with a blank line; a line ends with \n, \r\n or \r (WHATWG HTML, 9.2.6). `Events`
gives the bytes of each event as they came, so that what need not be changed is passed on as it is.
"""

from __future__ import annotations

import re

__all__ = ["Events", "TooLong", "data_of", "speaks_of"]

_END = re.compile(rb"(?:\r\n|\n|\r(?!\n)){2}")
_LINES = re.compile(rb"\r\n|\n|\r")
_ASCII = re.compile(rb"\\u00[2-7]")
_LONGEST = 16 << 20
"""Bytes of one event: an image in base64 is the longest that we know."""


class TooLong(Exception):
    """An event is longer than anybody's."""


class Events:
    """Cuts a stream into events."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        """Begin with nothing."""
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Take some bytes, and give the events that are whole now, each with its blank line."""
        rest = self._rest
        if not rest and b"\r" not in data:
            # The usual case: a chunk is one event, or some whole ones.
            events = data.split(b"\n\n")
            rest += events.pop()
            return [event + b"\n\n" for event in events]
        begin = max(0, len(rest) - 3)
        rest += data
        found = []
        last = 0
        for end in _END.finditer(rest, begin):
            found.append(bytes(rest[last : end.end()]))
            last = end.end()
        del rest[:last]
        if len(rest) > _LONGEST:
            raise TooLong
        return found

    def rest(self) -> bytes:
        """Give the part of an event that has come so far."""
        return bytes(self._rest)


def data_of(event: bytes) -> tuple[str, bytes]:
    """Give the name and the data of an event; both empty where it is a comment."""
    if event.startswith(b"data:") and event.find(b"\n") == len(event) - 2 and b"\r" not in event:
        return "", event[5:-2].strip()
    name, data = "", []
    for line in _LINES.split(event):
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
        elif field == b"event":
            name = value.strip().decode(errors="replace")
        elif field == b"error":  # older versions of llama.cpp
            name, data = "error", [b'{"error":' + value + b"}"]
    return name, b"\n".join(data)


def speaks_of(event: bytes, *words: bytes) -> bool:
    """Tell whether an event may hold one of these names; one may be written with escapes."""
    for word in words:
        if word in event:
            return True
    return b"\\u00" in event and _ASCII.search(event) is not None
