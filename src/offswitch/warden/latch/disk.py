"""The latch's own file in `home`, and the thread that alone touches that disk (SR-16).

The loop hands over bytes and returns; the thread writes them, syncs, and then says which
orders are durable. If the disk hangs, the thread hangs and nobody else. If it fails, the
thread keeps what it was given, says so in `problem` and tries again.

An append goes into room that was allocated before, so a full disk takes nothing away. When
the room is used up, or an append failed, the whole file is written anew beside the old one,
synced, put in its place, and its folder synced: at every instruction there is one good file.
A spare of its size is kept for that, and the two change places (renameat2(2)): what fits
there is written anew on a full disk, too. What does not is `full`, and fewer lines are wanted.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import stat
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress

from offswitch.warden.latch.records import BLOCK, HEAD, line
from offswitch.warden.loop import as_urgent_as_the_loop

__all__ = ["LatchDisk"]

_ROOM = 4 * BLOCK
_FIRST_PAUSE_S = 0.2
_LAST_PAUSE_S = 1.0
_SLOW_S = 2.0
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_AT_FDCWD = -100
_EXCHANGE = 2
_ZEROS = bytes(BLOCK)


class LatchDisk:
    """One file, one thread. Everything but `close` returns at once."""

    def __init__(self, path: str) -> None:
        """Serve the file at `path`; `rewrite` comes first."""
        self._path = path
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._given = threading.Condition()
        """Protects the three below, and whether the thread rests or serves. Never held while
        anything waits for a disk."""
        self._whole: bytes | None = None
        self._more = b""
        self._digests: list[str] = []
        self._end = 0
        self._number = 0
        self._room = 0
        self._durable: set[str] = set()
        self._problem: str | None = None
        self._full = False
        self._spare_size = 0
        self._busy_since: float | None = None
        self._ending = False
        self._resting = self._serving = False
        self._thread: threading.Thread | None = None

    # --- the loop's side ------------------------------------------------------------

    def begin(self, durable: Iterable[str]) -> None:
        """Say what the file holds already."""
        self._durable.update(durable)

    def append(self, bodies: Sequence[bytes], digests: Sequence[str]) -> bool:
        """Hand over lines to append; False if the room is used up: then `rewrite`."""
        lines = b"".join(line(self._number + i, body) for i, body in enumerate(bodies, 1))
        if self._end + len(lines) >= self._room:
            return False
        self._end += len(lines)
        self._number += len(bodies)
        self._hand(None, lines, digests)
        return True

    def rewrite(self, bodies: Sequence[bytes], digests: Sequence[str] = ()) -> None:
        """Hand over the whole latch, to be the file from now on; `digests` become durable by it."""
        whole = HEAD + b"".join(line(number, body) for number, body in enumerate(bodies, 1))
        self._end, self._number = len(whole), len(bodies)
        self._room = _room_for(len(whole))
        self._hand(whole, b"", digests)

    def _hand(self, whole: bytes | None, more: bytes, digests: Sequence[str]) -> None:
        with self._given:
            if whole is not None:
                self._whole, self._more = whole, b""
            self._more += more
            self._digests.extend(digests)
            self._given.notify()
            begin = not (self._serving or self._resting)
            self._serving = self._serving or begin
        if begin:
            self._thread = threading.Thread(target=self._serve, name="latch-disk", daemon=True)
            self._thread.start()

    def rest(self) -> bool:
        """Have the thread end after what it does just now, and say whether it has.

        What it is handed meanwhile waits, and is nowhere but on tmpfs: `rewrite` goes on.
        """
        with self._given:
            self._resting = True
            self._given.notify()
        return self._thread is None or not self._thread.is_alive()

    def go_on(self) -> None:
        """Rest no longer; a `rewrite` with the whole latch comes next, where the thread ended."""
        with self._given:
            self._resting = False

    def durable(self, digest: str) -> bool:
        """Tell whether the order of that digest is in the file, synced."""
        return digest in self._durable

    def forget(self, digests: Iterable[str]) -> None:
        """Answer for these no longer: they were merged, or cleared."""
        self._durable.difference_update(digests)

    def wait(self, patience_s: float) -> None:
        """Wait until something was written, at most so long: at a start, never at a stop."""
        select.select([self._event], [], [], patience_s)

    def fileno(self) -> int:
        """Give a descriptor that is readable when more became durable."""
        return self._event

    @property
    def problem(self) -> str | None:
        """What the disk said, or for how long it has said nothing."""
        if self._problem is not None:
            return self._problem
        since = self._busy_since
        if since is not None and time.monotonic() - since > _SLOW_S:
            return f"{self._path}: the disk has not answered for {time.monotonic() - since:.0f} s"
        return None

    @property
    def cramped(self) -> bool:
        """Whether there was no room for what was handed over, and less of it would fit."""
        return self._full and 0 < self._spare_size <= self._end

    def close(self, patience_s: float = 2.0) -> None:
        """End the thread after what it was handed, or leave it to a disk that hangs."""
        with self._given:
            self._ending = True
            self._given.notify()
        if self._thread is not None:
            self._thread.join(patience_s)
        if self._thread is None or not self._thread.is_alive():
            os.close(self._event)

    # --- the thread's side ----------------------------------------------------------

    @property
    def _wanted(self) -> bool:
        return self._whole is not None or bool(self._more)

    def _serve(self) -> None:
        as_urgent_as_the_loop()
        content = bytearray()
        fd, size = -1, 0
        pause = _FIRST_PAUSE_S
        again = False
        while True:
            with self._given:
                while not (self._wanted or again or self._ending or self._resting):
                    self._given.wait()
                if self._resting:
                    self._serving = False
                    break
                whole, more = self._whole, self._more
                digests, self._digests = self._digests, []
                self._whole, self._more = None, b""
            if whole is None and not more and not again:
                break
            if whole is not None:
                content = bytearray(whole)
            content += more
            anew = whole is not None or again or len(content) >= size
            self._busy_since = time.monotonic()
            try:
                if anew:
                    fd, size = self._replace(content, fd)
                else:
                    _write(fd, more, len(content) - len(more))
                    os.fdatasync(fd)
            except OSError as error:
                self._failed(error)
                with self._given:
                    self._digests = digests + self._digests
                    if self._ending or self._resting:
                        self._serving = False
                        break
                    if self._whole is None:
                        self._given.wait(pause)
                again, pause = True, min(pause * 2, _LAST_PAUSE_S)
                continue
            again, pause = False, _FIRST_PAUSE_S
            self._busy_since, self._problem, self._full = None, None, False
            self._durable.update(digests)
            os.eventfd_write(self._event, 1)
        if fd >= 0:
            os.close(fd)

    def _failed(self, error: OSError) -> None:
        self._problem = f"{self._path}: {error.strerror}"
        self._busy_since = None
        self._full = error.errno in _NO_ROOM
        if self._full:
            os.eventfd_write(self._event, 1)

    def _replace(self, content: bytes | bytearray, old: int) -> tuple[int, int]:
        """Put a file with `content` in the old one's place; give its descriptor and size."""
        room = _room_for(len(content))
        fd = self._spare(room)
        if fd < 0:
            try:
                fd = self._fresh(content, room)
            except OSError as error:
                fd = self._spare(len(content) + 1) if error.errno in _NO_ROOM else -1
                if fd < 0:
                    raise
            else:
                self._keep_spare(room)
                return self._settle(fd, old)
        try:
            size = os.fstat(fd).st_size
            _write(fd, content, 0)
            for at in range(len(content), size, BLOCK):
                _write(fd, _ZEROS[: min(BLOCK, size - at)], at)
            os.fsync(fd)
            self._spare_size = _exchange(f"{self._path}.spare", self._path)
        except BaseException:
            os.close(fd)
            raise
        return self._settle(fd, old)

    def _settle(self, fd: int, old: int) -> tuple[int, int]:
        """Sync the folder: from now on the file is this one."""
        try:
            folder = os.open(os.path.dirname(self._path), os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except BaseException:
            os.close(fd)
            raise
        if old >= 0:
            os.close(old)
        return fd, os.fstat(fd).st_size

    def _spare(self, least: int) -> int:
        """Open the spare file, if there is one of at least that size; -1: there is not."""
        flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            fd = os.open(f"{self._path}.spare", flags)
        except OSError:
            return -1
        info = os.fstat(fd)
        if not _is_ours(info) or info.st_size < least or info.st_size % BLOCK:
            os.close(fd)
            return -1
        return fd

    def _fresh(self, content: bytes | bytearray, room: int) -> int:
        """Make a new file of that room beside the old one, and rename it over it."""
        temporary = f"{self._path}.new"
        fd = _made(temporary, room)
        try:
            _write(fd, content, 0)
            os.fsync(fd)
            os.rename(temporary, self._path)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _keep_spare(self, room: int) -> None:
        """Have a spare of that size for the next time; without room for it there is none."""
        temporary = f"{self._path}.spare.new"
        try:
            os.close(_made(temporary, room))
            os.rename(temporary, f"{self._path}.spare")
            self._spare_size = room
        except OSError:
            with suppress(OSError):
                os.unlink(temporary)


def _is_ours(info: os.stat_result) -> bool:
    return stat.S_ISREG(info.st_mode) and info.st_uid == os.geteuid() and info.st_nlink == 1


def _made(path: str, room: int) -> int:
    """Make a file with `room` bytes allocated; give its descriptor."""
    with suppress(FileNotFoundError):
        os.unlink(path)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(path, flags, 0o600)
    try:
        os.posix_fallocate(fd, 0, room)
    except BaseException:
        os.close(fd)
        os.unlink(path)
        raise
    return fd


def _exchange(spare: str, path: str) -> int:
    """Let two files change places, and give the new spare's size.

    Where the file system cannot, one takes the other's place, and there is no spare: 0.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    one, other = os.fsencode(spare), os.fsencode(path)
    if libc.renameat2(_AT_FDCWD, one, _AT_FDCWD, other, _EXCHANGE) < 0:
        os.rename(spare, path)
        return 0
    return os.stat(spare, follow_symlinks=False).st_size


def _room_for(used: int) -> int:
    """Give a file's size: twice what is used, and whole blocks."""
    return max(_ROOM, -(-2 * used // BLOCK) * BLOCK)


def _write(fd: int, data: bytes | bytearray, offset: int) -> None:
    """Write all of `data`; a full disk gives a short write first, and an error then."""
    view = memoryview(data)
    while view:
        done = os.pwrite(fd, view, offset)
        view, offset = view[done:], offset + done
