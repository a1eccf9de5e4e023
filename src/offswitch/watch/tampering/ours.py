"""Our processes, from outside: is one traced, stopped, slowed, or otherwise made over?

Which they are is the kernel's word: the warden is who holds the lock on `warden.lock`
(/proc/locks), the others are its children outside every cell, and watch itself. Of each:

    traced     TracerPid is not 0              stopped   its state is T or t
    made over  what it does with signals, its niceness, CPUs, control group or the memory
               killer's mercy are not what they were two seconds after it began

None of these can be set by a signal handler or an argument of ours, so whoever sets them is
somebody else. A process that runs a new program (a hand-over, SR-23) is looked at anew: the
kernel then shows another stack.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from offswitch.control.place import Place
from offswitch.watch.tampering.small import kernels

__all__ = ["Ours", "lock_holder"]

_SETTLED_S = 2.0
_KEPT = ("SigIgn", "SigCgt", "Cpus_allowed_list")
_MOST = 64


@dataclass(frozen=True, slots=True)
class _Process:
    """What /proc says of one."""

    life: tuple[str, str]
    """Its start and its stack: another program or process has others."""
    age_s: float
    tracer: str
    state: str
    kept: tuple[tuple[str, str], ...]
    """What does not change by itself."""


def lock_holder(path: str) -> int:
    """Give the pid that holds the lock on a file; 0: nobody does, or it cannot be told."""
    try:
        inode = str(os.stat(path, follow_symlinks=False).st_ino)
        rows = [line.split() for line in kernels("/proc/locks").splitlines()]
    except OSError:
        return 0
    for row in rows:
        if len(row) > 5 and row[1] == "FLOCK" and row[5].rpartition(":")[2] == inode:  # noqa: PLR2004
            return int(row[4]) if row[4].isdigit() else 0
    return 0


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in kernels(f"/proc/{pid}/task/{pid}/children").split()]
    except (OSError, ValueError):
        return []


def _look(pid: int) -> _Process | None:
    """Look at one process; None if it is gone."""
    try:
        fields = kernels(f"/proc/{pid}/stat").rpartition(")")[2].split()
        lines = kernels(f"/proc/{pid}/status").splitlines()
        group = kernels(f"/proc/{pid}/cgroup")
        mercy = kernels(f"/proc/{pid}/oom_score_adj").strip()
        status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
        age_s = _since_boot() - int(fields[19]) / os.sysconf("SC_CLK_TCK")
        kept = [(name, status[name].strip()) for name in _KEPT]
        kept += [("niceness", fields[16]), ("control group", group), ("mercy", mercy)]
        life = (fields[19], fields[25])
        return _Process(life, age_s, status["TracerPid"].strip(), fields[0], tuple(kept))
    except (OSError, IndexError, KeyError, ValueError):
        return None


def _since_boot() -> float:
    return float(kernels("/proc/uptime").split()[0])


@dataclass(slots=True)
class _Known:
    """One of ours, as it was."""

    life: tuple[str, str]
    since_s: float
    """When this life was first seen, in seconds since boot."""
    kept: tuple[tuple[str, str], ...] | None = None
    """What it was once it had settled."""


class Ours:
    """All processes of ours, as they were and as they are."""

    __slots__ = ("_known", "_place", "_watch")

    def __init__(self, place: Place, watch: int) -> None:
        """`watch` is the pid of the watch process, whose children we are."""
        self._place = place
        self._watch = watch
        self._known: dict[int, _Known] = {}

    def wrong(self, cells: Collection[int]) -> Iterator[tuple[str, bool]]:
        """Say what is wrong, and whether it lasts (else it has happened just now).

        `cells` are the processes of targets.
        """
        known: dict[int, _Known] = {}
        uptime = _since_boot()
        warden = lock_holder(self._place.lock)
        for pid in self._pids(warden, cells):
            now = _look(pid)
            if now is None or now.state in "ZX":
                continue
            name = {warden: "the warden", self._watch: "watch"}.get(pid, "a helper of ours")
            who = f"{name} (pid {pid})"
            if now.tracer != "0":
                yield f"{who} is traced by pid {now.tracer}", True
            if now.state in "Tt":
                yield f"{who} is stopped", True
            one = self._known.get(pid)
            if one is None and now.age_s >= _SETTLED_S:
                one = _Known(now.life, uptime, now.kept)  # we came later than it
            elif one is None or one.life != now.life:
                one = _Known(now.life, uptime)
            if one.kept is None and uptime - one.since_s >= _SETTLED_S:
                one.kept = now.kept
            elif one.kept is not None and one.kept != now.kept:
                changed = sorted(key for key, _ in set(now.kept) - set(one.kept))
                one.kept = now.kept
                yield f"{who} was made over: {', '.join(changed)}", False
            known[pid] = one
        self._known = known

    def _pids(self, warden: int, cells: Collection[int]) -> list[int]:
        pids = [self._watch] if self._watch > 1 else []
        if warden:
            mark = f"/{self._place.cgroup}/"
            children = _children(warden)[: _MOST * 4]
            pids += [one for one in children if one not in cells and not _in_cell(one, mark)]
            pids.append(warden)
        return list(dict.fromkeys(pids))[:_MOST]


def _in_cell(pid: int, mark: str) -> bool:
    """Tell whether a process lies in a cell of ours; in doubt it is looked at."""
    try:
        return mark in kernels(f"/proc/{pid}/cgroup").replace("\n", "/\n")
    except OSError:
        return True
