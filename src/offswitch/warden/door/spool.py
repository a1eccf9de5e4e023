"""The spool: a folder in which a file's *name* is a stop (SR-11, ACT-12).

    touch $OFFSWITCH_RUN/stop/shop%2Feu      stops shop/eu
    touch $OFFSWITCH_RUN/stop/all            stops everything

It needs no client and no answer, so it works from a shell, a script or another host's
shared mount. The folder is its owner's, mode 1730: the group may add names and can neither
list nor remove them. Nothing in it is ever opened or followed: a link, a FIFO, a folder or
a socket is its name and its owner, like a file. A name that is no scope stops nothing and
is reported; a pass takes a bounded number of names and the next one goes on from there, so
a million of them hold nobody up and hide nothing.

What cannot be removed (a folder with something in it) is renamed to a name that cannot be
a scope, so that it is obeyed once.
"""

from __future__ import annotations

import ctypes
import os
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from offswitch.control.place import Place
from offswitch.errors import Refused, Storage
from offswitch.model.level import Level
from offswitch.model.order import Stop
from offswitch.model.scope import parse_scope

__all__ = ["Scan", "Spooled", "consume", "prepare"]

_MODE = 0o1730
_A_PASS = 256
_AGAIN_NS = 100_000_000
"""When the folder is opened again that could not be."""
_TAKEN = "~taken-"
"""No scope contains a tilde."""
_IN_CREATE = 0x100
_IN_MOVED_TO = 0x80
_IN_DELETE = 0x200
_IN_FLAGS = os.O_CLOEXEC | os.O_NONBLOCK


@dataclass(frozen=True, slots=True)
class Spooled:
    """One name in the spool."""

    path: str
    """Where it lies."""
    scope_text: str | None
    """What it stops, as it was typed; None: not even text."""
    by: str
    """Its owner, as the kernel says: `uid:N`."""
    nonce: str
    """What names this very file."""
    time_us: int
    """When it came, UTC in microseconds."""

    def stop(self, installation: str) -> Stop:
        """Give the stop that it means; raises `Usage` if its name is no scope."""
        scope, level = parse_scope(self.scope_text or ""), Level.KILL
        return Stop(installation, scope, level, self.by, "spool", self.nonce, self.time_us)


def prepare(place: Place, gid: int) -> None:
    """Make the folder, or see that it is ours; the group `gid` may add names."""
    path = place.spool
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass
    except OSError as error:
        raise Storage(f"{path}: {error.strerror}", "see that OFFSWITCH_RUN is writable") from None
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(path, flags)
    except OSError as error:
        raise Refused(f"{path} is no folder of ours: {error.strerror}", "remove it") from None
    try:
        if os.fstat(fd).st_uid != os.geteuid():
            raise Refused(f"{path} is there already and is not ours", "remove it")
        os.fchown(fd, -1, gid)
        os.fchmod(fd, _MODE)
    finally:
        os.close(fd)


def _watch(place: Place) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    fd = int(libc.inotify_init1(_IN_FLAGS))
    mask = _IN_CREATE | _IN_MOVED_TO | _IN_DELETE
    if fd < 0 or libc.inotify_add_watch(fd, os.fsencode(place.spool), mask) < 0:
        why = os.strerror(ctypes.get_errno())
        if fd >= 0:
            os.close(fd)
        raise Storage(
            f"{place.spool} cannot be watched: {why}",
            "raise fs.inotify.max_user_instances and max_user_watches",
        )
    return fd


class Scan:
    """Goes through the folder, a pass at a time, and anew whenever something came.

    It goes on where the last pass ended: were each to begin anew, what cannot be taken away, or
    is somebody else's to take away, would hide what lies behind it.
    """

    __slots__ = ("_came", "_entries", "_fd", "_path", "_pause_ns")

    def __init__(self, place: Place) -> None:
        """Watch the folder, and begin with it as it is."""
        self._fd = _watch(place)
        self._path = place.spool
        self._came = True
        self._pause_ns = 0
        self._entries: Iterator[os.DirEntry[str]] | None = None

    def fileno(self) -> int:
        """Readable when a name came or was taken away; then call `came`."""
        return self._fd

    def came(self) -> None:
        """Go through it anew, once that is not under way."""
        with suppress(BlockingIOError):
            os.read(self._fd, 65536)
        self._came = True

    def due_ns(self) -> int | None:
        """When the next pass is due, on CLOCK_MONOTONIC; None: all has been looked at."""
        if self._entries is None and not self._came:
            return None
        return time.monotonic_ns() + self._pause_ns

    def take(self) -> list[Spooled]:
        """List what the next names mean, a pass of them; never opens or follows anything."""
        if self._entries is None and not self._open():
            return []
        found: list[Spooled] = []
        entries = self._entries or iter(())
        try:
            for number, entry in enumerate(entries, 1):
                if entry.name.startswith(_TAKEN):
                    _remove(entry.path)
                else:
                    with suppress(OSError):  # taken away meanwhile
                        info = entry.stat(follow_symlinks=False)
                        found.append(_spooled(entry.path, entry.name, info))
                if number == _A_PASS:
                    return found
        except OSError:
            self._came, self._pause_ns = True, _AGAIN_NS
        self._entries = None
        return found

    def close(self) -> None:
        """Watch it no longer."""
        self._entries = None
        os.close(self._fd)

    def _open(self) -> bool:
        try:
            self._entries = os.scandir(self._path)
        except FileNotFoundError:
            self._came = False  # the folder is gone: other roads lead to the same stop
            return False
        except OSError:
            self._pause_ns = _AGAIN_NS  # no descriptor is left
            return False
        self._came, self._pause_ns = False, 0
        return True


def _spooled(path: str, name: str, info: os.stat_result) -> Spooled:
    text: str | None = name.replace("%2F", "/").replace("%2f", "/")
    try:
        name.encode()
    except UnicodeEncodeError:
        text = None
    return Spooled(
        path,
        text,
        f"uid:{info.st_uid}",
        f"spool-{info.st_ino}-{info.st_ctime_ns}",
        info.st_ctime_ns // 1000,
    )


def consume(spooled: Spooled) -> None:
    """Take a name away: it was obeyed, or reported. May be called twice."""
    if _remove(spooled.path):
        return
    folder = os.path.dirname(spooled.path)
    try:
        os.rename(spooled.path, f"{folder}/{_TAKEN}{os.urandom(8).hex()}")
    except OSError:
        return  # obeyed again at the next pass, which joins the same stop


def _remove(path: str) -> bool:
    try:
        if stat.S_ISDIR(os.lstat(path).st_mode):
            os.rmdir(path)
        else:
            os.unlink(path)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
