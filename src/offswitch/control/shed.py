"""Giving rights away, for good (SR-4): what every helper of ours does before it works.

    bounding set ─► groups, user ─► capabilities ─► no_new_privs ─► not dumpable

What a process keeps it names; all else is gone, and nothing can bring it back. What the
kernel refuses is told, not fatal: an observer with too many rights is worth more than none.
A process imports and opens what it needs beforehand: where root's project and Python lie
below a closed folder no other user can read them.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Collection
from contextlib import suppress
from functools import partial

from offswitch.control.ids import User

__all__ = ["KILL", "PTRACE", "READ_SEARCH", "closed_to_others", "complain", "shed"]

KILL, READ_SEARCH, PTRACE = 5, 2, 19
"""Capabilities, by their numbers (capabilities(7))."""
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECUREBITS, _PR_SET_NO_NEW_PRIVS = 1, 4, 28, 38
_PR_CAPBSET_DROP, _PR_CAP_AMBIENT, _CLEAR_ALL = 24, 47, 4
_NO_SETUID_FIXUP = 4
_CAP_VERSION = 0x2008_0522
_LAST_CAPABILITY = 63


def shed(
    user: User | None,
    *,
    keep: Collection[int] = (),
    groups: Collection[int] = (),
    dies_with_parent: bool = False,
) -> list[str]:
    """Become `user` (None: stay who we are) with the capabilities `keep`; list what was refused."""
    libc = ctypes.CDLL(None, use_errno=True)
    refused: list[str] = []
    call = partial(_call, libc, refused)
    if user is not None:
        # Not only KEEPCAPS: with this bit the rights count in access(2), too, by which
        # SQLite decides whether a log exists below a folder that is closed to all but root.
        call("prctl", _PR_SET_SECUREBITS, _NO_SETUID_FIXUP, 0, 0, 0)
        for number in range(_LAST_CAPABILITY + 1):
            libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0)  # beyond the last one it says EINVAL
        libc.prctl(_PR_CAP_AMBIENT, _CLEAR_ALL, 0, 0, 0)
        try:
            os.setgroups(list(groups))
            os.setresgid(user.gid, user.gid, user.gid)
            os.setresuid(user.uid, user.uid, user.uid)
        except OSError as error:
            refused.append(f"a user of its own: {error.strerror}")
    _keep_only(call, keep)
    call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    # A change of user clears both of these, so they come last.
    call("prctl", _PR_SET_DUMPABLE, 0, 0, 0, 0)
    if dies_with_parent:
        call("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    return refused


def _keep_only(call: partial[None], keep: Collection[int]) -> None:
    """Give up every capability but those that are named."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        has = next((int(line.split()[1], 16) for line in file if line.startswith("CapPrm")), 0)
    bits = sum(1 << number for number in keep) & has
    head = (ctypes.c_uint32 * 2)(_CAP_VERSION, 0)
    call("capset", head, (ctypes.c_uint32 * 6)(bits, bits, 0, 0, 0, 0))


def _call(libc: ctypes.CDLL, refused: list[str], name: str, *arguments: object) -> None:
    if getattr(libc, name)(*arguments) != 0:
        refused.append(f"{name}: {os.strerror(ctypes.get_errno())}")


def complain(process: str, refused: Collection[str]) -> None:
    """Say on stderr what a process of ours could not give away; a full disk stops nobody."""
    for each in refused:
        with suppress(OSError):  # not by `sys.stderr`: what it could not flush fails its exit
            os.write(2, f"offswitch {process}: degraded: {each}\n".encode())


def closed_to_others(path: str) -> bool:
    """Tell whether a folder lies below one that a user without rights cannot pass through."""
    at = os.path.realpath(path)
    while at != "/":
        at = os.path.dirname(at)
        try:
            if not os.stat(at).st_mode & 0o001:
                return True
        except OSError:
            return True
    return False
