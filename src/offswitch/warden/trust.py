"""Nothing of ours is loaded from where anyone but its owner can write (SR-1).

A root warden looks at its interpreter and what that loads by itself (`pyvenv.cfg`, `.pth`
files, every module that is in memory by now), at its code, its state and its configuration,
and at every folder above them; if somebody else could change one of them, it names the path
and refuses to start. Without root the same look only says *degraded*: there the target has
the same user anyway. What the recorder's own user writes (ledger, pin) and what targets
write (logs) is no state that decides anything.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable

import offswitch

__all__ = ["loaded", "ours", "state", "writable_by_others"]

_NOT_OURS = frozenset(
    {"evidence", "ledger", "logs", "pin", "readings", "run", "station", "stopped", "watch"}
)
"""Folders of the state that other users of ours write, or that decide nothing."""


def ours() -> list[str]:
    """List what a warden runs on: interpreter, standard library, our code."""
    package = os.path.dirname(os.path.abspath(offswitch.__file__))
    paths = [os.path.realpath(sys.executable), sys.executable, os.path.dirname(os.__file__)]
    for folder, _folders, files in os.walk(package):
        paths.append(folder)
        paths.extend(os.path.join(folder, name) for name in files if not name.endswith(".pyc"))
    return paths


def loaded() -> list[str]:
    """List what can become code of a process of ours: `ours`, and what Python itself loads."""
    paths = ours()
    package = os.path.dirname(os.path.abspath(offswitch.__file__))
    for folder, _folders, files in os.walk(package):
        paths.extend(os.path.join(folder, name) for name in files if name.endswith(".pyc"))
    paths.append(os.path.join(sys.prefix, "pyvenv.cfg"))
    for folder in filter(os.path.isdir, sys.path):
        paths.append(folder)
        if os.path.basename(folder) in {"site-packages", "dist-packages"}:
            paths.extend(os.path.join(folder, name) for name in os.listdir(folder))
    for module in list(sys.modules.values()):
        for source in (getattr(module, "__file__", None), getattr(module, "__cached__", None)):
            if isinstance(source, str):
                paths.append(source)
    return paths + [os.path.realpath(path) for path in paths]


def state(home: str) -> list[str]:
    """List the files below `home` by which we decide anything."""
    paths = [home]
    for folder, folders, files in os.walk(home):
        if folder == home:
            folders[:] = [name for name in folders if name not in _NOT_OURS]
        paths.extend(os.path.join(folder, name) for name in (*folders, *files))
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
