"""Nothing of ours is loaded from where anyone but its owner can write (SR-1).

A root warden looks at its interpreter, its code, its state and its configuration, and at
every folder above them; if somebody else could change one of them, it names the path and
refuses to start. Without root the same look only says *degraded*: there the target has
the same user anyway.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable

import offswitch

__all__ = ["ours", "writable_by_others"]


def ours() -> list[str]:
    """List what a warden runs on: interpreter, standard library, our code."""
    package = os.path.dirname(os.path.abspath(offswitch.__file__))
    paths = [os.path.realpath(sys.executable), sys.executable, os.path.dirname(os.__file__)]
    for folder, _folders, files in os.walk(package):
        paths.append(folder)
        paths.extend(os.path.join(folder, name) for name in files if not name.endswith(".pyc"))
    return paths


def _why(path: str, info: os.stat_result, owners: frozenset[int]) -> str | None:
    if info.st_uid not in owners:
        return f"{path} belongs to user {info.st_uid}"
    if stat.S_ISLNK(info.st_mode):
        return None
    sticky_folder = stat.S_ISDIR(info.st_mode) and info.st_mode & stat.S_ISVTX
    if info.st_mode & stat.S_IWOTH and not sticky_folder:
        return f"{path} is writable by everyone"
    if info.st_mode & stat.S_IWGRP and info.st_gid != 0 and not sticky_folder:
        return f"{path} is writable by group {info.st_gid}"
    return None


def writable_by_others(paths: Iterable[str], owner: int) -> list[str]:
    """Say for each of `paths`, and each folder above it, who but `owner` and root could change it.

    Missing files are no finding: what is not there is not loaded.
    """
    owners = frozenset({0, owner})
    seen: set[str] = set()
    findings = []
    for path in paths:
        step = os.path.abspath(path)
        while step not in seen:
            seen.add(step)
            try:
                why = _why(step, os.lstat(step), owners)
            except FileNotFoundError:
                why = None
            except OSError as error:
                why = f"{step} cannot be looked at: {error.strerror}"
            if why:
                findings.append(why)
            step = os.path.dirname(step)
    return findings
