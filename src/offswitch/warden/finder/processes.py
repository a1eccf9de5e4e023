"""What /proc says of the processes of a cgroup: who they are, and whether others are there too.

A program is found by its name as the kernel shows it. A process bears its parent's name
until it execs, so what was born within the last two seconds is looked at again and again.
Names are hostile: a process may call itself what it likes, and so put itself under the
switch; that harms itself alone, since a cgroup that holds anything else is not adopted.
"""

from __future__ import annotations

import os

__all__ = ["Programs", "cgroup_of", "members", "strangers", "uids_of"]

_YOUNG_NS = 2_000_000_000
_ALL_EVERY_NS = 1_000_000_000
_LOOKED_AT = 64


def cgroup_of(pid: int) -> str:
    """Give the v2 cgroup of a process, from the tree's root; nothing if it is gone."""
    for line in _read(f"/proc/{pid}/cgroup").splitlines():
        if line.startswith("0::"):
            return line[3:].removesuffix(" (deleted)")
    return ""


def members(folder: str) -> list[int]:
    """List the processes of a cgroup and of all below it."""
    found: list[int] = []
    for each, _folders, _files in os.walk(folder):
        found += [int(line) for line in _read(f"{each}/cgroup.procs").split()]
    return found


def uids_of(pids: list[int]) -> list[int]:
    """List under which users some of these run."""
    found: set[int] = set()
    for pid in pids[:_LOOKED_AT]:
        for line in _read(f"/proc/{pid}/status").splitlines():
            if line.startswith("Uid:"):
                found.update(int(word) for word in line.split()[1:])
    return sorted(found)


def strangers(pids: list[int], program: str = "", leader: int = 0) -> list[str]:
    """Name the processes among `pids` that are neither the program (or leader) nor below it."""
    own = {pid for pid in pids if pid == leader or (program and _comm(pid) == program)}
    parents = {pid: _parent(pid) for pid in pids}
    found = []
    for pid in pids:
        each, seen = pid, set[int]()
        while each in parents and each not in own and each not in seen:
            seen.add(each)
            each = parents[each]
        if each not in own and os.path.exists(f"/proc/{pid}"):
            found.append(f"{_comm(pid)} ({pid})")
    return found


class Programs:
    """Where the programs of some names run."""

    def __init__(self) -> None:
        """Know nobody yet."""
        self._known: set[int] = set()
        self._young: dict[int, int] = {}
        self._all_at = 0

    def look(self, names: set[str], now_ns: int) -> dict[str, set[str]]:
        """Give name → cgroups, of what was born lately; once a second, of all there is."""
        pids = {int(name) for name in os.listdir("/proc") if name.isdigit()}
        for pid in pids - self._known:
            self._young[pid] = now_ns + _YOUNG_NS
        self._known = pids
        self._young = {
            pid: until for pid, until in self._young.items() if pid in pids and until > now_ns
        }
        asked = set(self._young)
        if now_ns >= self._all_at:
            self._all_at, asked = now_ns + _ALL_EVERY_NS, pids
        found: dict[str, set[str]] = {}
        for pid in asked:
            name = _comm(pid)
            if name in names and (path := cgroup_of(pid)):
                found.setdefault(name, set()).add(path)
        return found


def _comm(pid: int) -> str:
    return _read(f"/proc/{pid}/comm").removesuffix("\n")


def _parent(pid: int) -> int:
    text = _read(f"/proc/{pid}/stat")
    fields = text[text.rfind(")") + 2 :].split()
    return int(fields[1]) if len(fields) > 1 else 0


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(1 << 20)
    except OSError:
        return ""
