"""By what a target reports its steps: one bounded pipe a cell, whose write end it is born with.

It is a named pipe in a folder that is closed to every cell, root's and 0600: the target holds a
descriptor that can be written and not read, and can open no other (SR-6). We hold the reading
end, so that the pipe outlives every watch, and never read from it: what is in there is read by an
eye, a little at each look. A target that writes faster than that fills its own pipe, whose
writers never wait, and costs us nothing. A warden that comes after us opens it anew by its name.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Collection
from contextlib import suppress

from offswitch.control.place import Place

__all__ = ["Reports", "write_end"]

_ROOM = 1 << 16


class Reports:
    """The pipes of one installation."""

    __slots__ = ("_fds", "_folder")

    def __init__(self, place: Place) -> None:
        """Hold none yet."""
        self._folder = place.reports
        self._fds: dict[str, int] = {}

    def make(self, cell: str) -> str:
        """Make the pipe of `cell` and hold it; give its path, or nothing where there is no room."""
        path = f"{self._folder}/{cell}"
        try:
            os.mkfifo(path, 0o600)
        except OSError:
            return ""  # its guard cannot report, and works all the same
        self._hold(cell)
        return path if cell in self._fds else ""

    def _hold(self, cell: str) -> None:
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW
        with suppress(OSError):
            self._fds[cell] = fd = os.open(f"{self._folder}/{cell}", flags)
            fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, _ROOM)

    def drop(self, cell: str) -> None:
        """Let go of it, and take its name away."""
        fd = self._fds.pop(cell, None)
        if fd is not None:
            os.close(fd)
        with suppress(OSError):
            os.unlink(f"{self._folder}/{cell}")

    def keep(self, cells: Collection[str]) -> None:
        """Hold what an earlier warden left of `cells`, and take away what is of none of them."""
        with suppress(OSError):
            for name in os.listdir(self._folder):
                if name in cells:
                    self._hold(name)
                else:
                    self.drop(name)


def write_end(path: str) -> int:
    """Open the end that a target gets: it can be written, never read, and never makes it wait."""
    return os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
