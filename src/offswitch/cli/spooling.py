"""Leaving a stop in the spool: a file whose name is the scope (SR-11, ACT-12).

It is done beside the two sockets and not after them, so it must not block: where the run
folder lies on a disk, which may be frozen, a child of its own makes the file and nobody
waits for it. The folder is only used if it is a real one with the spool's mode: as root we
may be in another user's installation, and a link there could lead anywhere.

When the warden took the order over its socket, the file is taken away again, so that it
cannot latch anew after a reset; the warden does the same from its side.
"""

from __future__ import annotations

import os

__all__ = ["leave", "take_back"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from offswitch.control.place import Place

_MODE = 0o1730
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def leave(place: Place, scopes: list[str]) -> dict[str, int] | None:
    """Leave each scope's name; give the inodes of what we made ourselves, None: impossible.

    On a disk the child's files are not known to us: the warden takes them away.
    """
    if place.memory == place.run:
        return _touch(place.spool, scopes)
    if not os.access(place.spool, os.W_OK):
        return None
    if os.fork() == 0:
        try:
            os.closerange(0, 64)  # nobody who reads our output waits for this child
            _touch(place.spool, scopes)
        finally:
            os._exit(0)
    return {}


def _touch(folder: str, scopes: list[str]) -> dict[str, int] | None:
    try:
        fd = os.open(folder, os.O_PATH | _FOLDER)
    except OSError:
        return None
    made: dict[str, int] = {}
    left = False
    try:
        if os.fstat(fd).st_mode & 0o7777 != _MODE:
            return None
        for scope in scopes:
            name = "all" if scope == "/" else scope.replace("/", "%2F")
            try:
                new = os.open(name, _NEW, 0o600, dir_fd=fd)
            except FileExistsError:
                left = True
                continue
            except OSError:
                continue
            left = True
            made[name] = os.fstat(new).st_ino
            os.close(new)
    finally:
        os.close(fd)
    return made if left else None


def take_back(place: Place, made: dict[str, int]) -> None:
    """Take away what we left, if it is still there and ours."""
    for name, inode in made.items():
        path = f"{place.spool}/{name}"
        try:
            if os.lstat(path).st_ino == inode:
                os.unlink(path)
        except OSError:
            continue  # the warden was faster
