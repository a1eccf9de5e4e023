"""What the machine grants to those who must not be held up: warden and keeper.

As many descriptors as there may be, the OOM killer's mercy, real-time priority. Each is
taken where it is allowed; without root hardly any is. The priority is not inherited: a
target must never outrank what stops it.
"""

from __future__ import annotations

import ctypes
import os
import resource
from contextlib import suppress

__all__ = ["keep_to_oneself", "take_what_is_granted"]


_PR_SET_DUMPABLE = 4
_MCL_CURRENT_AND_FUTURE = 3


def take_what_is_granted(priority: int, *, lock_memory: bool = False) -> None:
    """Take it for this process; `priority` is one of SCHED_RR's, 1 to 99."""
    if lock_memory:
        ctypes.CDLL(None).mlockall(_MCL_CURRENT_AND_FUTURE)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write("-1000")
    with suppress(OSError):
        # Round robin: wardens of two installations, equally urgent, may not starve each other.
        policy = os.SCHED_RR | os.SCHED_RESET_ON_FORK
        os.sched_setscheduler(0, policy, os.sched_param(priority))


def keep_to_oneself() -> None:
    """Let nobody trace this process or read its memory, where others have the same user."""
    if os.geteuid() != 0:
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
