"""As much of the D-Bus protocol as it takes to command systemd, over a connection that stays open.

A program such as `systemctl` costs ten milliseconds and a process, which there may be none left of;
a call over an open socket costs a fraction of one, and several may be on their way at once. Little
endian, protocol version 1 (D-Bus Specification, "Message Protocol" and "Authentication Protocol",
EXTERNAL). systemd's own socket is spoken to directly, and asks who we are when we connect: the
right outlives the user that we give up. It sends every signal to whoever is connected there, so
what nobody waits for is read away.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from contextlib import suppress
from typing import Any

from offswitch.actuators.hands.contract import Trouble

__all__ = ["Bus", "Declined"]

_CALL, _RETURN, _ERROR = 1, 2, 3
_PATH, _INTERFACE, _MEMBER, _ERROR_NAME, _REPLY, _DESTINATION, _SIGNATURE = 1, 2, 3, 4, 5, 6, 8
_MOST = 16 << 20
_HEAD = struct.Struct("<4BIII")
_ALIGNED = {"y": 1, "g": 1, "v": 1, "n": 2, "q": 2, "x": 8, "t": 8, "d": 8, "(": 8, "{": 8}
_NUMBERS = {
    "y": "B",
    "b": "I",
    "n": "h",
    "q": "H",
    "i": "i",
    "u": "I",
    "x": "q",
    "t": "Q",
    "d": "d",
}
_DEEPEST = 32


class Declined(Trouble):
    """The other side answered with an error; `name` is the D-Bus name of it."""

    def __init__(self, name: str, text: str) -> None:
        """Say which, in its own words."""
        super().__init__(f"{name.rpartition('.')[2]}: {text}")
        self.name = name


class Bus:
    """A conversation with one side of D-Bus; every failure is a `Trouble`."""

    def __init__(self, path: str, name: str, *, hello: bool, timeout_s: float = 1.0) -> None:
        """Speak with `name` at the socket `path`; through a bus (`hello`), or directly."""
        self.path = path
        self._name = name
        self._hello = hello
        self.timeout_s = timeout_s
        """How long an answer may take."""
        self._serial = 0
        self._sock: socket.socket | None = None
        self._buffer = b""
        self._answers: dict[int, tuple[int, dict[int, Any], bytes]] = {}
        self._due: set[int] = set()

    @property
    def connected(self) -> bool:
        """Whether there is a connection."""
        return self._sock is not None

    def open(self) -> None:
        """Connect, unless it is connected."""
        if self._sock is not None:
            return
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        sock.settimeout(self.timeout_s)
        try:
            sock.connect(self.path)
            who = str(os.geteuid()).encode().hex().encode()
            # All at once, as sd-bus does it: what comes in one piece with BEGIN and is no part of
            # it systemd 252 leaves lying, and whatever comes after.
            sock.sendall(b"\0AUTH EXTERNAL " + who + b"\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n")
            welcome = self._line(sock).startswith(b"OK ") and self._line(sock) != b""
        except OSError as error:
            sock.close()
            raise Trouble(f"{self.path}: {error}") from None
        if not welcome:
            sock.close()
            raise Trouble(f"{self.path} does not let us in")
        self._sock, self._buffer = sock, b""
        self._answers.clear()
        self._due.clear()
        if self._hello:
            bus = "org.freedesktop.DBus"
            self.answer(self.send("/org/freedesktop/DBus", bus, "Hello", to=bus))

    @staticmethod
    def _line(sock: socket.socket) -> bytes:
        line = b""
        while not line.endswith(b"\r\n"):
            got = sock.recv(1)  # one: what comes behind it is no part of it
            if not got or len(line) > 512:  # noqa: PLR2004 - no answer is as long
                return b""
            line += got
        return line

    def close(self) -> None:
        """Hang up."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def fileno(self) -> int:
        """Give the descriptor of the connection; -1: there is none."""
        return -1 if self._sock is None else self._sock.fileno()

    def call(self, path: str, interface: str, member: str, signature: str = "", *args: Any) -> Any:  # noqa: ANN401 - as the other side has it
        """Ask and wait for the answer: its one value, or a list of them."""
        return self.answer(self.send(path, interface, member, signature, *args))

    def send(
        self,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        *args: Any,  # noqa: ANN401 - as the signature has it
        to: str | None = None,
    ) -> int:
        """Ask, and wait for nothing; give the number by which the answer is fetched."""
        self.open()
        self._serial += 1
        body = bytearray()
        for kind, value in zip(_split(signature), args, strict=True):
            _put(body, kind, value)
        fields = [(_PATH, "o", path), (_INTERFACE, "s", interface), (_MEMBER, "s", member)]
        fields += [(_DESTINATION, "s", to or self._name)]
        fields += [(_SIGNATURE, "g", signature)] if signature else []
        head = bytearray()
        for code, kind, text in fields:
            _pad(head, 8)
            head += bytes([code])
            _put(head, "g", kind)
            _put(head, kind, text)
        start = _HEAD.pack(ord("l"), _CALL, 0, 1, len(body), self._serial, len(head))
        message = bytearray(start) + head
        _pad(message, 8)
        try:
            self._need().sendall(message + body)
        except OSError as error:
            self.close()
            raise Trouble(f"{self.path}: {error}") from None
        self._due.add(self._serial)
        return self._serial

    def answer(self, serial: int) -> Any:  # noqa: ANN401 - as the other side has it
        """Wait for the answer to a question; an error of the other side is `Declined`."""
        end = time.monotonic() + self.timeout_s
        while serial not in self._answers:
            self._read(end)
        self._due.discard(serial)
        kind, fields, body = self._answers.pop(serial)
        try:
            values = _values(str(fields.get(_SIGNATURE, "")), body)
        except (struct.error, IndexError, UnicodeDecodeError, RecursionError):
            self.close()
            raise Trouble(f"{self.path}: its answer cannot be read") from None
        if kind == _ERROR:
            raise Declined(str(fields.get(_ERROR_NAME)), str(values[0]) if values else "")
        return values[0] if len(values) == 1 else values

    def drain(self) -> None:
        """Read away what has come that nobody waits for."""
        while self._sock is not None and select.select([self._sock], [], [], 0)[0]:
            self._read(time.monotonic() + self.timeout_s)

    def _need(self) -> socket.socket:
        if self._sock is None:
            raise Trouble(f"{self.path}: not connected")
        return self._sock

    def _read(self, end: float) -> None:
        """Take what comes next; keep the answers that are due."""
        sock = self._need()
        try:
            sock.settimeout(max(0.001, end - time.monotonic()))
            data = sock.recv(1 << 16)
        except OSError as error:
            self.close()
            raise Trouble(f"{self.path}: {error}") from None
        self._buffer += data
        if not data:
            self.close()
            raise Trouble(f"{self.path} hung up")
        while len(self._buffer) >= _HEAD.size:
            _endian, kind, _flags, _version, body, _serial, head = _HEAD.unpack_from(self._buffer)
            start = (_HEAD.size + head + 7) & ~7
            if self._buffer[0] != ord("l") or start + body > _MOST:
                self.close()
                raise Trouble(f"{self.path} does not speak D-Bus as we do")
            if len(self._buffer) < start + body:
                return
            if kind in {_RETURN, _ERROR}:
                fields = _fields(self._buffer[: _HEAD.size + head])
                serial = fields.get(_REPLY)
                if isinstance(serial, int) and serial in self._due:
                    self._answers[serial] = (kind, fields, self._buffer[start : start + body])
            self._buffer = self._buffer[start + body :]


def _pad(data: bytearray, to: int) -> None:
    data += bytes(-len(data) % to)


def _split(signature: str) -> list[str]:
    """Cut a signature into its complete types: `sa(sv)` is `s` and `a(sv)`."""
    kinds, place = [], 0
    while place < len(signature):
        end = _end(signature, place)
        kinds.append(signature[place:end])
        place = end
    return kinds


def _end(signature: str, place: int) -> int:
    while signature[place] == "a":
        place += 1
    if signature[place] not in "({":
        return place + 1
    depth = 0
    while True:
        depth += {"(": 1, "{": 1, ")": -1, "}": -1}.get(signature[place], 0)
        place += 1
        if depth == 0:
            return place


def _put(data: bytearray, kind: str, value: Any) -> None:  # noqa: ANN401 - as its type has it
    """Write one value: numbers, texts, and arrays of them; of structures only an empty array."""
    if kind in _NUMBERS:
        _pad(data, _ALIGNED.get(kind, 4))
        data += struct.pack("<" + _NUMBERS[kind], value)
    elif kind == "g":
        data += bytes([len(value)]) + value.encode() + b"\0"
    elif kind in {"s", "o"}:
        text = value.encode()
        _pad(data, 4)
        data += struct.pack("<I", len(text)) + text + b"\0"
    else:
        items = bytearray()
        _pad(data, 4)
        at = len(data) + 4
        pad = -at % _ALIGNED.get(kind[1], 4)
        for each in value:
            _put(items, kind[1:], each)  # texts and numbers of four bytes: aligned as they are
        data += struct.pack("<I", len(items)) + bytes(pad) + items


def _fields(head: bytes) -> dict[int, Any]:
    """Read the fields of a header; what cannot be read is not there."""
    with suppress(struct.error, IndexError, UnicodeDecodeError):
        found, _ = _take("a(yv)", head, _HEAD.size - 4, 0)
        return dict(found)
    return {}


def _values(signature: str, body: bytes) -> list[Any]:
    values, place = [], 0
    for kind in _split(signature):
        value, place = _take(kind, body, place, 0)
        values.append(value)
    return values


def _take(kind: str, data: bytes, place: int, depth: int) -> tuple[Any, int]:
    """Read one value of a type at a place; give it and where it ends."""
    if depth > _DEEPEST:
        raise IndexError(kind)
    first = kind[0]
    place += -place % _ALIGNED.get(first, 4)
    if first in _NUMBERS:
        (number,) = struct.unpack_from("<" + _NUMBERS[first], data, place)
        value = bool(number) if first == "b" else number
        return value, place + struct.calcsize("<" + _NUMBERS[first])
    if first in "so":
        (size,) = struct.unpack_from("<I", data, place)
        return _text(data, place + 4, size)
    if first == "g":
        return _text(data, place + 1, data[place])
    if first == "v":
        inner, place = _text(data, place + 1, data[place])
        return _take(inner, data, place, depth + 1)
    if first == "a":
        return _array(kind[1:], data, place, depth)
    values = []
    for each in _split(kind[1:-1]):
        value, place = _take(each, data, place, depth + 1)
        values.append(value)
    return tuple(values), place


def _text(data: bytes, place: int, size: int) -> tuple[str, int]:
    if place + size >= len(data):
        raise IndexError(size)
    return data[place : place + size].decode(), place + size + 1


def _array(kind: str, data: bytes, place: int, depth: int) -> tuple[list[Any], int]:
    (size,) = struct.unpack_from("<I", data, place)
    place += 4
    place += -place % _ALIGNED.get(kind[0], 4)
    end, values = place + size, []
    if end > len(data):
        raise IndexError(size)
    while place < end:
        value, place = _take(kind, data, place, depth + 1)
        values.append(value)
    return values, place
