"""The body of an answer, unwrapped: what of the bytes is body, where it ends, where one stands.

    counted      Content-Length bytes                    RFC 9112, 6.2
    chunked      size CRLF data CRLF … 0 CRLF CRLF       RFC 9112, 7.1
    until close  whatever comes until the end            RFC 9112, 6.3, item 8

The bytes themselves may pass unchanged: `used` says how many of them belong to this answer.
Chunk sizes come from a table of those seen before; a new one is read strictly, since an answer
that we and the client read differently would hand the next one to the wrong client.
"""

from __future__ import annotations

import re

from offswitch.gateway.wire.rules import Refusal

__all__ = ["BEGINS", "NEVER", "Body", "Chunked", "Counted", "UntilClose"]

NEVER = b"\0"
"""What no chunk begins with."""
BEGINS: dict[int, bytes] = {}
"""How many bytes a whole chunk has, its framing included → what it begins with: its size, CR LF.
Of the sizes that were seen, zero left out; one that is written in another way is read in full."""
_SIZES: dict[bytes, int] = {}
"""Lines of chunk sizes that were seen, without their CR LF, zero left out, and what they say."""
_MOST_SIZES = 8192
_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?")
_TRAILER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*")
_LONGEST = 1024
_TRAILERS = 8192


class Body:
    """One body; `take` is called with each read until `done`."""

    __slots__ = ("done", "even", "used")

    def __init__(self) -> None:
        self.done = False
        """It is complete."""
        self.used = 0
        """How many of the last bytes belong to it; what follows them is something else."""
        self.even = False
        """Whether it stands between two chunks, with nothing begun."""

    def take(self, data: bytes) -> bytes:
        """Give what of `data` is body. Raises `Refusal` where it is not well-formed."""
        raise NotImplementedError

    def close(self) -> bool:
        """The connection has ended; say whether the body may end so."""
        return False


class UntilClose(Body):
    """It ends with the connection."""

    __slots__ = ()

    def take(self, data: bytes) -> bytes:
        """Give all of it."""
        self.used = len(data)
        return data

    def close(self) -> bool:
        """That is how it ends."""
        return True


class Counted(Body):
    """Its length was told."""

    __slots__ = ("_left",)

    def __init__(self, length: int) -> None:
        """Expect `length` bytes."""
        super().__init__()
        self._left = length
        self.done = not length

    def take(self, data: bytes) -> bytes:
        """Give what belongs to it."""
        self.used = min(self._left, len(data))
        self._left -= self.used
        self.done = not self._left
        return data if self.used == len(data) else data[: self.used]


class Chunked(Body):
    """It comes in chunks."""

    __slots__ = ("_begun", "_left", "_trailers")

    def __init__(self) -> None:
        super().__init__()
        self.even = True
        self._left = 0
        """Bytes of the chunk that are still to come, its last CR LF included."""
        self._begun = b""
        """Of a line that is not complete."""
        self._trailers = -1
        """Bytes of trailers so far; below zero: the last chunk has not come."""

    def take(self, data: bytes) -> bytes:
        """Give the data of the chunks in it."""
        kept = len(self._begun)
        if kept:
            data = self._begun + data
            self._begun = b""
        pieces: list[bytes] = []
        at, end = 0, len(data)
        while at < end and not self.done:
            if self._left:
                at = self._data(data, at, pieces)
                continue
            stop = data.find(b"\r\n", at, at + _LONGEST)
            if stop < 0:
                self._begun = data[at:]
                if len(self._begun) >= _LONGEST:
                    raise Refusal(502, "a chunk's first line is too long")
                if b"\n" in self._begun or b"\r" in self._begun[:-1]:
                    raise Refusal(502, "a line of a chunked body does not end in CR LF")
                at = end
            elif self._trailers >= 0:
                at = self._trailer(data, at, stop)
            else:
                self._left = _size(data[at:stop])
                at = stop + 2
                if self._left:
                    self._left += 2
                else:
                    self._trailers = 0
        self.used = at - kept
        self.even = not self._left and not self._begun and self._trailers < 0
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _data(self, data: bytes, at: int, pieces: list[bytes]) -> int:
        """Take what there is of a chunk's data and of the CR LF behind it."""
        here = min(self._left, len(data) - at)
        body = min(here, self._left - 2)
        if body > 0:
            pieces.append(data[at : at + body])
        tail = data[at + max(body, 0) : at + here]
        if tail and tail != (b"\r\n"[-self._left :] if self._left < 2 else b"\r\n")[: len(tail)]:  # noqa: PLR2004 - CR LF
            raise Refusal(502, "a chunk is longer than its size")
        self._left -= here
        return at + here

    def _trailer(self, data: bytes, at: int, stop: int) -> int:
        """Look at a trailer: it passes as it is, so it must end nowhere else for anybody."""
        if stop == at:
            self.done = True
        elif not _TRAILER.fullmatch(data, at, stop):
            raise Refusal(502, "a trailer is not a header's line")
        self._trailers += stop + 2 - at
        if self._trailers > _TRAILERS:
            raise Refusal(502, "the trailers are too long")
        return stop + 2


def _size(line: bytes) -> int:
    size = _SIZES.get(line)
    if size is None:
        match = _LINE.fullmatch(line)
        if not match:
            raise Refusal(502, "a chunk's size is not a plain hexadecimal number")
        size = int(match[1], 16)
        if size and len(_SIZES) < _MOST_SIZES and len(line) == len(match[1]):
            _SIZES[line] = size
            BEGINS[len(line) + size + 4] = line + b"\r\n"
    return size
