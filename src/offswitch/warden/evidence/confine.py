"""What the gatherer may do: read other processes, write new files, and nothing else (SR-4).

It has a user of its own and keeps two capabilities where root is there, CAP_SYS_PTRACE and
CAP_DAC_READ_SEARCH: without them the open files and the memory of a target cannot be read.
With the first it could write there, too, so a filter of system calls (seccomp(2)) takes that
away for good:

    openat to write      only to make a file that was not there (O_CREAT with O_EXCL)
    open, creat, openat2, ptrace, process_vm_*, pidfd_getfd, kill, execve, socket …    no

What is left to whoever takes it over is to read, and to fill its own folder; it can tell
nobody. A machine that we have no numbers for gets no capability: there memory and open files
stay unread.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from offswitch.control.ids import user_of
from offswitch.warden.cells import kernel

__all__ = ["become_gatherer"]

_CAP_DAC_READ_SEARCH, _CAP_SYS_PTRACE = 2, 19
_PR_SET_SECCOMP, _FILTER = 22, 2
_LOAD, _EQUAL, _AND, _ANY_BIT, _GREATER, _RETURN = 0x20, 0x15, 0x54, 0x45, 0x35, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_NUMBER_AT, _ARCH_AT, _ARGS_AT = 0, 4, 16
_X32 = 0x40000000
_WRITES, _NEW = os.O_WRONLY | os.O_RDWR, os.O_CREAT | os.O_EXCL
_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_OPENAT = {"x86_64": 257, "aarch64": 56}
_NEVER = {
    # ptrace, process_vm_readv, process_vm_writev, kill, tkill, tgkill, execve, execveat,
    # socket, connect, unshare, setns, keyctl, bpf, mount, process_madvise, open_by_handle_at; open
    # and creat on x86.
    "x86_64": (
        101,
        310,
        311,
        62,
        200,
        234,
        59,
        322,
        41,
        42,
        272,
        308,
        250,
        321,
        165,
        440,
        304,
        2,
        85,
    ),
    "aarch64": (117, 270, 271, 129, 130, 131, 221, 281, 198, 203, 97, 268, 219, 280, 40, 440, 265),
}
_NEVER_ANYWHERE = (424, 425, 437, 438)
"""pidfd_send_signal, io_uring_setup, openat2, pidfd_getfd: the same numbers everywhere."""


def _step(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("=HBBI", code, yes, no, value)


def _program(machine: str) -> bytes:
    refuse = _step(_RETURN, _ERRNO | errno.EPERM)
    code = _step(_LOAD, _ARCH_AT) + _step(_EQUAL, _ARCH[machine], yes=1) + refuse
    code += _step(_LOAD, _NUMBER_AT)
    if machine == "x86_64":
        code += _step(_GREATER, _X32, no=1) + refuse
    for number in (*_NEVER[machine], *_NEVER_ANYWHERE):
        code += _step(_EQUAL, number, no=1) + refuse
    code += _step(_EQUAL, _OPENAT[machine], no=5)
    code += _step(_LOAD, _ARGS_AT + 8 * 2) + _step(_ANY_BIT, _WRITES, no=3)
    code += _step(_AND, _NEW) + _step(_EQUAL, _NEW, yes=1) + refuse
    return code + _step(_RETURN, _ALLOW)


def _filter(machine: str) -> None:
    code = _program(machine)
    steps = ctypes.create_string_buffer(code, len(code))
    head = struct.pack("=HxxxxxxQ", len(code) // 8, ctypes.addressof(steps))
    program = ctypes.create_string_buffer(head, len(head))
    kernel.prctl(_PR_SET_SECCOMP, _FILTER, ctypes.addressof(program))


def become_gatherer() -> str:
    """Give up all but that; says what it cannot read, or nothing."""
    machine = os.uname().machine
    user = user_of("evidence")
    if user is not None:
        kernel.bound_capabilities()
        os.setgroups([])
        os.setresgid(user.gid, user.gid, user.gid)
        kernel.keep_capabilities()
        os.setresuid(user.uid, user.uid, user.uid)
        if machine in _ARCH:
            kernel.keep_only((_CAP_DAC_READ_SEARCH, _CAP_SYS_PTRACE))
        else:
            kernel.drop_all_capabilities()
    kernel.forbid_new_privileges()
    if machine not in _ARCH:
        return f"no filter of system calls for {machine}: open files and memory are not read"
    try:
        _filter(machine)
    except OSError as error:
        if user is not None:
            kernel.drop_all_capabilities()
        return f"no filter of system calls ({error.strerror}): open files and memory are not read"
    return ""
