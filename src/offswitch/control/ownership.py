"""A folder of the state that belongs to one of our own users, and not to root (SR-4).

What an installation of an earlier version left with root is handed over at the first start;
the folder comes last, so that half a hand-over is done again. Only plain files are taken, by
descriptor, never through a link, and of whoever owned the folder: they could have put anything
else there. A link in the place of the folder itself is followed,
since only root can put it there.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress

from offswitch.control.ids import OURS, User

__all__ = ["take_over"]


def take_over(folder: str, user: User, mode: int) -> None:
    """Make `folder` if there is none, and give it and the plain files in it to `user`."""
    with suppress(FileExistsError):
        os.mkdir(folder, mode)
        os.chmod(folder, mode)
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        before = os.fstat(fd).st_uid
        if before == user.uid:
            return
        if before not in {0, *OURS}:
            raise PermissionError(0, f"it belongs to user {before}")
        for name in os.listdir(fd):
            _hand_over(fd, name, before, user)
        os.fchown(fd, user.uid, user.gid)
    finally:
        os.close(fd)


def _hand_over(folder: int, name: str, before: int, user: User) -> None:
    """Give one plain file of `before`'s to `user`; anything else is left alone."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        if not stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            return
        fd = os.open(name, flags, dir_fd=folder)
    except OSError:
        return
    try:
        info = os.fstat(fd)
        if stat.S_ISREG(info.st_mode) and info.st_uid == before:
            os.fchown(fd, user.uid, user.gid)
    finally:
        os.close(fd)
