"""An eye gives away what it does not need before it opens what is hostile (SR-4).

As root it becomes a user of its own that owns nothing, keeps the rights that its sensors
need and no other (to read files that are not its own: CAP_DAC_READ_SEARCH; to read the
counters of processes: CAP_SYS_PTRACE, whose calls are denied), can never gain one
(no_new_privs), has a limit of memory, and a filter under which nothing acts and, unless a
sensor asks over the network, nothing connects. Whoever takes an eye over through a broken
database can then write nothing, signal nothing, stop nothing and tell nobody; it can lie
about its own source, which its target could do anyway. Without root all but the change of
user is done. What the kernel refuses is told, not fatal: a seeing eye with too many rights
is worth more than none.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from collections.abc import Collection

from offswitch.watch.seccomp import forbid
from offswitch.watch.sensors.contract import Need

__all__ = ["WATCH_UID", "confine"]

WATCH_UID = 1_899_999_996
"""The user id of watch's eyes, outside of every range that systems hand out."""

_MEMORY = 2 << 30
_READ_SEARCH, _PTRACE = 2, 19
_CAPABILITY = {Need.FILES: 1 << _READ_SEARCH, Need.PROCESSES: 1 << _PTRACE}
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECUREBITS, _PR_SET_NO_NEW_PRIVS = 1, 4, 28, 38
_NO_SETUID_FIXUP = 4
_CAP_VERSION = 0x2008_0522


class _Head(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def confine(needs: Collection[Need]) -> list[str]:
    """Give away all but what `needs` takes; lists what the kernel refused."""
    libc = ctypes.CDLL(None, use_errno=True)
    refused: list[str] = []

    def call(name: str, *arguments: object) -> None:
        if getattr(libc, name)(*arguments) != 0:
            refused.append(f"{name}: {os.strerror(ctypes.get_errno())}")

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    if os.geteuid() == 0:
        # Not only KEEPCAPS: with this bit the rights count in access(2), too, by which
        # SQLite decides whether a log exists below a folder that is closed to all but root.
        call("prctl", _PR_SET_SECUREBITS, _NO_SETUID_FIXUP, 0, 0, 0)
        try:
            os.setgroups([])
            os.setresgid(WATCH_UID, WATCH_UID, WATCH_UID)
            os.setresuid(WATCH_UID, WATCH_UID, WATCH_UID)
        except OSError as error:
            refused.append(f"a user of its own: {error.strerror}")
        kept = sum(_CAPABILITY.get(need, 0) for need in set(needs))
        data = (_Data * 2)(_Data(kept, kept, 0), _Data(0, 0, 0))
        call("capset", ctypes.byref(_Head(_CAP_VERSION, 0)), data)
    call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    # A change of user clears both of these, so they come last.
    call("prctl", _PR_SET_DUMPABLE, 0, 0, 0, 0)
    call("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    unfiltered = forbid(network=Need.NETWORK in needs)
    return [*refused, unfiltered] if unfiltered else refused
