"""Limits on a cell's processes and memory, and by what means they are held here.

By default 512 processes and four fifths of the machine's memory: enough for real work,
and a fork bomb or a leak leaves the machine, and us, alive. Three means, the first that
is there: the v2 controller; a v1 twin of the cell; resource limits of each process, which
are weaker (RLIMIT_NPROC counts per user over the whole machine, RLIMIT_AS per process).
`status` and `doctor` say which.
"""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass

__all__ = ["Held", "Limits", "default_limits", "hold_cgroups", "hold_in_cgroup", "hold_in_process"]

_PROCESSES = 512
_CGROUPS, _DEPTH = 512, 16


@dataclass(frozen=True, slots=True)
class Limits:
    """What a cell may use at most."""

    processes: int | None = _PROCESSES
    """Processes and threads together; None: no limit."""
    memory: int | None = None
    """Bytes; None: no limit."""


@dataclass(frozen=True, slots=True)
class Held:
    """By what each limit is held: `cgroup v2`, `cgroup v1`, `rlimit` or `nothing`."""

    processes: str = "nothing"
    memory: str = "nothing"

    def sentence(self) -> str:
        """Say it to people."""
        return f"limit on processes by {self.processes}, on memory by {self.memory}"


def default_limits() -> Limits:
    """Give the limits of a target that declares none: 512 processes, 4/5 of the memory."""
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return Limits(_PROCESSES, pages * size // 5 * 4)


def _write(path: str, value: int | None) -> bool:
    text = "max" if value is None else str(value)
    if value is None and path.endswith("memory.limit_in_bytes"):
        text = "-1"
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.write(fd, text.encode())
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def hold_in_cgroup(limits: Limits, v2: str, v1: dict[str, str]) -> Held:
    """Write `limits` into the cell's folders (`v1`: controller → twin); say what took."""
    processes = "nothing"
    if _write(f"{v2}/pids.max", limits.processes):
        processes = "cgroup v2"
    elif "pids" in v1 and _write(f"{v1['pids']}/pids.max", limits.processes):
        processes = "cgroup v1"
    memory = "nothing"
    if _write(f"{v2}/memory.max", limits.memory):
        memory = "cgroup v2"
    elif "memory" in v1 and _write(f"{v1['memory']}/memory.limit_in_bytes", limits.memory):
        memory = "cgroup v1"
    return Held(
        "rlimit" if processes == "nothing" and limits.processes else processes,
        "rlimit" if memory == "nothing" and limits.memory else memory,
    )


def hold_cgroups(v2: str) -> None:
    """Limit what may be made below a cell: a root target could make cgroups without end."""
    _write(f"{v2}/cgroup.max.descendants", _CGROUPS)
    _write(f"{v2}/cgroup.max.depth", _DEPTH)


def hold_in_process(limits: Limits, held: Held) -> None:
    """In the child: set the resource limits that stand in for a missing controller."""
    if held.processes == "rlimit" and limits.processes:
        _lower(resource.RLIMIT_NPROC, limits.processes)
    if held.memory == "rlimit" and limits.memory:
        _lower(resource.RLIMIT_AS, limits.memory)


def _lower(kind: int, value: int) -> None:
    _soft, hard = resource.getrlimit(kind)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(kind, (value, value))
