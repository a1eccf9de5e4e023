"""fanotify(7) through ctypes: who changed which entry of which folder, of a whole file system.

    root:    open_group(path) ─► a descriptor, marked on the file system that holds the path
    an eye:  read(group) ─► events: mask, process, folder and name (of a rename: both)

A folder comes as a *handle*, a few bytes that name it for good: it can be opened by whoever
may read everything (CAP_DAC_READ_SEARCH), unless it is gone by then, so whoever listens
notes the handles of the folders that it knows beforehand. Unlike with inotify nothing has to
follow new folders, and each event names its process. The queue holds 16,384 events; one that
overflowed says so by an event of its own (fanotify_init(2), FAN_REPORT_DFID_NAME_TARGET:
Linux 5.17; FAN_RENAME: the same).
"""

from __future__ import annotations

import ctypes
import os
import struct
from dataclasses import dataclass

__all__ = [
    "CREATED",
    "DELETED",
    "FOLDER",
    "MODIFIED",
    "OVERFLOW",
    "RENAMED",
    "Event",
    "Handle",
    "handle_of",
    "open_group",
    "open_handle",
    "read_events",
]

MODIFIED = 0x2
CREATED = 0x100
DELETED = 0x200
OVERFLOW = 0x4000
RENAMED = 0x1000_0000
FOLDER = 0x4000_0000
"""The entry is itself a folder."""

_INIT = 0x1 | 0x2 | 0x200 | 0x400 | 0x800 | 0x1000
"""CLOEXEC, NONBLOCK, REPORT_FID, _DIR_FID, _NAME, _TARGET_FID."""
_MARK_ADD, _MARK_FILESYSTEM, _FROM_HERE = 0x1, 0x100, -100
_AT_EMPTY_PATH = 0x1000
_HEAD = struct.Struct("=IBBHQii")
_INFO = struct.Struct("=BBH8sIi")
"""Of a record: type, padding, size, file system; then of the handle: its size and type."""
_FID, _FOLDER_AND_NAME, _OLD, _NEW = 1, 2, 10, 12
_VERSION = 3
_LONGEST_HANDLE = 128
_A_READ = 64 << 10
_LONGEST_EVENT = 2048
"""Less room than this was left: the next event may not have fitted."""

Handle = tuple[int, bytes]
"""The type of a file handle and its bytes."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened to an entry of a folder."""

    mask: int
    pid: int
    """The process that did it, as the listener numbers processes."""
    folder: Handle | None
    name: str
    """Hostile; bytes that are no UTF-8 as lone surrogates."""
    target: Handle | None = None
    """The entry itself."""
    to_folder: Handle | None = None
    """Of a rename: where it is now."""
    to_name: str = ""


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _failed() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))


def open_group(path: str) -> int:
    """Open a group that hears of all that happens on the file system of `path`; needs root."""
    libc = _libc()
    group: int = libc.fanotify_init(_INIT, os.O_RDONLY | os.O_CLOEXEC)
    if group < 0:
        raise _failed()
    mask = ctypes.c_uint64(MODIFIED | CREATED | DELETED | RENAMED | FOLDER)
    how = _MARK_ADD | _MARK_FILESYSTEM
    if libc.fanotify_mark(group, how, mask, _FROM_HERE, os.fsencode(path)):
        error = _failed()
        os.close(group)
        raise error
    return group


def handle_of(fd: int) -> Handle:
    """Give the handle of what `fd` has open; OSError where the file system has none."""
    space = ctypes.create_string_buffer(struct.pack("=Ii", _LONGEST_HANDLE, 0), 8 + _LONGEST_HANDLE)
    mount = ctypes.c_int()
    if _libc().name_to_handle_at(fd, b"", space, ctypes.byref(mount), _AT_EMPTY_PATH):
        raise _failed()
    size, kind = struct.unpack_from("=Ii", space.raw)
    return kind, space.raw[8 : 8 + size]


def open_handle(mount: int, handle: Handle) -> int:
    """Open what a handle names, on the file system of `mount`; ESTALE: it is gone.

    `mount` is a descriptor that was opened for reading: by one with O_PATH it is refused.
    """
    kind, data = handle
    space = ctypes.create_string_buffer(struct.pack("=Ii", len(data), kind) + data)
    fd: int = _libc().open_by_handle_at(mount, space, os.O_PATH | os.O_CLOEXEC)
    if fd < 0:
        raise _failed()
    return fd


def read_events(group: int) -> tuple[list[Event], bool]:
    """Give what happened since the last call, at most 64 KiB of events, and whether there is more.

    Never blocks.
    """
    try:
        data = os.read(group, _A_READ)
    except BlockingIOError:
        return [], False
    events, at = [], 0
    while at + _HEAD.size <= len(data):
        size, version, _reserved, head, mask, _fd, pid = _HEAD.unpack_from(data, at)
        if version != _VERSION or size < head:
            raise OSError(0, f"fanotify speaks version {version}")
        events.append(_event(mask, pid, data, at + head, at + size))
        at += size
    return events, len(data) > _A_READ - _LONGEST_EVENT


def _event(mask: int, pid: int, data: bytes, at: int, end: int) -> Event:
    folder = target = to_folder = None
    name = to_name = ""
    while at + _INFO.size <= end:
        kind, _padding, size, _system, length, handle_kind = _INFO.unpack_from(data, at)
        begin = at + _INFO.size
        handle = (handle_kind, data[begin : begin + length])
        if kind == _FID:
            target = handle
        else:
            said = os.fsdecode(data[begin + length : at + size].partition(b"\0")[0])
            if kind in {_FOLDER_AND_NAME, _OLD}:
                folder, name = handle, said
            elif kind == _NEW:
                to_folder, to_name = handle, said
        at += max(size, 4)
    return Event(mask, pid, folder, name, target, to_folder, to_name)
