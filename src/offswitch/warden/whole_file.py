"""A file that is written as a whole or not at all: what the next warden reads is never half of it.

In a folder of ours alone; whoever calls it may have to wait for the disk.
"""

from __future__ import annotations

import os
from contextlib import suppress

__all__ = ["write_whole"]


def write_whole(
    path: str, body: bytes, mode: int = 0o600, gid: int = -1, *, durable: bool = False
) -> None:
    """Put a whole file in the place of an older one; OSError leaves the older one as it is.

    A `durable` one is on the disk when this returns, so that a power cut does not lose it.
    """
    fresh = f"{path}.new"
    with suppress(FileNotFoundError):
        os.unlink(fresh)
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        os.fchown(fd, -1, gid)
        left = memoryview(body)
        while left:  # a full disk gives a short write first, and an error then
            left = left[os.write(fd, left) :]
        if durable:
            os.fsync(fd)
    finally:
        os.close(fd)
    os.replace(fresh, path)
    if durable:
        _sync_folder(os.path.dirname(path))


def _sync_folder(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
