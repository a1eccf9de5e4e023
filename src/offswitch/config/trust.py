"""Who else could have written a file (SR-1): nothing of ours is loaded from where a target can.

A file is its owner's alone if it and every folder above it belong to root or to us, and
nobody else may write any of them. A folder with the sticky bit (`/tmp`) counts as safe
above a file of ours: others can add to it, but not take away or replace what is ours.
Access lists show up here as group rights, since the group bits are then their mask.
"""

from __future__ import annotations

import os
import stat

__all__ = ["others_could_write"]

_MOST = 1000
"""Folders and links looked at, however they are knotted together."""


def others_could_write(path: str, uid: int) -> list[str]:
    """List why somebody else than root and `uid` could change what `path` holds; empty: nobody.

    Every link on the way is followed, and both sides of it are looked at. What does not
    exist is not looked at. Raises OSError where something may not even be looked at.
    """
    reasons: list[str] = []
    seen: set[str] = set()
    _look(os.path.abspath(path), uid, reasons, seen)
    return reasons


def _look(path: str, uid: int, reasons: list[str], seen: set[str]) -> None:
    """Look at `path` and everything above it."""
    if path in seen or len(seen) > _MOST:
        return
    seen.add(path)
    parent = os.path.dirname(path)
    if parent != path:
        _look(parent, uid, reasons, seen)
    try:
        facts = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return
    if stat.S_ISLNK(facts.st_mode):
        if facts.st_uid not in {0, uid}:
            reasons.append(f"{path} is a link of user {facts.st_uid}")
        target = os.path.join(parent, os.readlink(path))
        _look(os.path.normpath(target), uid, reasons, seen)
        return
    if facts.st_uid not in {0, uid}:
        reasons.append(f"{path} belongs to user {facts.st_uid}")
    sticky_folder = stat.S_ISDIR(facts.st_mode) and facts.st_mode & stat.S_ISVTX
    if sticky_folder and facts.st_uid == 0:
        return
    if facts.st_mode & stat.S_IWOTH:
        reasons.append(f"{path} can be written by anyone")
    elif facts.st_mode & stat.S_IWGRP:
        reasons.append(f"{path} can be written by group {facts.st_gid}")
