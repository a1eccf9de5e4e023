"""What the supervisor is told, where there is one: we serve, we are being renewed, the loop turns.

The protocol is systemd's `sd_notify(3)`: a datagram to the socket that NOTIFY_SOCKET names.
It is told from the loop that serves orders and renews the lease, so a warden that hangs is
ended and replaced (`WatchdogSec=` in the unit). Nothing here waits, and nobody is needed:
what cannot be told is not.
"""

from __future__ import annotations

import os
import socket
import time

__all__ = ["Supervisor"]


class Supervisor:
    """Whoever started us and starts us again. Telling never blocks and never fails."""

    __slots__ = ("_address", "_sock")

    def __init__(self) -> None:
        """Find who is to be told, by our environment; nobody, if it names none."""
        named = os.environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + named[1:] if named.startswith("@") else named
        self._sock: socket.socket | None = None
        if self._address:
            kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
            self._sock = socket.socket(socket.AF_UNIX, kind)

    def ready(self) -> None:
        """We serve: what waits for us may start."""
        self._tell("READY=1\nSTATUS=serves")

    def reloading(self) -> None:
        """We are about to be renewed; `ready` comes from the new code, or when it was refused."""
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def alive(self) -> None:
        """The loop turns."""
        self._tell("WATCHDOG=1")

    def ending(self) -> None:
        """We end because we were told to."""
        self._tell("STOPPING=1")

    def _tell(self, text: str) -> None:
        if self._sock is None:
            return
        try:
            self._sock.sendto(text.encode(), self._address)
        except OSError:
            return  # it is being restarted itself, or so busy that its queue is full
