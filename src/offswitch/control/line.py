"""A connection between processes of ours that never blocks: for loops that have other things to do.

Connected at once or not at all; what the socket does not take now is kept and written later;
an end or garbage kills it, and a new one takes its place.
"""

from __future__ import annotations

import socket
from typing import Any

from offswitch.control import frames
from offswitch.errors import OffswitchError

__all__ = ["Line"]

_CHUNK = 1 << 18

Message = dict[str, Any]


class Line:
    """One connection that never blocks. Dead after any error; a new one takes its place."""

    __slots__ = ("_decoder", "_out", "sock")

    def __init__(self, sock: socket.socket) -> None:
        """Hold a connected socket."""
        sock.setblocking(False)
        self.sock: socket.socket | None = sock
        self._decoder = frames.Decoder(frames.MAX_ANSWER)
        self._out = bytearray()

    @classmethod
    def to(cls, path: str) -> Line | None:
        """Connect at once or not at all: a listener that is frozen does not hold us up."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        sock.setblocking(False)
        try:
            sock.connect(path)
        except OSError:
            sock.close()
            return None
        return cls(sock)

    @property
    def alive(self) -> bool:
        """Whether anything can still be said or heard."""
        return self.sock is not None

    @property
    def writing(self) -> bool:
        """Whether something waits to be written."""
        return bool(self._out)

    def send(self, message: Message) -> bool:
        """Send, or keep what the socket does not take now; false if nothing of it will arrive."""
        if self.sock is None:
            return False
        try:
            self._out += frames.encode(message)
        except OffswitchError:
            return False
        return self.flush()

    def flush(self) -> bool:
        """Write what waits; false if the line is dead."""
        while self.sock is not None and self._out:
            try:
                sent = self.sock.send(self._out, socket.MSG_NOSIGNAL)
            except BlockingIOError:
                break
            except OSError:
                self.close()
                break
            del self._out[:sent]
        return self.sock is not None

    def receive(self) -> list[Message]:
        """Give what has come; an end or garbage closes the line."""
        if self.sock is None:
            return []
        try:
            data = self.sock.recv(_CHUNK)
            if data:
                return self._decoder.feed(data)
        except BlockingIOError:
            return []
        except (OSError, OffswitchError):
            pass
        self.close()
        return []

    def close(self) -> None:
        """Hang up."""
        if self.sock is not None:
            self.sock.close()
            self.sock = None
