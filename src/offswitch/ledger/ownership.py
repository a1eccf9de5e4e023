"""The ledger belongs to a user of its own, and its recorder can touch nothing else (SR-4).

    root:  ledger/ and pin/ made, or taken over from root or from an earlier user of ours
    then:  that user, no capability, no other file, no program, no new socket

The signing key lies in `ledger/key`, 0600: the recorder's user reads it, and root.

Where the state lies below a folder that is closed to other users, the recorder keeps the right
to pass through (CAP_DAC_READ_SEARCH), and Landlock keeps it to its own files.
"""

from __future__ import annotations

import os
import sqlite3
import sys

from offswitch.control.ids import user_of
from offswitch.control.landlock import confine_files
from offswitch.control.ownership import take_over
from offswitch.control.seccomp import forbid
from offswitch.control.shed import READ_SEARCH, closed_to_others, shed
from offswitch.ledger.pin import Pin
from offswitch.ledger.store import LedgerPaths

__all__ = ["become_recorder"]


def become_recorder(home: str) -> list[str]:
    """Make the ledger's folders the recorder's, and become its user; list what was refused."""
    user = user_of("recorder")
    folders = LedgerPaths(home).folder, Pin(home).folder
    said: list[str] = []
    keep: list[int] = []
    if user is not None:
        for folder, mode in zip(folders, (0o700, 0o755), strict=True):
            try:
                take_over(folder, user, mode)
            except OSError as error:
                said.append(f"{folder} stays as it is: {error.strerror}")
        if closed_to_others(f"{home}/ledger"):
            keep = [READ_SEARCH]
    with sqlite3.connect(":memory:") as memory:  # reads /dev/urandom while it may
        memory.execute("SELECT random()").fetchone()
    memory.close()
    said += shed(user, keep=keep)
    if user is not None:
        code = [path for path in sys.path if os.path.isdir(path)]
        read = [f"{home}/installation", "/proc", "/dev/urandom", *code]
        said.append(confine_files(write=folders, read=read))
    said.append(forbid("none"))
    return [each for each in said if each]
