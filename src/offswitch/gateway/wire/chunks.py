"""Chunked bodies of requests, decoded strictly (RFC 9112, 7.1).

    size [;extension] CRLF  data CRLF  …  0 CRLF  trailers CRLF

Extensions and trailers are dropped: nobody behind us needs them, and much has been smuggled in
them. A size has at most fifteen digits, so none overflows; a line ends in CR LF and in nothing
else; a line of a size has a bound, so that nobody sends extensions for ever.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from offswitch.gateway.wire.rules import Refusal, Rules
from offswitch.gateway.wire.strict import fields

__all__ = ["Chunks"]

_NAME = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_QUOTED = rb'"(?:[\t !\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*+"'
_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;%b(?:=(?:%b|%b))?)*+" % (_NAME, _NAME, _QUOTED))
_FIELD = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_LONGEST = 1024
"""Bytes of a line with a size, its extensions included."""
_END = b"\r\n"


class Chunks:
    """Decodes one chunked body from a buffer that others fill."""

    __slots__ = ("_kept", "_left", "_rules", "_stage")

    def __init__(self, rules: Rules) -> None:
        """Begin before the first size."""
        self._rules = rules
        self._stage: _Stage = Chunks._size
        self._left = 0
        self._kept = 0
        """Bytes of trailers so far."""

    def take(self, buffer: bytearray, pieces: list[bytes]) -> bool:
        """Move what is complete from the buffer's front to `pieces`; say whether it has ended.

        Raises `Refusal`; what was good before it is in `pieces` then.
        """
        while buffer and self._stage(self, buffer, pieces):
            pass
        return self._stage is Chunks._done

    def _size(self, buffer: bytearray, _: list[bytes]) -> bool:
        end = _line(buffer, _LONGEST)
        if end < 0:
            return False
        match = _LINE.fullmatch(buffer, 0, end)
        if not match:
            raise Refusal(400, "a chunk's size is not a plain hexadecimal number")
        self._left = int(match[1], 16)
        del match  # it holds the buffer
        del buffer[: end + 2]
        self._stage = Chunks._data if self._left else Chunks._trailers
        return True

    def _data(self, buffer: bytearray, pieces: list[bytes]) -> bool:
        piece = bytes(buffer[: self._left])
        del buffer[: len(piece)]
        pieces.append(piece)
        self._left -= len(piece)
        if not self._left:
            self._stage = Chunks._close
        return True

    def _close(self, buffer: bytearray, _: list[bytes]) -> bool:
        if not _END.startswith(buffer[:2]):
            raise Refusal(400, "a chunk is longer than its size")
        if len(buffer) < len(_END):
            return False
        del buffer[:2]
        self._stage = Chunks._size
        return True

    def _trailers(self, buffer: bytearray, _: list[bytes]) -> bool:
        end = _line(buffer, self._rules.head - self._kept)
        if end < 0:
            return False
        line = bytes(buffer[:end])
        if not _FIELD.fullmatch(line):
            raise Refusal(400, "control characters in a trailer")
        if line:
            fields([line], 1)
        del buffer[: end + 2]
        self._kept += end + 2
        if not line:
            self._stage = Chunks._done
            return False
        return True

    def _done(self, _buffer: bytearray, _pieces: list[bytes]) -> bool:
        return False


def _line(buffer: bytearray, longest: int) -> int:
    """Find the end of the first line; below zero: it is not there yet."""
    end = buffer.find(b"\n", 0, longest)
    if end > 0 and buffer[end - 1] == _END[0]:
        return end - 1
    if end >= 0:
        raise Refusal(400, "a line of a chunked body does not end in CR LF")
    if len(buffer) >= longest:
        raise Refusal(400, "a line of a chunked body is too long")
    return -1


_Stage = Callable[[Chunks, bytearray, list[bytes]], bool]
"""Takes a step; false: it wants more bytes, or there is no more."""
