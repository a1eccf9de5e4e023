"""Single keys from a terminal, without waiting for a line to end."""

from __future__ import annotations

import os
import select
import termios
import tty
from typing import Any, Self

__all__ = ["Keys"]

_NAMES = {
    b"\x1b[A": "up",
    b"\x1bOA": "up",
    b"\x1b[B": "down",
    b"\x1bOB": "down",
    b"\x1b[5~": "page-up",
    b"\x1b[6~": "page-down",
    b"\x1b[H": "home",
    b"\x1b[F": "end",
    b"\x03": "quit",
    b"\x04": "quit",
}


class Keys:
    """Reads keys while it is entered; the terminal's mode is put back at the end."""

    def __init__(self, fd: int = 0) -> None:
        """Read from the terminal at `fd`."""
        self._fd = fd
        self._mode: list[Any] = []

    def __enter__(self) -> Self:
        """Take keys one by one, unseen."""
        self._mode = termios.tcgetattr(self._fd)
        tty.setcbreak(self._fd, termios.TCSANOW)
        return self

    def __exit__(self, *_: object) -> None:
        """Put the mode back."""
        termios.tcsetattr(self._fd, termios.TCSANOW, self._mode)

    def read(self, patience_s: float) -> list[str]:
        """Give the keys that came within that time, by name or as the character that they are."""
        if not select.select([self._fd], [], [], patience_s)[0]:
            return []
        data = os.read(self._fd, 256)
        if not data:
            return ["quit"]
        keys = []
        while data:
            name = next((known for known in _NAMES if data.startswith(known)), None)
            if name is not None:
                keys.append(_NAMES[name])
                data = data[len(name) :]
            elif data.startswith(b"\x1b"):
                break  # an unknown sequence: all of it is one key that we do not know
            else:
                keys.append(data[:1].decode("latin-1"))
                data = data[1:]
        return keys
