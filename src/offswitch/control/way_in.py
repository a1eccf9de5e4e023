"""Who may speak to a warden, for somebody who was just refused by its folder.

The folder of the sockets is its owner's, and its group may enter it: that group is the one
to be added to. Standard library only, and without imports: the emergency verbs use it.
"""

from __future__ import annotations

import os

__all__ = ["way_in"]

_OURS = range(1_899_999_988, 1_900_000_000)
"""The group of watch where no group of people may stop (`ids`): nobody can be added to it."""


def way_in(control: str) -> str:
    """Say what to do for whom the folder `control` is closed."""
    try:
        info = os.stat(control)
    except OSError:
        return "ask whoever runs it to add you to its group, or do it as root"
    if not info.st_mode & 0o010 or info.st_gid in _OURS:
        return f"no group may: do it as its owner (uid {info.st_uid}) or as root"
    try:
        import grp  # noqa: PLC0415 - only for who is refused

        group = grp.getgrgid(info.st_gid).gr_name
    except (ImportError, KeyError):
        group = str(info.st_gid)
    return f"ask an administrator to add you to the group {group}, or do it as root"
