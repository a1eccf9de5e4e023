"""Reading a small file that may be anybody's: bounded, never waiting, through no link."""

from __future__ import annotations

import os
import stat

__all__ = ["bounded", "facts_of", "kernels"]

_MOST_OF_OURS = 4 << 20
_MOST_OF_THEIRS = 64 << 10


def kernels(path: str) -> str:
    """Read a file of /proc; raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, _MOST_OF_THEIRS).decode("ascii", "replace")
    finally:
        os.close(fd)


def bounded(path: str, most: int = _MOST_OF_THEIRS) -> bytes:
    """Read a regular file; raises OSError for anything else."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(0, "no regular file")
        return os.read(fd, min(most, _MOST_OF_OURS))
    finally:
        os.close(fd)


def facts_of(path: str) -> os.stat_result | None:
    """Give what the kernel says of a name, through no link; None where there is none."""
    try:
        return os.stat(path, follow_symlinks=False)
    except OSError:
        return None
