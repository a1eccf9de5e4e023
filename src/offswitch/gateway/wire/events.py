"""Server-sent events, handed on whole: what has begun waits until it is complete.

No client acts on an event before its last line, so nobody waits longer for this; but a stream that
always stands between two events can be ended there at any moment, in words that its client reads.
An event ends with an empty line, and a line with LF, CR LF or CR (WHATWG HTML, 9.2.5).
"""

from __future__ import annotations

__all__ = ["MOST_KEPT", "Events"]

MOST_KEPT = 256 << 10
"""Bytes of one event that are kept back, at most; a longer one passes as it comes."""
_ENDS = (b"\n\n", b"\n\r\n", b"\r\r")


class Events:
    """One stream of events on its way."""

    __slots__ = ("_kept", "whole")

    def __init__(self) -> None:
        self._kept = b""
        self.whole = True
        """Whether what was handed on ends with an event."""

    @property
    def kept(self) -> int:
        """How many bytes wait."""
        return len(self._kept)

    def feed(self, data: bytes) -> bytes:
        """Give what is complete."""
        looked = max(0, len(self._kept) - 2)
        if self._kept:
            data = self._kept + data
        end = _last_end(data, looked)
        if end == len(data):
            self._kept = b""
            self.whole = True
            return data
        if not end and not self.whole:
            self._kept = b""
            return data
        self._kept = data[end:]
        if len(self._kept) > MOST_KEPT:
            self._kept = b""
            self.whole = False
            return data
        self.whole = self.whole or end > 0
        return data[:end]

    def rest(self) -> bytes:
        """The stream is complete: give what waits."""
        data, self._kept = self._kept, b""
        return data


def _last_end(data: bytes, start: int) -> int:
    """Give where the last event in it ends; 0: none does."""
    last = 0
    for each in _ENDS:
        at = data.rfind(each, start)
        if at >= 0:
            last = max(last, at + len(each))
    return last
