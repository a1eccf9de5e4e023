"""Which adopted units may start: a file for each that may, which systemd looks for (SR-16).

`$OFFSWITCH_RUN/may-start/NAME`, on tmpfs, is there while a warden serves and the target is not
stopped. The unit's drop-in has it as `ConditionPathExists=`, so systemd itself asks, each
time, and no process of anybody's runs for it. After a reboot none is there until the warden
has read the latch. Which way it fails: whatever goes wrong, there is no file, and what has
none does not start.
"""

from __future__ import annotations

import os
from contextlib import suppress

from offswitch.control.place import Place

__all__ = ["path_of", "say"]


def path_of(place: Place, target: str) -> str:
    """Give the path of a target's file."""
    return f"{place.memory}/may-start/{target.replace('/', '%2F')}"


def say(place: Place, target: str, *, allowed: bool) -> None:
    """Let it start, or not; what cannot be written is a no. Tmpfs: waits for no disk."""
    path = path_of(place, target)
    with suppress(OSError):
        if not allowed:
            os.unlink(path)
            return
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644))
