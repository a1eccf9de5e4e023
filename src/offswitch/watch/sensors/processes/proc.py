"""What /proc and a cgroup say of processes, read in bounded pieces.

The list of a cgroup is the kernel's: a process cannot leave it by forking. Names are the
processes' own and may hold anything; whoever shows one escapes it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from offswitch.control.ids import DRILL

__all__ = [
    "Born",
    "born",
    "ids_of",
    "pids_below",
    "processes",
    "small",
    "started_us",
    "without_canary",
]

_MOST = 4096
_MOST_GROUPS = 256
_LARGEST = 1 << 16
_LATELY = 32


@dataclass(frozen=True, slots=True)
class Born:
    """Who a process is and whose child."""

    pid: int
    start: int
    """In ticks since the boot: with the pid it names one process for good."""
    parent: int
    name: str
    """As the kernel shows it, at most 15 bytes; the process's own choice."""
    kernel: bool
    """Whether it is a thread of the kernel's, which nobody started."""


def small(path: str) -> str:
    """Read a small file of the kernel's; raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, _LARGEST).decode("ascii", "replace")
    finally:
        os.close(fd)


def without_canary(pids: list[int]) -> list[int]:
    """Leave out a canary of the warden's, which tries whether a gateway can be gone round.

    One at most: its user is nobody's else, but a target that is root could take it.
    """
    for pid in sorted(pids)[-_LATELY:]:
        try:
            if os.stat(f"/proc/{pid}").st_uid == DRILL:
                return [each for each in pids if each != pid]
        except OSError:
            continue
    return pids


def pids_below(folder: str) -> list[int]:
    """List the processes of a cgroup and those below it, so many at most."""
    pids: list[int] = []
    folders = [folder]
    for _ in range(_MOST_GROUPS):
        if not folders or len(pids) > _MOST:
            break
        here = folders.pop()
        try:
            pids.extend(int(word) for word in small(f"{here}/cgroup.procs").split())
            with os.scandir(here) as entries:
                folders.extend(
                    entry.path for entry in entries if entry.is_dir(follow_symlinks=False)
                )
        except OSError:
            if here == folder:
                raise
    return pids[:_MOST]


def processes() -> list[int]:
    """List all processes."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def born(pid: int) -> Born | None:
    """Say who a process is; None if it is gone, or dead and not reaped."""
    try:
        # The name in brackets is the process's own and may hold anything, brackets included.
        head, _, tail = small(f"/proc/{pid}/stat").rpartition(")")
        fields = tail.split()
        if fields[0] in {"Z", "X", "x"}:
            return None
        flags, parent, start = int(fields[6]), int(fields[1]), int(fields[19])
    except (OSError, IndexError, ValueError):
        return None
    return Born(pid, start, parent, head.partition("(")[2], bool(flags & _PF_KTHREAD))


_PF_KTHREAD = 0x0020_0000


def ids_of(pid: int) -> tuple[int, int]:
    """Give the real user id of a process and its parent; -1 and 0 if it is gone."""
    uid, parent = -1, 0
    try:
        for line in small(f"/proc/{pid}/status").splitlines():
            if line.startswith("PPid:"):
                parent = int(line.split()[1])
            elif line.startswith("Uid:"):
                uid = int(line.split()[1])
                break
    except (OSError, ValueError, IndexError):
        pass
    return uid, parent


def started_us(start: int, wall_us: int, boot_us: int) -> int:
    """Give when a process began, UTC in microseconds, from its start in ticks.

    `boot_us`: how long the machine has been up, suspends included, at `wall_us`.
    """
    return wall_us - boot_us + start * (1_000_000 // os.sysconf("SC_CLK_TCK"))
