"""What /proc shows of processes, for `discover`: command line, cgroup, libraries, devices, sockets.

Everything is read in bounded pieces and nothing is run or followed. What another user's process
keeps closed to us stays unknown, and is counted as such.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from offswitch.host.discover.signs import GPU_DEVICES, LIBRARIES
from offswitch.watch.sensors.processes.proc import born, ids_of, processes
from offswitch.watch.sensors.processes.tcp import LISTENS, TcpSocket, sockets_of, table_of

__all__ = ["Seen", "everything"]

_LONGEST = 64 << 10
_MOST_MAPS = 1 << 20
_MOST_PROCESSES = 32_768
_MOST_DESCRIPTORS = 1_024


@dataclass(frozen=True, slots=True)
class Seen:
    """One process."""

    pid: int
    parent: int
    start: int
    comm: str
    argv: tuple[str, ...]
    """Hostile text, as the process has it."""
    uid: int
    cgroup: str
    """From the root of the v2 tree; empty: none."""
    libraries: tuple[str, ...] = ()
    """Which of those that we know are mapped."""
    gpus: tuple[str, ...] = ()
    """Devices of accelerators that it has open."""
    listens: tuple[TcpSocket, ...] = ()
    here: bool = True
    """Whether its network is ours, so that where it listens we could ask."""
    closed: bool = False
    """Whether its maps and descriptors are closed to us."""


@dataclass(slots=True)
class _Open:
    libraries: set[str] = field(default_factory=set)
    gpus: set[str] = field(default_factory=set)
    listens: list[TcpSocket] = field(default_factory=list)
    here: bool = True
    closed: bool = False


def everything(pids: Sequence[int] | None = None) -> list[Seen]:
    """Look at all processes, or those that are named, but for the kernel's threads and our own."""
    tables: dict[str, dict[int, TcpSocket]] = {}
    found = []
    for pid in islice(processes() if pids is None else pids, _MOST_PROCESSES):
        if pid == os.getpid():
            continue
        who = born(pid)
        if who is None or who.kernel:
            continue
        try:
            uid = ids_of(pid)[0]
            argv = _text(f"/proc/{pid}/cmdline").split("\0")[:256]
            cgroup = _cgroup(pid)
        except OSError:
            continue  # it has ended
        had = _opened(pid, tables)
        found.append(
            Seen(
                pid,
                who.parent,
                who.start,
                who.name,
                tuple(argv),
                uid,
                cgroup,
                tuple(sorted(had.libraries)),
                tuple(sorted(had.gpus)),
                tuple(had.listens),
                had.here,
                had.closed,
            )
        )
    return found


def _text(path: str, most: int = _LONGEST) -> str:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    parts: list[bytes] = []
    try:
        while most > 0 and (part := os.read(fd, min(most, 1 << 16))):
            parts.append(part)
            most -= len(part)
    finally:
        os.close(fd)
    return b"".join(parts).decode("utf-8", "backslashreplace")


def _cgroup(pid: int) -> str:
    for line in _text(f"/proc/{pid}/cgroup").splitlines():
        if line.startswith("0::"):
            return line[3:].removesuffix(" (deleted)")
    return ""


def _opened(pid: int, tables: dict[str, dict[int, TcpSocket]]) -> _Open:
    """Say which libraries are mapped, which accelerators and listening sockets are open."""
    had = _Open()
    try:
        maps = _text(f"/proc/{pid}/maps", _MOST_MAPS)
        for name, parts in LIBRARIES:
            if any(part in maps for part in parts):
                had.libraries.add(name)
        had.gpus.update(_devices(pid))
        had.here = os.readlink(f"/proc/{pid}/ns/net") == os.readlink("/proc/self/ns/net")
        had.listens = _listening(pid, tables)
    except PermissionError:
        had.closed = True
    except OSError:
        pass  # it has ended: what was seen is what is told
    return had


def _devices(pid: int) -> set[str]:
    devices = set()
    with os.scandir(f"/proc/{pid}/fd") as entries:
        for entry in islice(entries, _MOST_DESCRIPTORS):
            try:
                points_to = os.readlink(entry.path)
            except OSError:
                continue
            if points_to.startswith(GPU_DEVICES):
                devices.add(points_to[:60])
    return devices


def _listening(pid: int, tables: dict[str, dict[int, TcpSocket]]) -> list[TcpSocket]:
    space = os.readlink(f"/proc/{pid}/ns/net")
    if space not in tables:
        table: Mapping[int, TcpSocket] = table_of(pid)
        tables[space] = {key: one for key, one in table.items() if one.state == LISTENS}
    listening = tables[space]
    return (
        [listening[inode] for inode in sockets_of(pid) if inode in listening] if listening else []
    )
