"""A search of /proc for processes that are a target's and run outside of its cell (MON-3).

    born in the cell    its environment names the pipe that the cell was born with
    left the cell       it was seen in the cell, and is there no longer
    of its user         it bears the target's user id, which nobody else has
    descended           its parent is one of these, or was a process of the cell

One search serves all targets of an eye. Each time it looks at every process that is new or
younger than three seconds, at all that it has found, and at some of the rest in turn, so that
what changes its user later is found as well; it reads /proc and nothing else. The list of all
processes is taken before that of the cells: what is then in no cell was born in none.

A target's user is its own where it was allotted, or where nobody outside of the cell bore it
when the target was first seen. Of a user whom others have, such as a person's, only birth,
leaving and descent tell. What clears its environment, changes its user and lets its parent die
between two searches is not found here; with cgroups it can do neither of the first two and
leave the cell as well. Where there are no cgroups, whoever is younger than a second is let
be: the warden's list of the cell may be older.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from offswitch.clock import Clock
from offswitch.watch.sensors.contract import CellFacts
from offswitch.watch.sensors.processes.outsiders import Outsider
from offswitch.watch.sensors.processes.proc import (
    Born,
    born,
    ids_of,
    pids_below,
    processes,
    started_us,
)

__all__ = ["Outside"]

_EVERY_US = 400_000
_YOUNG_US = 3_000_000
_SETTLED_US = 1_000_000
_IN_TURN = 100
_MOST_MEMBERS = 65_536
_MOST_FOUND = 2_000
_MOST_ENVIRONMENT = 32 << 10
_ALLOTTED = 1_900_000_000
"""From here on user ids are one target's alone (`warden.cells.users`)."""


@dataclass(slots=True)
class _Looked:
    """What is known of a process that is in no cell."""

    first_us: int
    uid: int = -1


@dataclass(frozen=True, slots=True)
class _Found:
    """One that was found."""

    start: int
    target: str
    outsider: Outsider


class Outside:
    """Searches for all targets of `cells`, at most so often."""

    def __init__(self, cells: Mapping[str, CellFacts], clock: Clock) -> None:
        """Have seen nobody yet."""
        self._cells = cells
        self._clock = clock
        self._members: OrderedDict[int, tuple[int, str]] = OrderedDict()
        self._inside: dict[int, str] = {}
        self._looked: dict[int, _Looked] = {}
        self._found: dict[int, _Found] = {}
        self._shared: dict[int, bool] = {}
        self._own: dict[int, str] = {}
        self._turn = 0
        self._searched_us: int | None = None

    def of(self, target: str) -> list[Outsider]:
        """Give those of one target, found just now or a moment ago."""
        now_us = self._clock.mono_us()
        if self._searched_us is None or now_us - self._searched_us >= _EVERY_US:
            self._searched_us = now_us
            self._search(now_us)
        return [found.outsider for found in self._found.values() if found.target == target]

    def _search(self, now_us: int) -> None:
        pids = processes()
        inside = self._members_of_cells()
        outside = [pid for pid in pids if pid not in inside]
        gone = self._looked.keys() - set(outside)
        for pid in gone:
            del self._looked[pid]
        for pid in outside:
            self._looked.setdefault(pid, _Looked(now_us))
        chosen = self._chosen(outside, now_us)
        doubtful = [pid for pid in chosen if self._doubtful(pid, now_us)]
        owners = self._own = self._owners()
        pipes = self._pipes()
        alive = set(outside)
        for pid, found in list(self._found.items()):
            if pid not in alive or found.target not in self._cells or not _same(pid, found.start):
                del self._found[pid]
        for pid in doubtful:
            if pid not in self._found and len(self._found) < _MOST_FOUND:
                self._judge(pid, owners, pipes)

    def _doubtful(self, pid: int, now_us: int) -> bool:
        """Take in what may change of a process, and tell whether it is to be judged (again)."""
        looked = self._looked[pid]
        before = looked.uid
        looked.uid, parent = ids_of(pid)
        young = now_us - looked.first_us < _YOUNG_US
        tied = pid in self._members or parent in self._members or parent in self._found
        return young or tied or looked.uid != before or looked.uid in self._own

    def _members_of_cells(self) -> dict[int, str]:
        """List who is in which cell, and remember who was."""
        inside: dict[int, str] = {}
        for target, cell in self._cells.items():
            try:
                pids = list(cell.pids) if cell.path is None else pids_below(cell.path)
            except OSError:
                continue  # the cell is gone: nobody is in it
            inside.update(dict.fromkeys(pids, target))
        for pid, target in inside.items():
            if self._inside.get(pid) == target:
                continue
            who = born(pid)
            if who is not None:
                self._members[pid] = (who.start, target)
                self._members.move_to_end(pid)
        while len(self._members) > _MOST_MEMBERS:
            self._members.popitem(last=False)
        self._inside = inside
        return inside

    def _chosen(self, outside: list[int], now_us: int) -> list[int]:
        """Choose whom to look at: the new and young, those who left, and some in turn."""
        chosen = [
            pid
            for pid in outside
            if now_us - self._looked[pid].first_us < _YOUNG_US or pid in self._members
        ]
        at = self._turn % max(len(outside), 1)
        chosen += outside[at : at + _IN_TURN]
        self._turn = at + _IN_TURN if at + _IN_TURN < len(outside) else 0
        return list(dict.fromkeys(chosen))

    def _owners(self) -> dict[int, str]:
        """Give whose a user id is, of those that are one target's alone."""
        owners: dict[int, str] = {}
        for target, cell in self._cells.items():
            uid = cell.uid
            if not uid:
                continue
            if uid not in self._shared:
                taken = any(one.uid == uid for one in self._looked.values())
                self._shared[uid] = taken and uid < _ALLOTTED
            if uid in owners and owners[uid] != target:
                self._shared[uid] = True  # of two targets: it tells neither
            owners[uid] = target
        return {uid: target for uid, target in owners.items() if not self._shared[uid]}

    def _pipes(self) -> dict[str, str]:
        """Give the target of each pipe that a cell was born with, by the pipe's inode."""
        pipes = {}
        for target, cell in self._cells.items():
            if cell.report:
                try:
                    pipes[str(os.stat(cell.report, follow_symlinks=False).st_ino)] = target
                except OSError:
                    continue  # it has none: its guard cannot report either
        return pipes

    def _judge(self, pid: int, owners: Mapping[int, str], pipes: Mapping[str, str]) -> None:
        who = born(pid)
        if who is None or who.kernel:
            return
        target, why = self._tie(who, owners, pipes)
        cell = self._cells.get(target)
        if cell is None:
            return
        wall_us, boot_us = self._clock.wall_us(), self._clock.boot_us()
        since_us = started_us(who.start, wall_us, boot_us)
        if cell.path is None and wall_us - since_us < _SETTLED_US:
            return
        self._found[pid] = _Found(who.start, target, Outsider(pid, who.name, since_us, why))

    def _tie(
        self, who: Born, owners: Mapping[int, str], pipes: Mapping[str, str]
    ) -> tuple[str, str]:
        """Say whose it is, and why; empty: nobody's."""
        start, target = self._members.get(who.pid, (-1, ""))
        if start == who.start:
            return target, "it left the cell"
        target = owners.get(self._looked[who.pid].uid, "")
        if target:
            return target, "it bears the target's user"
        target = pipes.get(_pipe_of(who.pid), "") if pipes else ""
        if target:
            return target, "it was born in the cell"
        start, target = self._members.get(who.parent, (who.start + 1, ""))
        if start <= who.start and target and _same(who.parent, start):
            return target, "its parent is of the cell"
        parent = self._found.get(who.parent)
        if parent is not None:
            return parent.target, "its parent is one of these"
        return "", ""


def _same(pid: int, start: int) -> bool:
    """Whether a pid still is the process that began at `start`, and lives."""
    who = born(pid)
    return who is not None and who.start == start


def _pipe_of(pid: int) -> str:
    """Give the inode of the pipe that its environment names as that of its reports."""
    try:
        fd = os.open(f"/proc/{pid}/environ", os.O_RDONLY | os.O_CLOEXEC)
        try:
            data = os.read(fd, _MOST_ENVIRONMENT)
        finally:
            os.close(fd)
    except OSError:
        return ""
    for pair in data.split(b"\0"):
        if pair.startswith(b"OFFSWITCH_REPORT="):
            return pair.rpartition(b":")[2].decode("ascii", "replace")
    return ""
