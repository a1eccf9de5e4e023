"""Frames of a websocket, as far as one must know them to end it between two (RFC 6455, 5.2).

    FIN RSV opcode │ MASK length │ [16 or 64 bits of length] │ [mask] │ payload

What a server sends is handed on in whole frames, so that a close frame of ours can follow at any
moment; a frame that is longer than `MOST_KEPT` passes as it comes. Nothing else is read or changed.
"""

from __future__ import annotations

import base64
import hashlib
import struct

__all__ = [
    "GOING_AWAY",
    "MOST_KEPT",
    "POLICY",
    "TROUBLE",
    "TRY_LATER",
    "Frames",
    "accepts",
    "close",
    "text",
]

MOST_KEPT = 256 << 10
"""Bytes of one frame that are kept back, at most."""
GOING_AWAY, POLICY, TROUBLE, TRY_LATER = 1001, 1008, 1011, 1013
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CLOSE, _TEXT, _CONTROL = 0x88, 0x81, 0x08
_SHORT, _LONG = 126, 127
_MOST_REASON = 123


def accepts(key: bytes) -> bytes:
    """Give what a server answers to a client's key."""
    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())


def close(code: int, reason: str) -> bytes:
    """Give a server's close frame."""
    said = reason.encode()[:_MOST_REASON].decode("utf-8", "ignore").encode()
    return bytes((_CLOSE, 2 + len(said))) + struct.pack("!H", code) + said


def text(data: bytes) -> bytes:
    """Give a server's message of text, in one frame."""
    size = len(data)
    if size < _SHORT:
        return bytes((_TEXT, size)) + data
    if size <= 0xFFFF:  # noqa: PLR2004 - 16 bits
        return struct.pack("!BBH", _TEXT, _SHORT, size) + data
    return struct.pack("!BBQ", _TEXT, _LONG, size) + data


class Frames:
    """The frames of one side on their way."""

    __slots__ = ("_kept", "_left", "_open", "closed")

    def __init__(self) -> None:
        self._kept = b""
        self._left = 0
        """Bytes of a frame that has been handed on in part."""
        self._open = False
        """Whether a message was handed on without its last frame."""
        self.closed = False
        """Whether a close frame was handed on: nothing may follow it."""

    @property
    def whole(self) -> bool:
        """Whether what was handed on ends with a frame: a control frame may follow."""
        return not self._left

    @property
    def between(self) -> bool:
        """Whether it ends with a message: another message may follow."""
        return not self._left and not self._open

    def feed(self, data: bytes) -> bytes:
        """Give what is complete of it."""
        if self._kept:
            data = self._kept + data
            self._kept = b""
        end = len(data)
        at = min(self._left, end)
        self._left -= at
        while at < end:
            size = _size(data, at)
            if size < 0 or (at + size > end and size <= MOST_KEPT):
                self._kept = data[at:]
                return data[:at]
            self._note(data[at])
            at += size
        self._left = max(self._left, at - end)
        return data

    def _note(self, first: int) -> None:
        """Keep in mind what a frame's first byte says."""
        if first & _CONTROL:
            self.closed = self.closed or first & 0x0F == _CLOSE & 0x0F
        else:
            self._open = not first & 0x80


def _size(data: bytes, at: int) -> int:
    """Give the length of the frame that begins at `at`; below zero: that is not there yet."""
    head = data[at : at + 10]
    if len(head) < 2:  # noqa: PLR2004 - flags and length
        return -1
    size, before = head[1] & 0x7F, 2
    if size == _SHORT:
        before = 4
    elif size == _LONG:
        before = 10
    if len(head) < before:
        return -1
    if before > 2:  # noqa: PLR2004 - flags and length
        size = int.from_bytes(head[2:before], "big")
    return before + size + (4 if head[1] & 0x80 else 0)
