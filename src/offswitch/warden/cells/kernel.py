"""The few calls of the kernel that Python's library does not offer, by ctypes.

Each raises OSError with the kernel's errno, and each is named and numbered as in its
manual page: prctl(2), capset(2), keyctl(2), unshare(2), setns(2), mount(2), umount2(2),
open_tree(2), move_mount(2), mount_setattr(2), pidfd_send_signal(2).
"""

from __future__ import annotations

import ctypes
import os

__all__ = [
    "PR_SET_CHILD_SUBREAPER",
    "drop_all_capabilities",
    "forbid_new_privileges",
    "new_session_keyring",
    "prctl",
    "syscall",
]

PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
CAP_SETUID = 7
LOOKING = (2, 19)
"""CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE: to look at what others may not."""
_CAPABILITY_VERSION_3 = 0x20080522
_KEYCTL_JOIN_SESSION_KEYRING = 1
_SYS_KEYCTL = {"x86_64": 250, "aarch64": 219}
_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.syscall.restype = ctypes.c_long


def failure(name: str) -> OSError:
    """Give the error that the last call left behind."""
    number = ctypes.get_errno()
    return OSError(number, f"{name}: {os.strerror(number)}")


def syscall(name: str, number: int, *args: object) -> int:
    """Make system call `number` (`name` is for the error); ints go as 64 bits."""
    words = [ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in args]
    result: int = _LIBC.syscall(ctypes.c_long(number), *words)
    if result < 0:
        raise failure(name)
    return result


def prctl(option: int, *args: int) -> int:
    """Set or ask an attribute of this process (see its manual page)."""
    words = [ctypes.c_ulong(arg) for arg in (*args, 0, 0, 0, 0)[:4]]
    result: int = _LIBC.prctl(ctypes.c_int(option), *words)
    if result < 0:
        raise failure("prctl")
    return result


def forbid_new_privileges() -> None:
    """From here on no exec of this process or its children gains anything (setuid, file caps)."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)


def _last_capability() -> int:
    with open("/proc/sys/kernel/cap_last_cap", encoding="ascii") as file:
        return int(file.read())


def bound_capabilities(but: tuple[int, ...] = ()) -> None:
    """Empty the bounding and ambient sets, so that nothing can bring a capability back."""
    for capability in range(_last_capability() + 1):
        if capability in but:
            continue
        try:
            prctl(PR_CAPBSET_DROP, capability)
        except PermissionError:
            break  # we have no CAP_SETPCAP: there is nothing to be handed on either
    try:
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    except OSError:
        pass  # a kernel without ambient capabilities


def _capset(head: object, data: object) -> None:
    if _LIBC.capset(head, data) < 0:
        raise failure("capset")


def drop_all_capabilities() -> None:
    """Give up every capability: effective, permitted and inheritable."""
    head = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)()
    _capset(head, data)


def new_session_keyring() -> None:
    """Leave the warden's keyring: its keys are possessed by whoever inherits it."""
    number = _SYS_KEYCTL.get(os.uname().machine)
    if number is None:
        return
    try:
        syscall("keyctl", number, _KEYCTL_JOIN_SESSION_KEYRING, 0)
    except OSError:
        pass  # a kernel without keyrings, or a filter that forbids them: nothing to possess


def libc() -> ctypes.CDLL:
    """Give the C library, for the calls that it wraps."""
    return _LIBC


def keep_capabilities() -> None:
    """Let the permitted capabilities survive the next change from uid 0."""
    prctl(PR_SET_KEEPCAPS, 1)


def keep_only(capabilities: tuple[int, ...]) -> None:
    """Give up every capability but these, all of which are below 32."""
    bits = sum(1 << capability for capability in capabilities)
    head = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)(bits, bits, 0, 0, 0, 0)
    _capset(head, data)


def keep_only_setuid() -> None:
    """Give up every capability but CAP_SETUID."""
    keep_only((CAP_SETUID,))
