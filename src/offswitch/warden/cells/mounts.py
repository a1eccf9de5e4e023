"""Mounting by the calls that work on descriptors (open_tree(2), move_mount(2), mount_setattr(2)).

A *tree* here is a detached copy of what lies at a path: it can be given its properties
before anything is changed, and be put back at the same path when all above has been
covered. Linux 5.12 or newer.
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct

from offswitch.warden.cells import kernel

__all__ = [
    "Mapping",
    "bind_read_only",
    "cover",
    "harden",
    "lend",
    "own_namespace",
    "place",
    "process_files",
    "seal",
    "take",
    "user_namespace",
]

_SYS_OPEN_TREE, _SYS_MOVE_MOUNT, _SYS_MOUNT_SETATTR = 428, 429, 442
_AT_FDCWD = -100
_AT_EMPTY_PATH, _AT_RECURSIVE = 0x1000, 0x8000
_OPEN_TREE_CLONE = 1
_MOVE_MOUNT_F_EMPTY_PATH = 4
_RDONLY, _NOSUID, _NODEV, _IDMAP = 1, 2, 4, 0x100000
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 1, 2, 4, 8
_MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 32, 4096, 16384, 1 << 18
_CLONE_NEWNS, _CLONE_NEWUSER = 0x20000, 0x10000000

Mapping = list[tuple[int, int, int]]
"""Ranges of (id on the disk, id as it is seen, how many)."""


def _unshare(flags: int) -> None:
    if kernel.libc().unshare(ctypes.c_int(flags)) < 0:
        raise kernel.failure("unshare")


def _mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None) -> None:
    encoded = [None if text is None else os.fsencode(text) for text in (source, kind, data)]
    result = kernel.libc().mount(
        encoded[0], os.fsencode(target), encoded[1], ctypes.c_ulong(flags), encoded[2]
    )
    if result < 0:
        raise kernel.failure(f"mount {target}")


def own_namespace() -> None:
    """Leave the mounts of the machine for a copy that nothing comes out of, and nothing into."""
    _unshare(_CLONE_NEWNS)
    _mount(None, "/", None, _MS_REC | _MS_PRIVATE, None)


def user_namespace(users: Mapping, groups: Mapping) -> int:
    """Make a user namespace with these mappings; return a descriptor of it.

    A process is needed to hold it until it is open; it is ours alone, and killed here.
    """
    ready_out, ready_in = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            _unshare(_CLONE_NEWUSER)
            os.write(ready_in, b"1")
            signal.pause()
        finally:
            os._exit(1)
    os.close(ready_in)
    try:
        if os.read(ready_out, 1) != b"1":
            raise OSError(1, "no user namespace can be made here")
        _map(pid, "uid_map", users)
        _map(pid, "gid_map", groups)
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(ready_out)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _map(pid: int, name: str, mapping: Mapping) -> None:
    text = "".join(f"{disk} {seen} {count}\n" for disk, seen, count in mapping)
    fd = os.open(f"/proc/{pid}/{name}", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def take(path: str) -> int:
    """Copy the tree at `path`, with all that is mounted below it; return its descriptor."""
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | _AT_RECURSIVE
    return kernel.syscall(
        f"open_tree {path}", _SYS_OPEN_TREE, _AT_FDCWD, ctypes.c_char_p(os.fsencode(path)), flags
    )


def _set(tree: int, flags: int, attributes: int, userns: int = 0) -> None:
    payload = ctypes.create_string_buffer(struct.pack("=QQQQ", attributes, 0, 0, userns), 32)
    kernel.syscall(
        "mount_setattr", _SYS_MOUNT_SETATTR, tree, ctypes.c_char_p(b""), flags, payload, 32
    )


def lend(tree: int, userns: int) -> None:
    """Show the files of `tree` under the ids of `userns`; of what is mounted in it if it can be."""
    try:
        _set(tree, _AT_EMPTY_PATH | _AT_RECURSIVE, _IDMAP, userns)
    except OSError:
        _set(tree, _AT_EMPTY_PATH, _IDMAP, userns)


def harden(tree: int, *, read_only: bool) -> None:
    """Take set-user-id bits and devices from `tree`, and writing if asked."""
    attributes = _NOSUID | _NODEV | (_RDONLY if read_only else 0)
    _set(tree, _AT_EMPTY_PATH | _AT_RECURSIVE, attributes)


def place(tree: int, path: str) -> None:
    """Put `tree` at `path`, and close it."""
    kernel.syscall(
        f"move_mount {path}",
        _SYS_MOVE_MOUNT,
        tree,
        ctypes.c_char_p(b""),
        _AT_FDCWD,
        ctypes.c_char_p(os.fsencode(path)),
        _MOVE_MOUNT_F_EMPTY_PATH,
    )
    os.close(tree)


def cover(path: str) -> None:
    """Cover a folder by an empty one in memory, open for passing through; sealed by `seal`."""
    flags = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
    _mount("offswitch", path, "tmpfs", flags, "mode=0755,size=1m,nr_inodes=4096")


def seal(path: str) -> None:
    """Make a cover read-only, now that it holds what it should."""
    flags = _MS_REMOUNT | _MS_BIND | _MS_RDONLY | _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
    _mount(None, path, None, flags, None)


def process_files(path: str) -> None:
    """Show the processes of this PID namespace, and no others, at `path`."""
    _mount("proc", path, "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC, None)


def bind_read_only(source: str, target: str) -> None:
    """Show `source` at `target` (it may be the same path), read-only."""
    tree = take(source)
    try:
        harden(tree, read_only=True)
    except OSError:
        os.close(tree)
        raise
    place(tree, target)
