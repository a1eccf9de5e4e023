"""A filter of system calls for helpers of ours: they look or write, and do nothing else.

Denied for good (seccomp(2)), with EPERM: running a program, tracing or reading into another
process, signalling, and all that makes kernel objects which they have no use for. New sockets
are denied but for one family, if one is named; what a helper has to say goes over the link
that it was born with. Calls by another architecture's numbers do not exist. On a machine
that we have no numbers for the helper says that it is without this filter.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from typing import Literal

__all__ = ["forbid"]

_PR_SET_SECCOMP, _FILTER = 22, 2
_LOAD, _EQUAL, _GREATER_OR_EQUAL, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_NUMBER_AT, _ARCH_AT, _FIRST_ARGUMENT_AT = 0, 4, 16
_X32 = 0x40000000
_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_ACTING = {
    # execve, execveat, ptrace, process_vm_readv, process_vm_writev, unshare, setns, keyctl,
    # bpf, perf_event_open, userfaultfd, mount
    "x86_64": (59, 322, 101, 310, 311, 272, 308, 250, 321, 298, 323, 165),
    "aarch64": (221, 281, 117, 270, 271, 97, 268, 219, 280, 241, 282, 40),
}
_SIGNALLING = {
    # kill, tkill
    "x86_64": (62, 200),
    "aarch64": (129, 130),
}
_ACTING_ANYWHERE = (424, 425, 438)
"""pidfd_send_signal, io_uring_setup, pidfd_getfd: the same numbers everywhere."""
_SOCKET = {"x86_64": 41, "aarch64": 198}
_CONNECT = {"x86_64": 42, "aarch64": 203}
_SERVING = {
    # bind, listen
    "x86_64": (49, 50),
    "aarch64": (200, 201),
}
Sockets = int | Literal["none", "any"]
"""Which sockets may be made: those of one family, none, or any."""


def _step(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("=HBBI", code, yes, no, value)


def _program(machine: str, sockets: Sockets, *, signals: bool) -> bytes:
    """Give the filter for a machine; KeyError for one that we have no numbers for."""
    code = _step(_LOAD, _ARCH_AT) + _step(_EQUAL, _ARCH[machine], yes=1)
    code += _step(_RETURN, _ERRNO | errno.ENOSYS) + _step(_LOAD, _NUMBER_AT)
    if machine == "x86_64":
        code += _step(_GREATER_OR_EQUAL, _X32, no=1) + _step(_RETURN, _ERRNO | errno.ENOSYS)
    denied = [*_ACTING[machine], *_ACTING_ANYWHERE]
    if not signals:
        denied += _SIGNALLING[machine]
    if sockets == "none":
        denied += [_SOCKET[machine], _CONNECT[machine]]
    if sockets != "any":
        denied += _SERVING[machine]
    for number in denied:
        code += _step(_EQUAL, number, no=1) + _step(_RETURN, _ERRNO | errno.EPERM)
    if isinstance(sockets, int):
        code += _step(_EQUAL, _SOCKET[machine], no=4) + _step(_LOAD, _FIRST_ARGUMENT_AT)
        code += _step(_EQUAL, sockets, no=1) + _step(_RETURN, _ALLOW)
        code += _step(_RETURN, _ERRNO | errno.EPERM)
    return code + _step(_RETURN, _ALLOW)


def forbid(sockets: Sockets = "none", *, signals: bool = False) -> str:
    """Install the filter for good (no_new_privs is set); gives what went wrong, or nothing.

    `signals`: it may signal what its user may signal.
    """
    machine = os.uname().machine
    if machine not in _ARCH:
        return f"seccomp: no numbers for {machine}"
    code = _program(machine, sockets, signals=signals)
    steps = ctypes.create_string_buffer(code, len(code))
    head = struct.pack("=HxxxxxxQ", len(code) // 8, ctypes.addressof(steps))
    program = ctypes.create_string_buffer(head, len(head))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_SECCOMP, _FILTER, ctypes.c_void_p(ctypes.addressof(program)), 0, 0):
        return f"seccomp: {os.strerror(ctypes.get_errno())}"
    return ""
