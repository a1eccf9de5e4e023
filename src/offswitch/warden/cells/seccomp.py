"""Filters of system calls for cells (seccomp(2)).

No cell has io_uring: with it the kernel acts for a program, and what became due while a cell
was frozen was done in the kill itself (seen: three writes of a program that had stood still).
Programs fall back. The rest is for cells whose working directory is lent to them.

In a lent directory the cell's user is the owner on the disk, often root. A set-user-id bit
or a file capability that it puts there would be root's outside the cell, for everybody who
can reach the file. So in such a cell

    chmod, open and mknod with a set-user-id or set-group-id bit   are not permitted
    setting extended attributes (file capabilities are one)        is "not supported"
    openat2, x32 and 32-bit calls                                  do not exist

The last because they do the same in ways that a filter cannot read; programs fall back.
A filter is classic BPF (linux/filter.h) over struct seccomp_data, and stays for good.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from offswitch.warden.cells import kernel

__all__ = ["forbid_lasting_marks", "forbid_late_acts"]

_PR_SET_SECCOMP, _FILTER = 22, 2
_LOAD, _EQUAL, _ANY_BIT, _GREATER, _RETURN = 0x20, 0x15, 0x45, 0x35, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_NUMBER_AT, _ARCH_AT, _ARGS_AT = 0, 4, 16
_MARKS = 0o6000
_X32 = 0x40000000
_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_CREATES = 0o100 | 0o20000000
"""O_CREAT and O_TMPFILE: without them open has no mode, and the register holds anything."""
_MODE_ARG: dict[str, dict[int, int]] = {
    # Call → which argument is the mode: chmod, fchmod, fchmodat, fchmodat2, creat, mknod, mknodat.
    "x86_64": {90: 1, 91: 1, 268: 2, 452: 2, 85: 1, 133: 1, 259: 2},
    "aarch64": {52: 1, 53: 2, 452: 2, 33: 2},
}
_OPEN_ARGS: dict[str, dict[int, int]] = {
    # open, openat → which argument is the flags; the mode is the next.
    "x86_64": {2: 1, 257: 2},
    "aarch64": {56: 2},
}
_NO_ATTRIBUTES: dict[str, tuple[int, ...]] = {
    # setxattr, lsetxattr, fsetxattr, setxattrat
    "x86_64": (188, 189, 190, 463),
    "aarch64": (5, 6, 7, 463),
}
_IO_URING_SETUP, _OPENAT2 = 425, 437
"""The same numbers everywhere, in 32-bit calls, too."""


def _step(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("=HBBI", code, yes, no, value)


def _answer(number: int) -> bytes:
    return _step(_RETURN, _ERRNO | number)


def program(machine: str) -> bytes:
    """Give the filter for a machine; KeyError for one that we have no numbers for."""
    code = _step(_LOAD, _ARCH_AT) + _step(_EQUAL, _ARCH[machine], yes=1) + _answer(errno.ENOSYS)
    code += _step(_LOAD, _NUMBER_AT)
    if machine == "x86_64":
        code += _step(_GREATER, _X32, no=1) + _answer(errno.ENOSYS)
    code += _step(_EQUAL, _OPENAT2, no=1) + _answer(errno.ENOSYS)
    for number in _NO_ATTRIBUTES[machine]:
        code += _step(_EQUAL, number, no=1) + _answer(errno.EOPNOTSUPP)
    for number, argument in _MODE_ARG[machine].items():
        # Only the lower half of an argument counts: a mode is a 32-bit value.
        code += _step(_EQUAL, number, no=4)
        code += _step(_LOAD, _ARGS_AT + 8 * argument)
        code += _step(_ANY_BIT, _MARKS, no=1) + _answer(errno.EPERM)
        code += _step(_RETURN, _ALLOW)
    for number, argument in _OPEN_ARGS[machine].items():
        code += _step(_EQUAL, number, no=6)
        code += _step(_LOAD, _ARGS_AT + 8 * argument) + _step(_ANY_BIT, _CREATES, no=3)
        code += _step(_LOAD, _ARGS_AT + 8 * argument + 8)
        code += _step(_ANY_BIT, _MARKS, no=1) + _answer(errno.EPERM)
        code += _step(_RETURN, _ALLOW)
    return code + _step(_RETURN, _ALLOW)


def forbid_late_acts() -> None:
    """Take io_uring from this process and all that it will become, by whichever kind of call."""
    code = _step(_LOAD, _NUMBER_AT)
    for number in (_IO_URING_SETUP, _IO_URING_SETUP | _X32):
        code += _step(_EQUAL, number, no=1) + _answer(errno.ENOSYS)
    _install(code + _step(_RETURN, _ALLOW))


def forbid_lasting_marks() -> None:
    """Install the filter for lent folders in this process, for it and all that it will become."""
    try:
        code = program(os.uname().machine)
    except KeyError as machine:
        raise OSError(errno.ENOSYS, f"no filter of system calls is known for {machine}") from None
    _install(code)


def _install(code: bytes) -> None:
    steps = ctypes.create_string_buffer(code, len(code))
    head = struct.pack("=HxxxxxxQ", len(code) // 8, ctypes.addressof(steps))
    filter_ = ctypes.create_string_buffer(head, len(head))
    kernel.prctl(_PR_SET_SECCOMP, _FILTER, ctypes.addressof(filter_))
