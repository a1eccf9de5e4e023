r"""Orders kept in a preallocated file, one line each: what a latch survives on.

    offswitch orders 1\\n
    CRC32 NUMBER CANONICAL-JSON\\n          the CRC covers number and JSON
    \\0\\0\\0…                                preallocated: a full disk takes nothing away

Numbers go up by one, so a line that was cut out or swapped is found. Reading never stops
at the first bad line: whatever can be read counts, and *that* something could not is said,
with its line. A file whose size is not a whole number of blocks was truncated.

`Preallocated` is the writer for tmpfs: it maps the file and stores a line's first byte
last, so that a `kill -9` between any two instructions leaves a line there or not there,
never half of one.
"""

from __future__ import annotations

import errno
import mmap
import os
import stat
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

from offswitch.errors import OffswitchError
from offswitch.model.wire import Canonical, canonical, parse

__all__ = ["BLOCK", "HEAD", "NO_ROOM", "Preallocated", "Read", "line", "read", "read_file"]

NO_ROOM = "it cannot be read: no descriptor is left"
"""What ends by itself: whoever can wait reads again."""

HEAD = b"offswitch orders 1\n"
BLOCK = 1 << 16
"""Sizes are whole multiples of this."""


@dataclass(frozen=True, slots=True)
class Read:
    """What a file held."""

    bodies: list[Canonical]
    """The bodies of all good lines, in their order."""
    damage: str | None
    """What was wrong and in which line; None: nothing."""
    torn: bytes = b""
    """A last line without its beginning or its end: an append that was cut off."""
    end: int = 0
    """Where the next line goes."""
    number: int = 0
    """The number of the last good line."""


def line(number: int, body: Canonical | bytes) -> bytes:
    """Give the line of `body`; bytes are its canonical spelling already."""
    text = b"%d %s" % (number, body if isinstance(body, bytes) else canonical(body))
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _body(text: bytes) -> tuple[int, Canonical]:
    """Take a line apart (without its newline); ValueError or Corrupt if it is not whole."""
    crc, _, rest = text.partition(b" ")
    if crc != b"%08x" % zlib.crc32(rest):
        raise ValueError("its checksum is wrong")
    number, _, body = rest.partition(b" ")
    return int(number), parse(body)


def read(data: bytes) -> Read:
    """Read a whole file's bytes."""
    if len(data) % BLOCK or not data:
        damage: str | None = f"it was truncated to {len(data)} bytes"
    else:
        damage = None
    if not data.startswith(HEAD):
        damage = damage or "line 1 is not its head"
    used = data.rstrip(b"\0")
    *lines, rest = used.split(b"\n")
    bodies: list[Canonical] = []
    last = 0
    if lines and lines[-1].startswith(b"\0"):
        rest = lines.pop() + b"\n" + rest  # its first byte was never stored: it was not kept
    for place, text in enumerate(lines, 1):
        if place == 1:
            continue
        try:
            number, body = _body(text)
        except (ValueError, OffswitchError) as error:
            damage = damage or f"line {place}: {error}"
            continue
        if last and number != last + 1:
            damage = damage or f"line {place}: number {number} after {last}"
        last = number
        bodies.append(body)
    return Read(bodies, damage, rest, len(used) - len(rest), last)


def read_file(path: str) -> Read | None:
    """Read the file at `path`; None if there is none. What cannot be read is damage."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        return _unread("opened", error)
    info = os.fstat(fd)
    if not stat.S_ISREG(info.st_mode) or info.st_uid not in {0, os.geteuid()}:
        os.close(fd)
        return Read([], "it is no file of ours")
    with os.fdopen(fd, "rb") as file:
        try:
            return read(file.read())
        except OSError as error:
            return _unread("read", error)


def _unread(done: str, error: OSError) -> Read:
    """Say why nothing was read; want of a descriptor was seen at the reading, too."""
    if error.errno in {errno.EMFILE, errno.ENFILE}:
        return Read([], NO_ROOM)
    return Read([], f"it cannot be {done}: {error.strerror}")


class Preallocated:
    """A file of lines on tmpfs, to append to. Nothing here blocks."""

    __slots__ = ("_end", "_map", "_number", "path")

    def __init__(self, path: str, size: int, bodies: Iterable[Canonical | bytes] = ()) -> None:
        """Make the file anew with `bodies` in it, in the place of any that was there.

        It appears under its name only when it is whole. Raises OSError if there is no room.
        """
        self.path = path
        temporary = f"{path}.new"
        try:
            os.unlink(temporary)
        except FileNotFoundError:
            pass
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(temporary, flags, 0o600)
        try:
            os.posix_fallocate(fd, 0, size)
            self._map = mmap.mmap(fd, size)
            self._map[: len(HEAD)] = HEAD
            self._end, self._number = len(HEAD), 0
            for body in bodies:
                self._must_append(body)
            os.rename(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
        finally:
            os.close(fd)

    def append(self, body: Canonical | bytes) -> bool:
        """Append a line; False if there is no room for it."""
        data = line(self._number + 1, body)
        start, end = self._end, self._end + len(data)
        if end >= len(self._map):
            return False
        self._map[start + 1 : end] = data[1:]
        self._map[start : start + 1] = data[:1]  # from here on it is there
        self._end, self._number = end, self._number + 1
        return True

    def _must_append(self, body: Canonical | bytes) -> None:
        if not self.append(body):
            raise OSError(errno.ENOSPC, "no room left in it", self.path)

    @property
    def left(self) -> int:
        """How many bytes are free."""
        return len(self._map) - self._end

    @property
    def size(self) -> int:
        """How large it is, in bytes."""
        return len(self._map)

    def close(self) -> None:
        """Let go of the mapping; the file stays."""
        self._map.close()
