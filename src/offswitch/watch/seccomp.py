"""A filter of system calls for eyes: they look, and can do nothing else (seccomp(2)).

Denied for good, with EPERM: running a program, tracing or reading into another process,
signalling, and all that makes kernel objects which an eye has no use for. Sockets are
denied unless the sensor is one that asks over the network; what an eye has to say goes
over the link that it was born with. Calls by another architecture's numbers do not exist.
On a machine that we have no numbers for the eye says that it is without this filter.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

__all__ = ["forbid"]

_PR_SET_SECCOMP, _FILTER = 22, 2
_LOAD, _EQUAL, _GREATER_OR_EQUAL, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_NUMBER_AT, _ARCH_AT = 0, 4
_X32 = 0x40000000
_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_ACTING = {
    # execve, execveat, ptrace, process_vm_readv, process_vm_writev, kill, tkill, unshare,
    # setns, keyctl, bpf, perf_event_open, userfaultfd, mount
    "x86_64": (59, 322, 101, 310, 311, 62, 200, 272, 308, 250, 321, 298, 323, 165),
    "aarch64": (221, 281, 117, 270, 271, 129, 130, 97, 268, 219, 280, 241, 282, 40),
}
_ACTING_ANYWHERE = (424, 425, 438)
"""pidfd_send_signal, io_uring_setup, pidfd_getfd: the same numbers everywhere."""
_REACHING = {
    # socket, connect, bind, listen
    "x86_64": (41, 42, 49, 50),
    "aarch64": (198, 203, 200, 201),
}


def _step(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("=HBBI", code, yes, no, value)


def _program(machine: str, *, network: bool) -> bytes:
    """Give the filter for a machine; KeyError for one that we have no numbers for."""
    code = _step(_LOAD, _ARCH_AT) + _step(_EQUAL, _ARCH[machine], yes=1)
    code += _step(_RETURN, _ERRNO | errno.ENOSYS) + _step(_LOAD, _NUMBER_AT)
    if machine == "x86_64":
        code += _step(_GREATER_OR_EQUAL, _X32, no=1) + _step(_RETURN, _ERRNO | errno.ENOSYS)
    denied = (*_ACTING[machine], *_ACTING_ANYWHERE, *(() if network else _REACHING[machine]))
    for number in denied:
        code += _step(_EQUAL, number, no=1) + _step(_RETURN, _ERRNO | errno.EPERM)
    return code + _step(_RETURN, _ALLOW)


def forbid(*, network: bool) -> str:
    """Install the filter for good (no_new_privs is set); gives what went wrong, or nothing."""
    machine = os.uname().machine
    if machine not in _ARCH:
        return f"seccomp: no numbers for {machine}"
    code = _program(machine, network=network)
    steps = ctypes.create_string_buffer(code, len(code))
    head = struct.pack("=HxxxxxxQ", len(code) // 8, ctypes.addressof(steps))
    program = ctypes.create_string_buffer(head, len(head))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_SECCOMP, _FILTER, ctypes.c_void_p(ctypes.addressof(program)), 0, 0):
        return f"seccomp: {os.strerror(ctypes.get_errno())}"
    return ""
