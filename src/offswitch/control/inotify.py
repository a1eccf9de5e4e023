"""inotify(7) through ctypes: hear of a write instead of asking for it.

One instance, a few watches. Events say only *something about this name happened*; what
happened is then looked up. An overflow of the queue is an event like any other. Where the
kernel has no instance or watch left (`fs.inotify.max_user_*`), adding fails with OSError
and the caller polls.
"""

from __future__ import annotations

import ctypes
import os
import struct
from dataclasses import dataclass
from typing import Self

__all__ = ["ATTRIB", "CREATED", "DELETED", "MODIFIED", "MOVED", "Event", "Inotify"]

MODIFIED = 0x2
ATTRIB = 0x4
MOVED = 0xC0
CREATED = 0x100
DELETED = 0x200
_OVERFLOW = 0x4000
_ONLY_DIRECTORY = 0x0100_0000
_DONT_FOLLOW = 0x0200_0000
_NONBLOCK = 0o4000
_CLOEXEC = 0o2000000
_HEAD = struct.Struct("iIII")


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened to what a watch is on."""

    watch: int
    """The number that `add` gave; -1: events were lost, so anything may have happened."""
    mask: int
    name: bytes
    """The entry's name where the watch is on a folder; hostile."""
    cookie: int = 0
    """Joins the two halves of a rename."""


class Inotify:
    """One inotify instance."""

    __slots__ = ("_fd", "_libc")

    def __init__(self) -> None:
        """Open an instance; raises OSError when the kernel has none left."""
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.inotify_init1(_NONBLOCK | _CLOEXEC)
        if self._fd < 0:
            self._raise()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        """Give the descriptor that becomes readable."""
        fd: int = self._fd
        return fd

    def add_file(self, path: str, mask: int = MODIFIED) -> int:
        """Watch a file (never through a link); gives the watch's number."""
        return self._add(path, mask | _DONT_FOLLOW)

    def add_folder(self, path: str, mask: int) -> int:
        """Watch the entries of a folder; gives the watch's number."""
        return self._add(path, mask | _ONLY_DIRECTORY)

    def _add(self, path: str, mask: int) -> int:
        number: int = self._libc.inotify_add_watch(self._fd, os.fsencode(path), mask)
        if number < 0:
            self._raise()
        return number

    def remove(self, watch: int) -> None:
        """Take a watch off; one that the kernel took off already is fine."""
        self._libc.inotify_rm_watch(self._fd, watch)

    def read(self) -> list[Event]:
        """Give what happened since the last call; never blocks, at most 64 KiB of events."""
        try:
            data = os.read(self._fd, 65536)
        except BlockingIOError:
            return []
        events = []
        at = 0
        while at < len(data):
            watch, mask, cookie, size = _HEAD.unpack_from(data, at)
            at += _HEAD.size
            name = data[at : at + size].rstrip(b"\0")
            at += size
            events.append(Event(-1 if mask & _OVERFLOW else watch, mask, name, cookie))
        return events

    def close(self) -> None:
        """Close the instance and all its watches; may be called twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    @staticmethod
    def _raise() -> None:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
