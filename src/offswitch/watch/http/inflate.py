"""Unpacking what was compressed, to a limit: a kilobyte may else become a gigabyte.

gzip (RFC 1952), one member after the other as the RFC allows, and zlib (RFC 1950), which HTTP
calls deflate (RFC 9110, 8.4.1). What goes on beyond the limit is refused as a whole.
"""

from __future__ import annotations

import zlib

__all__ = ["CODINGS", "TooMuch", "Unreadable", "inflate"]

CODINGS = frozenset({"", "identity", "gzip", "x-gzip", "deflate"})
"""The content codings that can be read."""
_MOST_MEMBERS = 64


class TooMuch(Exception):
    """It is larger than the limit."""


class Unreadable(Exception):
    """It is not what its coding says."""


def inflate(data: bytes, coding: str, most: int) -> bytes:
    """Give what `data` holds, `most` bytes of it; raises `TooMuch` or `Unreadable`."""
    if coding in {"", "identity"}:
        if len(data) > most:
            raise TooMuch
        return data
    window = zlib.MAX_WBITS if coding == "deflate" else zlib.MAX_WBITS | 16
    whole: list[bytes] = []
    room = most
    for _ in range(_MOST_MEMBERS):
        member = zlib.decompressobj(window)
        try:
            part = member.decompress(data, room + 1)
        except zlib.error:
            raise Unreadable from None
        room -= len(part)
        if room < 0:
            raise TooMuch
        if not member.eof:
            raise Unreadable
        whole.append(part)
        data = member.unused_data
        if not data:
            return b"".join(whole)
    raise Unreadable
