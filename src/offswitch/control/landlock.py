"""Which files a process of ours may open from now on, for good (Landlock, Linux 5.13).

It needs no right and holds whatever rights the process keeps: one that may read every file
(CAP_DAC_READ_SEARCH) reads no more than what is named here. Descriptors that are open already
go on working. A kernel without Landlock is told, not fatal.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Sequence

__all__ = ["confine_files"]

_CREATE, _ADD, _RESTRICT = 444, 445, 446
_VERSION, _BENEATH = 1, 1
_EXECUTE, _WRITE, _READ, _LIST = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_CHANGE = sum(1 << bit for bit in range(4, 13))
"""Make, remove: files, folders, links, sockets, devices."""
_REFER, _TRUNCATE = 1 << 13, 1 << 14
_TRUNCATE_SINCE, _REFER_SINCE = 3, 2
_OF_FILES = _EXECUTE | _WRITE | _READ | _TRUNCATE


def confine_files(*, write: Sequence[str] = (), read: Sequence[str] | None = None) -> str:
    """Let nothing be written but below `write`, nothing be run, and below `read` alone be read.

    `read` None: everything may be read that the user may read. What is not there is left
    out. Gives what went wrong, or nothing; no_new_privs must be set.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    version = libc.syscall(_CREATE, None, 0, _VERSION)
    if version < 1:
        return f"landlock: {os.strerror(ctypes.get_errno())}"
    changes = _WRITE | _CHANGE
    if version >= _REFER_SINCE:
        changes |= _REFER
    if version >= _TRUNCATE_SINCE:
        changes |= _TRUNCATE
    looks = 0 if read is None else _READ | _LIST
    attributes = struct.pack("=Q", changes | looks | _EXECUTE)
    rules = libc.syscall(_CREATE, attributes, len(attributes), 0)
    if rules < 0:
        return f"landlock: {os.strerror(ctypes.get_errno())}"
    try:
        for path in write:
            _allow(libc, rules, path, changes | looks)
        for path in read or ():
            _allow(libc, rules, path, looks)
        if libc.syscall(_RESTRICT, rules, 0) < 0:
            return f"landlock: {os.strerror(ctypes.get_errno())}"
    finally:
        os.close(rules)
    return ""


def _allow(libc: ctypes.CDLL, rules: int, path: str, access: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not os.path.isdir(f"/proc/self/fd/{fd}"):
            access &= _OF_FILES
        libc.syscall(_ADD, rules, _BENEATH, struct.pack("=Qi", access, fd), 0)
    finally:
        os.close(fd)
