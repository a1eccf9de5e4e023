"""Frames on the control sockets: four bytes of length, big-endian, then one JSON object.

Descriptors travel beside the first byte of a frame. A frame is at most `MAX_FRAME` bytes,
an answer at most `MAX_ANSWER`, since a fleet's status is long; a longer one, a garbled one
or one that breaks off is an error that names itself, and the connection is closed: nothing
of it is obeyed, and everything that was whole before it is. `Decoder` serves a loop that
must not block; `send` and `receive` serve a caller that may wait until its socket's
time-out.
"""

from __future__ import annotations

import array
import json
import os
import socket
import struct
from typing import Any

from offswitch.errors import Unreachable, Usage

__all__ = ["MAX_ANSWER", "MAX_FDS", "MAX_FRAME", "Decoder", "encode", "receive", "send"]

MAX_FRAME = 1 << 20
MAX_ANSWER = 1 << 26
MAX_FDS = 8
_HEAD = struct.Struct(">I")

Message = dict[str, Any]


def encode(message: Message, limit: int = MAX_FRAME) -> bytes:
    """Give the frame of `message`; a lone surrogate or a too long message raises `Usage`."""
    try:
        body = json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode()
    except (UnicodeEncodeError, TypeError, ValueError, RecursionError) as error:
        raise Usage(f"this cannot be sent: {error}") from None
    if len(body) > limit:
        raise Usage(f"a message of {len(body)} bytes", f"the limit is {limit}")
    return _HEAD.pack(len(body)) + body


class Decoder:
    """Turns bytes, as they come, into messages. Raises `Usage` once and for good on garbage."""

    __slots__ = ("_buffer", "_garbage", "_limit")

    def __init__(self, limit: int = MAX_FRAME) -> None:
        """Start with nothing received; `MAX_ANSWER` is the limit of who reads answers."""
        self._limit = limit
        self._buffer = bytearray()
        self._garbage: Usage | None = None

    def feed(self, data: bytes) -> list[Message]:
        """Take in `data` and give the messages that are complete now.

        What was whole before garbage is given first, since a stop is a stop; the next call,
        which may bring nothing, raises then, and so does every one after it.
        """
        messages: list[Message] = []
        if self._garbage is None:
            try:
                if not self._buffer and _is_one_frame(data):  # by far the commonest case
                    return [_parse(data[_HEAD.size :])]
                self._buffer += data
                while (body := self._next()) is not None:
                    messages.append(_parse(body))
            except Usage as error:
                self._garbage = error
                self._buffer.clear()
        if self._garbage is not None and not messages:
            raise self._garbage
        return messages

    def _next(self) -> bytes | None:
        if len(self._buffer) < _HEAD.size:
            return None
        (length,) = _HEAD.unpack_from(self._buffer)
        if length > self._limit:
            raise Usage(f"a frame of {length} bytes", f"the limit is {self._limit}")
        if len(self._buffer) < _HEAD.size + length:
            return None
        body = bytes(self._buffer[_HEAD.size : _HEAD.size + length])
        del self._buffer[: _HEAD.size + length]
        return body

    @property
    def rest(self) -> bytes:
        """What has come of a frame that is not whole yet."""
        return bytes(self._buffer)

    @property
    def garbled(self) -> bool:
        """Whether garbage has come: what is fed next raises."""
        return self._garbage is not None

    @property
    def broken(self) -> bool:
        """Whether a frame has begun and not ended: at the end of a stream, it was cut off."""
        return bool(self._buffer)


def _is_one_frame(data: bytes) -> bool:
    if not _HEAD.size <= len(data) <= _HEAD.size + MAX_FRAME:
        return False
    return bool(_HEAD.unpack_from(data)[0] == len(data) - _HEAD.size)


def _parse(body: bytes) -> Message:
    try:
        message = json.loads(body.decode())
        if b"\\u" in body:
            # A lone surrogate, which JSON can spell and UTF-8 cannot, would be kept in a row and
            # then spoil every answer that tells of it. It becomes a question mark.
            message = json.loads(json.dumps(message, ensure_ascii=False).encode(errors="replace"))
    except (ValueError, RecursionError):
        raise Usage("a frame that is not JSON") from None
    if not isinstance(message, dict):
        raise Usage("a frame that is not an object")
    return message


def send(sock: socket.socket, message: Message, fds: tuple[int, ...] = ()) -> None:
    """Send one frame, with descriptors if there are any; waits until the socket's time-out."""
    data = encode(message)
    if fds:
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
        sent = sock.sendmsg([data], ancillary)
        data = data[sent:]
    if data:
        sock.sendall(data)


def receive(sock: socket.socket) -> tuple[Message, list[int]] | None:
    """Receive one frame and its descriptors; None at a clean end of the stream.

    Raises `Unreachable` if the stream breaks off, and whatever the socket's time-out raises;
    descriptors that came with what is not given are closed.
    """
    fds: list[int] = []
    try:
        body = _frame(sock, fds)
        return None if body is None else (_parse(body), fds)
    except BaseException:
        for fd in fds:
            os.close(fd)
        raise


def _frame(sock: socket.socket, fds: list[int]) -> bytes | None:
    head = _exactly(sock, _HEAD.size, fds)
    if not head:
        return None
    (length,) = _HEAD.unpack(head)
    if length > MAX_ANSWER:
        raise Usage(f"a frame of {length} bytes", f"the limit is {MAX_ANSWER}")
    body = _exactly(sock, length, fds)
    if len(body) < length:
        raise Unreachable(
            "the answer broke off", "see whether the warden still runs: offswitch status"
        )
    return body


def _exactly(sock: socket.socket, size: int, fds: list[int]) -> bytes:
    parts: list[bytes] = []
    missing = size
    while missing:
        space = socket.CMSG_SPACE(MAX_FDS * 4)
        data, ancillary, _flags, _address = sock.recvmsg(missing, space, socket.MSG_CMSG_CLOEXEC)
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                whole = payload[: len(payload) - len(payload) % 4]
                fds.extend(array.array("i", whole))
        if not data:
            if parts:
                raise Unreachable("the answer broke off", "try again, or: offswitch status")
            return b""
        parts.append(data)
        missing -= len(data)
    return b"".join(parts)
