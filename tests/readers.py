"""A slow reader at the other end of a target's connection."""

from __future__ import annotations

import socket


def drained(reader: socket.socket) -> tuple[int, str]:
    """Read until the connection ends, or nothing comes for two seconds."""
    received = 0
    reader.settimeout(2)
    while True:
        try:
            data = reader.recv(1 << 12)
        except ConnectionResetError:
            return received, "reset"
        except TimeoutError:
            return received, "silence"
        if not data:
            return received, "end"
        received += len(data)
