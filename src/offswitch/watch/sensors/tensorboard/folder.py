"""Which event file of a folder is the run's present one.

A run's files lie in its folder (`events.out.tfevents.TIME.HOST…`); a trainer that makes a new
folder for each run (`runs/DATE_HOST/`) is given the folder of those. The present file is the one
that was written last, and where there are none in the folder itself, that of the folders just
below it. Links are never followed, and a folder of more than 10,000 names is read no further.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from itertools import islice

__all__ = ["open_event_file", "present_file"]

_MARK = ".tfevents."
_MOST_NAMES = 10_000
_MOST_FOLDERS = 1_000


def present_file(folder: str) -> str | None:
    """Give the path of the file that was written last; None where there is none. OSError."""
    files, folders = _listed(folder)
    if not files:
        for below in folders:
            try:
                files += _listed(below)[0]
            except OSError:
                continue  # it was removed meanwhile, or is closed: another is the run's
    return max(files, default=(0, None))[1]


def _listed(folder: str) -> tuple[list[tuple[int, str]], list[str]]:
    files: list[tuple[int, str]] = []
    folders: list[str] = []
    with os.scandir(folder) as entries:
        for entry in _bounded(entries):
            try:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif _MARK in entry.name and entry.is_file(follow_symlinks=False):
                    files.append((entry.stat(follow_symlinks=False).st_mtime_ns, entry.path))
            except OSError:
                continue
    return files, folders[:_MOST_FOLDERS]


def _bounded(entries: Iterator[os.DirEntry[str]]) -> Iterator[os.DirEntry[str]]:
    return islice(entries, _MOST_NAMES)


def open_event_file(path: str) -> int:
    """Open it to be read; OSError for what is no regular file, links included."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(0, "it is not a regular file")
    return fd
