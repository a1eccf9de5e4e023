"""What this command does by its own rights, when neither warden nor keeper answers (SR-11).

The cells are found below the one folder of the cgroup tree that belongs to this very
installation, by the list that its warden keeps on tmpfs. That list may be another user's,
so it only gives names: a path is used if it is `TREE/OURS/CELL` and nothing else. A cell is
killed by one write to its `cgroup.kill`, if we may; whether it is empty is then seen from
`cgroup.events`. Without cgroups the cell's first process and what shares its session is
killed. All that is *commanded*; without a warden nothing is *confirmed*.
"""

from __future__ import annotations

import os
import time

from offswitch.cli.quick_json import loads
from offswitch.cli.words import covers

__all__ = ["Cell", "cells_of"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from offswitch.control.place import Place

_MOST = 4 << 20
_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_SIGKILL = 9


class Cell:
    """One target's cell as this command sees it."""

    __slots__ = (
        "commanded_ns",
        "effect_ns",
        "kind",
        "labels",
        "leader",
        "name",
        "path",
        "slot",
        "trouble",
    )

    def __init__(self, facts: dict[str, Any], path: str | None, *, trusted: bool) -> None:
        """Hold what a list says of a target; a pid is taken only from a `trusted` one."""
        own = facts.get("facts")
        labels = facts.get("labels")
        slot = facts.get("slot")
        self.name = str(facts.get("target"))
        self.kind = str(facts.get("kind") or "process")
        self.labels = labels if isinstance(labels, dict) else {}
        self.slot = slot if isinstance(slot, int) else -1
        self.path = path
        self.leader = _leader(own) if isinstance(own, dict) and trusted else None
        self.commanded_ns: int | None = None
        """When it was commanded, CLOCK_MONOTONIC."""
        self.effect_ns: int | None = None
        """When it was seen empty, likewise."""
        self.trouble = ""
        """Why it could not be commanded."""

    def kill(self) -> None:
        """Kill it, if our rights allow."""
        if self.path is None:
            self._kill_session()
            return
        try:
            fd = os.open(f"{self.path}/cgroup.kill", os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(fd, b"1")
            finally:
                os.close(fd)
        except OSError as error:
            self.trouble = f"not ours to kill: {os.strerror(error.errno or 0)}"
            return
        self.commanded_ns = time.monotonic_ns()

    def _kill_session(self) -> None:
        """Kill the first process, if it is still that very one, and what shares its session."""
        if self.leader is None or _began(self.leader[0]) != self.leader[1]:
            self.trouble = "its first process is gone: what that left cannot be found from here"
            return
        first = self.leader[0]
        self.trouble = (
            "its session is killed; whether more of it lives cannot be told without cgroups"
        )
        members = [pid for pid in _pids() if pid != first and _session(pid) == first]
        for pid in (first, *members):
            try:
                os.kill(pid, _SIGKILL)
                self.commanded_ns = time.monotonic_ns()
            except OSError as error:
                self.trouble = f"not ours to kill: {os.strerror(error.errno or 0)}"

    def look(self) -> bool | None:
        """Tell whether anything lives in it; None: it cannot be told."""
        if self.path is None:
            return None
        try:
            text = _content(f"{self.path}/cgroup.events", 4096)
        except FileNotFoundError:
            text = b"populated 0\n"  # a cell is removed only once it is empty
        except OSError:
            return None
        alive = b"populated 0" not in text
        if not alive and self.effect_ns is None:
            self.effect_ns = time.monotonic_ns()
        return alive

    def pids(self) -> int:
        """Count its processes."""
        try:
            return len(_content(f"{self.path}/cgroup.procs", 1 << 20).split())
        except OSError:
            return 0


def cells_of(place: Place, scopes: list[str]) -> list[Cell]:
    """List the cells of `place` that one of `scopes` covers; empty if the list is unreadable."""
    path = f"{place.memory}/cells.json"
    try:
        trusted = os.lstat(path).st_uid in {0, os.geteuid()}
        rows = loads(_content(path, _MOST))["cells"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    tree = f"{_tree()}/{place.cgroup}"
    found = []
    for facts in rows if isinstance(rows, list) else []:
        if not isinstance(facts, dict):
            continue
        at = facts.get("path")
        own = facts.get("facts")
        adopted = trusted and isinstance(own, dict) and own.get("adopted")
        if at is not None and not (_lawful(str(at), tree) or (adopted and _below(str(at)))):
            continue
        cell = Cell(facts, None if at is None else str(at), trusted=trusted)
        if any(covers(scope, cell.name, cell.labels) for scope in scopes):
            found.append(cell)
    return found


def _lawful(path: str, tree: str) -> bool:
    """Tell whether `path` is a cell right below a folder of this installation's own name.

    A warden without root has that folder in the part of the tree that was given to it.
    """
    folder, _, name = path.rpartition("/")
    mount, _, ours = tree.rpartition("/")
    inside = folder.startswith(f"{mount}/") and folder.endswith(f"/{ours}") and "/.." not in folder
    return inside and bool(name.strip(".")) and _NAME.issuperset(name)


def _below(path: str) -> bool:
    """Tell whether `path` is a cgroup that others made, somewhere below the tree's root."""
    tree = _tree() + "/"
    return path.startswith(tree) and len(path) > len(tree) and ".." not in path.split("/")


def _tree() -> str:
    """Find where cgroup v2 is mounted."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            fields = line.split(" ")
            if fields[fields.index("-") + 1] == "cgroup2":
                return fields[4]
    return "/sys/fs/cgroup"


def _leader(facts: dict[str, Any]) -> tuple[int, str] | None:
    """Give the first process and when it began; only if it is still that very process."""
    first = "init" if "init" in facts else "leader"  # a namespace ends with its init
    pid, start = facts.get(first), facts.get(f"{first}_start")
    if not isinstance(pid, int) or not isinstance(start, int) or pid <= 1:
        return None
    return pid, str(start)


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) > 1]


def _fields(pid: int) -> list[str]:
    """Give the fields of /proc/PID/stat after the name: state, parent, group and session first."""
    try:
        text = _content(f"/proc/{pid}/stat", 4096).decode(errors="replace")
    except OSError:
        return []
    return text[text.rindex(")") + 2 :].split()


def _began(pid: int) -> str:
    """Say when a process began, in clock ticks since boot; nothing if it is gone."""
    return (_fields(pid)[19:20] or [""])[0]


def _session(pid: int) -> int:
    return int((_fields(pid)[3:4] or ["0"])[0])


def _content(path: str, most: int) -> bytes:
    """Read a file without ever waiting for it: no link is followed, no FIFO opened to wait."""
    fd = os.open(path, _READ)
    try:
        parts = []
        while most > 0 and (data := os.read(fd, min(most, 1 << 16))):
            parts.append(data)
            most -= len(data)
        return b"".join(parts)
    finally:
        os.close(fd)
