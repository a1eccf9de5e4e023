"""The latch's own file in `home`, and the thread that alone touches that disk (SR-16).

The loop hands over bytes and returns; the thread writes them, syncs, and then says which
orders are durable. If the disk hangs, the thread hangs and nobody else. If it fails, the
thread keeps what it was given, says so in `problem` and tries again.

An append goes into room that was allocated before, so a full disk takes nothing away. When
the room is used up, or an append failed, the whole file is written anew beside the old one,
synced, renamed over it, and its folder synced: at every instruction there is one good file.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress

from offswitch.model.wire import Canonical
from offswitch.warden.latch.records import BLOCK, HEAD, line
from offswitch.warden.loop import as_urgent_as_the_loop

__all__ = ["LatchDisk"]

_ROOM = 4 * BLOCK
_FIRST_PAUSE_S = 0.2
_LAST_PAUSE_S = 1.0
_SLOW_S = 2.0


class LatchDisk:
    """One file, one thread. Everything but `close` returns at once."""

    def __init__(self, path: str) -> None:
        """Serve the file at `path`; `rewrite` comes first."""
        self._path = path
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._given = threading.Condition()
        """Protects the three below; never held while anything waits for a disk."""
        self._whole: bytes | None = None
        self._more = b""
        self._digests: list[str] = []
        self._end = 0
        self._number = 0
        self._room = 0
        self._durable: set[str] = set()
        self._problem: str | None = None
        self._busy_since: float | None = None
        self._ending = False
        self._thread: threading.Thread | None = None

    # --- the loop's side ------------------------------------------------------------

    def begin(self, durable: Iterable[str]) -> None:
        """Say what the file holds already."""
        self._durable.update(durable)

    def append(self, bodies: Sequence[Canonical], digests: Sequence[str]) -> bool:
        """Hand over lines to append; False if the room is used up: then `rewrite`."""
        lines = b"".join(line(self._number + i, body) for i, body in enumerate(bodies, 1))
        if self._end + len(lines) >= self._room:
            return False
        self._end += len(lines)
        self._number += len(bodies)
        self._hand(None, lines, digests)
        return True

    def rewrite(self, bodies: Sequence[Canonical], digests: Sequence[str] = ()) -> None:
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
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="latch-disk", daemon=True)
            self._thread.start()

    def durable(self, digest: str) -> bool:
        """Tell whether the order of that digest is in the file, synced."""
        return digest in self._durable

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

    def _serve(self) -> None:
        as_urgent_as_the_loop()
        content = b""
        fd = -1
        pause = _FIRST_PAUSE_S
        again = False
        while True:
            with self._given:
                while not (self._whole is not None or self._more or again or self._ending):
                    self._given.wait()
                whole, more = self._whole, self._more
                digests, self._digests = self._digests, []
                self._whole, self._more = None, b""
            if whole is None and not more and not again:
                break
            anew = whole is not None or again
            content = (whole if whole is not None else content) + more
            self._busy_since = time.monotonic()
            try:
                if anew:
                    fd = self._replace(content, fd)
                else:
                    _write(fd, more, len(content) - len(more))
                    os.fdatasync(fd)
            except OSError as error:
                self._problem = f"{self._path}: {error.strerror}"
                self._busy_since = None
                with self._given:
                    self._digests = digests + self._digests
                    if self._ending:
                        break
                    self._given.wait(pause)
                again, pause = True, min(pause * 2, _LAST_PAUSE_S)
                continue
            again, pause = False, _FIRST_PAUSE_S
            self._busy_since, self._problem = None, None
            self._durable.update(digests)
            os.eventfd_write(self._event, 1)
        if fd >= 0:
            os.close(fd)

    def _replace(self, content: bytes, old: int) -> int:
        """Put a new file with `content` in the old one's place; give its descriptor."""
        temporary = f"{self._path}.new"
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(temporary, flags, 0o600)
        try:
            os.posix_fallocate(fd, 0, _room_for(len(content)))
            _write(fd, content, 0)
            os.fsync(fd)
            os.rename(temporary, self._path)
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
        return fd


def _room_for(used: int) -> int:
    """Give a file's size: twice what is used, and whole blocks."""
    return max(_ROOM, -(-2 * used // BLOCK) * BLOCK)


def _write(fd: int, data: bytes, offset: int) -> None:
    """Write all of `data`; a full disk gives a short write first, and an error then."""
    view = memoryview(data)
    while view:
        done = os.pwrite(fd, view, offset)
        view, offset = view[done:], offset + done
