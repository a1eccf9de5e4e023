"""Whether a process whose first thread is dead lives on in the others.

The kernel shows a process by its first thread. One that ended that thread alone (exit(2),
not exit_group) is listed as a zombie, by `ps` and by /proc/PID/status, while its other
threads run as long as they like: seen, a broker's job of that kind acted on behind a stop
that every scan of user ids called finished. So nobody is dead whose threads are not.
"""

from __future__ import annotations

import os

__all__ = ["state_behind"]

_DEAD, _STANDING = frozenset({"Z", "X"}), frozenset({"T", "t"})


def state_behind(pid: int | str) -> str:
    """Give the state of a process as its liveliest thread has it; Z: all of it is dead.

    Asked only of what seems to be dead, so it costs nothing where nobody plays this game.
    """
    found = "Z"
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return found  # it is gone altogether
    for thread in threads:
        try:
            with open(f"/proc/{pid}/task/{thread}/stat", "rb") as file:
                state = file.read().rpartition(b")")[2].split()[0].decode()
        except (OSError, IndexError):
            continue
        if state not in _DEAD | _STANDING:
            return state
        if state in _STANDING:
            found = state
    return found
