"""Open what a path names without following a link anywhere in it.

Who may write a folder above a file that we are told to read could put a link in its place and
have us, who may read everything, show them the file that it leads to. So each component is
opened by itself and none may be a link.
"""

from __future__ import annotations

import os

__all__ = ["FILE", "FOLDER", "open_unlinked"]

FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""To hold a folder, and open what is below it."""
FILE = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
"""To read a file; a FIFO does not block, and is told by `fstat`."""


def open_unlinked(folder: str, name: str, flags: int, below: int | None = None) -> int:
    """Open an entry of `folder`, or the folder itself for no name; the descriptor is the caller's.

    `folder` is an absolute path, or one below the descriptor `below`.
    """
    at = os.open("/", FOLDER) if below is None else os.dup(below)
    try:
        for part in folder.split("/"):
            if part:
                next_at = os.open(part, FOLDER, dir_fd=at)
                os.close(at)
                at = next_at
        return os.open(name, flags, dir_fd=at) if name else os.dup(at)
    finally:
        os.close(at)
