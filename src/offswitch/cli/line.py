"""One connection of the fast path to a warden or keeper, which never blocks.

It speaks the frames of control/frames.py over the C half of the socket module, for the
same reason for which `lean_json` exists. A listener that is frozen accepts a handful of
connections and then none: such a one is *busy* here, and tried again as long as the caller
waits; one that is not there says so at once.
"""

from __future__ import annotations

import _socket

from offswitch.cli.lean_json import dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Line"]

_MAX_FRAME = 1 << 26
"""An answer may be longer than a question: a status of thousands of targets."""
_HEAD = 4


class Line:
    """A connection to the socket at `path`, with one request to send on it."""

    __slots__ = ("_buffer", "_out", "_sock", "path", "trouble")

    def __init__(self, path: str, request: dict[str, Any]) -> None:
        """Connect and send, as far as that goes without waiting."""
        body = dumps(request).encode()
        self.path = path
        self.trouble: OSError | None = None
        """Why nothing more can come; None: something may."""
        self._out = len(body).to_bytes(_HEAD, "big") + body
        self._buffer = b""
        self._sock: _socket.socket | None = None
        self.push()

    def fileno(self) -> int:
        """Give the descriptor, or -1 while there is none."""
        return -1 if self._sock is None else self._sock.fileno()

    def push(self) -> None:
        """Connect if that has not worked yet, and send what is left of the request."""
        if self.trouble is not None:
            return
        try:
            if self._sock is None:
                kind = _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK
                sock = _socket.socket(_socket.AF_UNIX, kind)
                sock.connect(self.path)
                self._sock = sock
            while self._out:
                sent = self._sock.send(self._out, _socket.MSG_NOSIGNAL)
                self._out = self._out[sent:]
        except BlockingIOError:
            return
        except OSError as error:
            self.trouble = error

    def messages(self) -> list[dict[str, Any]]:
        """Take in what has come, without waiting."""
        if self._sock is None or self.trouble is not None:
            return []
        while True:
            try:
                data = self._sock.recv(1 << 18)
            except BlockingIOError:
                break
            except OSError as error:
                self.trouble = error
                break
            if not data:
                self.trouble = ConnectionResetError(0, "hung up")
                break
            self._buffer += data
        return self._parsed()

    def _parsed(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while len(self._buffer) >= _HEAD:
            length = int.from_bytes(self._buffer[:_HEAD], "big")
            if length > _MAX_FRAME:
                self.trouble = OSError(0, "an answer beyond all bounds")
                break
            if len(self._buffer) < _HEAD + length:
                break
            body = self._buffer[_HEAD : _HEAD + length]
            self._buffer = self._buffer[_HEAD + length :]
            try:
                value = loads(body.decode())
            except ValueError:
                self.trouble = OSError(0, "an answer that is no JSON")
                break
            if isinstance(value, dict):
                found.append(value)
        return found

    def close(self) -> None:
        """Hang up."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None
