"""Watch's loop gives away all rights before it watches (SR-4).

It becomes a user of its own in the group that may stop, without a capability. It holds the
folders of the installation by descriptors that were opened as root: they may lie below a
folder that is closed to its user. From then on it may write its evidence, what people have
lowered, and into the run folder (a name in the spool), run no program, and make Unix sockets only.
"""

from __future__ import annotations

import os
import socket
import sys

from offswitch.control.ids import user_of
from offswitch.control.landlock import confine_files
from offswitch.control.ownership import take_over
from offswitch.control.place import Place
from offswitch.control.seccomp import forbid
from offswitch.control.shed import shed

__all__ = ["settle"]

_OURS = ("evidence", "watch")
"""Folders of the state that watch writes: rows as they were, and what people have lowered."""


def settle(place: Place) -> tuple[Place, list[str]]:
    """Give rights away; return the place as it is reached from now on, and what was refused."""
    user = user_of("watch")
    said: list[str] = []
    groups: list[int] = []
    if user is not None:
        try:
            for folder in _OURS:
                take_over(f"{place.home}/{folder}", user, 0o700)
            groups = [os.stat(place.control).st_gid]
        except OSError as error:
            said.append(f"{error.filename}: {error.strerror}")
        if groups == [0]:
            groups = []  # root's own is no group that may stop
        place = Place(_held(place.home), _held(place.run))
    said += shed(user, groups=groups)
    if user is not None:
        code = [path for path in sys.path if os.path.isdir(path)]
        write = [*(f"{place.home}/{folder}" for folder in _OURS), place.run]
        said.append(confine_files(write=write, read=["/proc", "/dev", *code]))
    said.append(forbid(socket.AF_UNIX, signals=True))
    return place, [each for each in said if each]


def _held(folder: str) -> str:
    """Give a path to `folder` that no folder above it can close."""
    return f"/proc/self/fd/{os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)}"
