"""bpf(2) by ctypes: load a program, attach it to a cgroup, see which are attached.

The layouts are those of `union bpf_attr` in linux/bpf.h, to the fields that are used. No
compiler and no library: the programs are some instructions written by hand. Needs root,
and a kernel that lets it (a lockdown or a container may not).
"""

from __future__ import annotations

import ctypes
import os
import struct
from enum import IntEnum

__all__ = [
    "Attach",
    "Program",
    "attach",
    "attached",
    "detach",
    "load",
    "name_of",
    "number_of",
    "opened",
    "those_at",
]

_NUMBER = {"x86_64": 321, "aarch64": 280}
_PROG_LOAD, _PROG_ATTACH, _PROG_DETACH = 5, 8, 9
_FD_BY_ID, _OBJ_INFO, _PROG_QUERY = 13, 15, 16
_ALLOW_MULTI = 2
_ATTR_SIZE = 128
_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.syscall.restype = ctypes.c_long


class Program(IntEnum):
    """BPF_PROG_TYPE_*."""

    CGROUP_SKB = 8
    CGROUP_SOCK = 9
    CGROUP_SOCK_ADDR = 18


class Attach(IntEnum):
    """BPF_CGROUP_*: where in a cgroup's traffic a program sits."""

    INGRESS = 0
    EGRESS = 1
    SOCK_CREATE = 2
    CONNECT4 = 10
    CONNECT6 = 11
    SENDMSG4 = 14
    SENDMSG6 = 15


def _bpf(command: int, attributes: bytes) -> tuple[int, bytes]:
    number = _NUMBER.get(os.uname().machine)
    if number is None:
        raise OSError(38, f"bpf(2) has no known number on {os.uname().machine}")
    buffer = ctypes.create_string_buffer(attributes, _ATTR_SIZE)
    result: int = _LIBC.syscall(
        ctypes.c_long(number), ctypes.c_long(command), buffer, ctypes.c_long(_ATTR_SIZE)
    )
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"bpf: {os.strerror(error)}")
    return result, buffer.raw


def load(kind: Program, where: Attach, code: bytes, name: str) -> int:
    """Load a program for one place; return its descriptor (close-on-exec)."""
    program = ctypes.create_string_buffer(code, len(code))
    licence = ctypes.create_string_buffer(b"MIT")
    attributes = struct.pack(
        "=IIQQIIQII16sII",
        kind,
        len(code) // 8,
        ctypes.addressof(program),
        ctypes.addressof(licence),
        0,  # log_level, log_size, log_buf: no verifier log
        0,
        0,
        0,  # kern_version
        0,  # prog_flags
        name.encode()[:15],
        0,  # prog_ifindex
        where,
    )
    return _bpf(_PROG_LOAD, attributes)[0]


def attach(cgroup: int, program: int, where: Attach) -> None:
    """Attach `program` to the cgroup whose folder is open as `cgroup`, beside any others.

    The verdicts of all programs from here up are joined: one that denies, denies.
    """
    try:
        _bpf(_PROG_ATTACH, struct.pack("=IIII", cgroup, program, where, _ALLOW_MULTI))
    except FileExistsError:
        pass  # attached already


def detach(cgroup: int, program: int, where: Attach) -> None:
    """Take `program` off; harmless if it was not there."""
    try:
        _bpf(_PROG_DETACH, struct.pack("=IIII", cgroup, program, where, 0))
    except FileNotFoundError:
        pass


def attached(cgroup: int, where: Attach) -> int:
    """Count the programs that are attached to this very cgroup at this place."""
    return len(those_at(cgroup, where))


def those_at(cgroup: int, where: Attach) -> list[int]:
    """Give the kernel's numbers of the programs that are attached to this very cgroup here."""
    count = 64
    ids = (ctypes.c_uint32 * count)()
    attributes = struct.pack("=IIIIQI", cgroup, where, 0, 0, ctypes.addressof(ids), count)
    (number,) = struct.unpack_from("=I", _bpf(_PROG_QUERY, attributes)[1], 24)
    return list(ids[:number])


def number_of(program: int) -> int:
    """Give the kernel's number of a program that is open."""
    return int(struct.unpack_from("=I", _info(program), 4)[0])


def name_of(program: int) -> str:
    """Give the name by which it was loaded."""
    return _info(program)[64:80].rstrip(b"\0").decode("ascii", "replace")


def opened(number: int) -> int:
    """Open a program by the kernel's number of it; return its descriptor (close-on-exec)."""
    return _bpf(_FD_BY_ID, struct.pack("=III", number, 0, 0))[0]


def _info(program: int) -> bytes:
    """Give struct bpf_prog_info: type, id, … and at 64 its name."""
    info = ctypes.create_string_buffer(256)
    _bpf(_OBJ_INFO, struct.pack("=IIQ", program, len(info), ctypes.addressof(info)))
    return info.raw
