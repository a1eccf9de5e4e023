"""What a file system can do to keep a file from being written, also by who has it open.

Measured on Linux 6.18 (`tests/actuators/hands/test_sqlite.py` shows each):

    rights, owner     keep from opening it anew; a descriptor that is open goes on writing
    immutable, ext4   a write by an open descriptor fails (EPERM), one through a mapping ends in
                      SIGBUS; so does ext4 since Linux 5.3. Setting it waits for pages to be written
    immutable, tmpfs  keeps from opening it anew, and nothing else
    SQLite's locks    held by us (`lockingv3.html`, `walformat.html`), they keep every SQLite from
                      committing, also one that has it open; who writes past SQLite asks for none
    a read lease      is granted only if nobody at all has it open for writing: the proof of that

Whether `immutable` holds an open descriptor on some file system is found out by a canary: a file
without a name in the same folder, really cut.
"""

from __future__ import annotations

import array
import errno
import fcntl
import os
import re
import signal
import stat
import struct
from contextlib import suppress
from dataclasses import dataclass

from offswitch.actuators.hands.contract import Trouble

__all__ = [
    "BESIDE",
    "Facts",
    "canary",
    "clear_locks",
    "facts_at",
    "freeze",
    "holds_open_descriptors",
    "is_frozen",
    "lock_out",
    "nobody_writes",
    "open_at",
]

BESIDE = ("-wal", "-journal", "-shm")
"""What SQLite puts beside a database; its index (-shm) is no data, and is not made immutable."""
_GET_FLAGS, _SET_FLAGS, _IMMUTABLE = 0x80086601, 0x40086602, 0x10
_OFD_SETLK = 37
_LOCK = struct.Struct("@hhqqi4x")
_PENDING, _SPAN = 0x4000_0000, 512
_WAL_WRITE, _WAL_SPAN = 120, 3
"""The bytes of its index that whoever writes, checkpoints or recovers a log has to lock."""
_EXT, _EXT_HOLDS_SINCE = 0xEF53, (5, 3)
_HEADER = b"SQLite format 3\x00"


@dataclass(frozen=True, slots=True)
class Facts:
    """What lies under a name."""

    device: int
    inode: int
    uid: int
    gid: int
    mode: int
    links: int
    size: int
    written_ns: int
    regular: bool

    @classmethod
    def of(cls, status: os.stat_result) -> Facts:
        """Take what stat says."""
        return cls(
            status.st_dev,
            status.st_ino,
            status.st_uid,
            status.st_gid,
            stat.S_IMODE(status.st_mode),
            status.st_nlink,
            status.st_size,
            status.st_mtime_ns,
            stat.S_ISREG(status.st_mode),
        )

    @property
    def identity(self) -> tuple[int, int]:
        """Which file it is."""
        return (self.device, self.inode)

    @property
    def closed(self) -> bool:
        """Whether nobody but who has rights beyond rights may open it."""
        return self.mode & 0o777 == 0


def facts_at(folder: int, name: str) -> Facts | None:
    """Say what lies there, following no link; None: nothing."""
    try:
        return Facts.of(os.stat(name, dir_fd=folder, follow_symlinks=False))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Trouble(f"{name}: {error.strerror}") from None


def open_at(folder: int, name: str, *, database: bool = False) -> int:
    """Open a plain file that is there, and has no second name: it could be anybody's.

    `database`: its header must be SQLite's. `Trouble` says what is wrong with it.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        fd = os.open(name, flags, dir_fd=folder)
    except OSError as error:
        what = "it is a link" if error.errno == errno.ELOOP else error.strerror
        raise Trouble(f"{name}: {what}") from None
    facts = Facts.of(os.fstat(fd))
    wrong = ""
    if not facts.regular:
        wrong = "it is no plain file"
    elif facts.links > 1:
        wrong = "it has a second name, and may be somebody else's file"
    elif database and facts.size and os.pread(fd, len(_HEADER), 0) != _HEADER:
        wrong = "it is no SQLite database"
    if wrong:
        os.close(fd)
        raise Trouble(f"{name}: {wrong}")
    return fd


# --- immutable ---------------------------------------------------------------------------


def _flags(fd: int) -> int:
    found = array.array("l", [0])
    fcntl.ioctl(fd, _GET_FLAGS, found, True)
    return found[0] & 0xFFFF_FFFF


def is_frozen(fd: int) -> bool:
    """Tell whether it is immutable."""
    try:
        return bool(_flags(fd) & _IMMUTABLE)
    except OSError:
        return False


def freeze(fd: int, *, value: bool = True) -> None:
    """Make it immutable; OSError where that is not to be had."""
    flags = _flags(fd)
    flags = flags | _IMMUTABLE if value else flags & ~_IMMUTABLE
    fcntl.ioctl(fd, _SET_FLAGS, array.array("l", [flags]))


def holds_open_descriptors(fd: int) -> bool:
    """Tell whether it lies where `immutable` is known to hold descriptors that are open."""
    if tuple(map(int, re.findall(r"\d+", os.uname().release)[:2])) < _EXT_HOLDS_SINCE:
        return False
    import ctypes  # noqa: PLC0415 - it is loaded before, and wanted for one number

    libc = ctypes.CDLL(None, use_errno=True)
    room = ctypes.create_string_buffer(256)
    if libc.fstatfs(fd, room) != 0:
        return False
    return int(struct.unpack_from("@l", room.raw)[0]) & 0xFFFF_FFFF == _EXT


def canary(folder: int) -> str:
    """Cut a file without a name in the folder; empty: an open descriptor could write no more."""
    try:
        fd = os.open(".", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600, dir_fd=folder)
    except OSError as error:
        return f"no file can be made in its folder: {error.strerror}"
    try:
        os.fchmod(fd, 0)
        os.fchown(fd, 0, 0)
        freeze(fd)
        try:
            os.pwrite(fd, b"?", 0)
        except PermissionError:
            return ""
        return "on this file system who has it open goes on writing"
    except OSError as error:
        return f"a file there cannot be made root's and immutable: {error.strerror}"
    finally:
        with suppress(OSError):
            freeze(fd, value=False)
        os.close(fd)


# --- locks and leases --------------------------------------------------------------------


def _lock(fd: int, kind: int, start: int, span: int) -> bool:
    try:
        fcntl.fcntl(fd, _OFD_SETLK, _LOCK.pack(kind, os.SEEK_SET, start, span, 0))
    except OSError:
        return False
    return True


def lock_out(fd: int, *, index: bool = False) -> bool:
    """Take the locks without which no SQLite commits; false: somebody writes just now.

    Shared ones do: a writer needs them alone. They last as long as the descriptor is open.
    """
    if index:
        return _lock(fd, fcntl.F_RDLCK, _WAL_WRITE, _WAL_SPAN)
    return _lock(fd, fcntl.F_RDLCK, _PENDING, _SPAN)


def clear_locks(fd: int, *, index: bool = False) -> None:
    """Let the locks go."""
    start, span = (_WAL_WRITE, _WAL_SPAN) if index else (_PENDING, _SPAN)
    _lock(fd, fcntl.F_UNLCK, start, span)


def nobody_writes(fd: int) -> bool | None:
    """Tell whether nobody has it open for writing, not even mapped; None: it cannot be known."""
    try:
        # Whoever opened it for writing meanwhile would have us signalled, by SIGIO, which kills.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return False if error.errno == errno.EAGAIN else None
    with suppress(OSError):
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return True
