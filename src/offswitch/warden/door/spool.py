"""The spool: a folder in which a file's *name* is a stop (SR-11, ACT-12).

    touch $OFFSWITCH_RUN/stop/shop%2Feu      stops shop/eu
    touch $OFFSWITCH_RUN/stop/all            stops everything

It needs no client and no answer, so it works from a shell, a script or another host's
shared mount. The folder is its owner's, mode 1730: the group may add names and can neither
list nor remove them. Nothing in it is ever opened or followed: a link, a FIFO, a folder or
a socket is its name and its owner, like a file. A name that is no scope stops nothing and
is reported; a pass takes a bounded number of names, and taking one away wakes the next
pass, so a million of them hold nobody up.

What cannot be removed (a folder with something in it) is renamed to a name that cannot be
a scope, so that it is obeyed once.
"""

from __future__ import annotations

import ctypes
import os
import stat
from dataclasses import dataclass
from itertools import islice

from offswitch.control.place import Place
from offswitch.errors import Refused, Storage
from offswitch.model.level import Level
from offswitch.model.order import Stop
from offswitch.model.scope import parse_scope

__all__ = ["Spooled", "consume", "pending", "prepare", "watch"]

_MODE = 0o1730
_A_PASS = 256
_LOOKED_AT = 8192
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


def watch(place: Place) -> int:
    """Give a descriptor that is readable when a name came or one was taken away."""
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


def pending(place: Place) -> list[Spooled]:
    """List what lies in the spool now, at most a pass of it; never opens or follows anything."""
    found: list[Spooled] = []
    try:
        with os.scandir(place.spool) as entries:
            for entry in islice(entries, _LOOKED_AT):
                if entry.name.startswith(_TAKEN):
                    _remove(entry.path)
                    continue
                try:
                    info = entry.stat(follow_symlinks=False)
                except OSError:
                    continue
                found.append(_spooled(entry.path, entry.name, info))
                if len(found) == _A_PASS:
                    break
    except OSError:
        return found  # the folder is gone: other roads lead to the same stop
    return found


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
