"""A peer that keeps to nothing: bytes on the control socket, and what comes back."""

from __future__ import annotations

import array
import contextlib
import json
import os
import socket
import struct
from collections.abc import Sequence
from typing import Any, Self

from installation import Installation


def frame(message: Any) -> bytes:  # noqa: ANN401
    """Give the frame of anything, lawful or not."""
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    return struct.pack(">I", len(body)) + body


class Raw:
    """One connection to a socket of an installation; the warden's unless another is named."""

    def __init__(self, installation: Installation, path: str = "", timeout_s: float = 10) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(timeout_s)
        self.sock.connect(path or installation.place.warden_socket)

    def send(self, data: bytes, fds: Sequence[int] = ()) -> Self:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        with contextlib.suppress(BrokenPipeError):  # hung up on half-way: the answer says why
            sent = self.sock.sendmsg([data], rights, socket.MSG_NOSIGNAL)
            self.sock.sendall(data[sent:])
        return self

    def say(self, message: Any, fds: Sequence[int] = ()) -> Self:  # noqa: ANN401
        return self.send(frame(message), fds)

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self.sock.recv(size - len(data))
            if not more:
                break
            data += more
        return data

    def answer(self) -> dict[str, Any] | None:
        """Give the next answer; None when the other side has hung up."""
        try:
            head = self._exactly(4)
            if len(head) < 4:
                return None
            return dict(json.loads(self._exactly(struct.unpack(">I", head)[0])))
        except ConnectionError:
            return None

    def end(self) -> Self:
        """Say no more; listen on."""
        self.sock.shutdown(socket.SHUT_WR)
        return self

    def close(self) -> None:
        self.sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def cpu_s(pid: int) -> float:
    """Give the CPU time that a process has used, in seconds."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def open_fds(pid: int) -> int:
    """Count a process's descriptors."""
    return len(os.listdir(f"/proc/{pid}/fd"))
