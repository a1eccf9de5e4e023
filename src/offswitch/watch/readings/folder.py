"""Where readings are kept: `readings/` below the installation's home, its own user's alone."""

from __future__ import annotations

import os

from offswitch.control.ids import user_of
from offswitch.control.ownership import take_over
from offswitch.control.shed import complain

__all__ = ["folder_for"]


def folder_for(home: str) -> str:
    """Make the folder, as root for watch's user; give a path that no closed folder above closes.

    Empty where there can be none; then nothing is kept, and that is told.
    """
    folder = f"{home}/readings"
    user = user_of("watch")
    try:
        if user is not None:
            take_over(folder, user, 0o700)
        else:
            os.makedirs(folder, mode=0o700, exist_ok=True)
        held = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    except OSError as error:
        complain("watch", [f"no readings are kept: {folder}: {error.strerror}"])
        return ""
    return f"/proc/self/fd/{held}"
