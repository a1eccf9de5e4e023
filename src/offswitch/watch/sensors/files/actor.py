"""Who did it: the process that an event names, and whether it belongs to the target's cell.

A process may have ended before anybody asks; then nothing is known of it, and what it did
counts as the target's: in doubt, the alarm stands. What is told of it is hostile: it chose its
own name.
"""

from __future__ import annotations

from collections.abc import Mapping

from offswitch.printable import printable
from offswitch.watch.sensors.contract import CellFacts

__all__ = ["Actors"]


class Actors:
    """Processes by their numbers, for one look: numbers are given out again."""

    __slots__ = ("_cells", "_names", "_others", "_target")

    def __init__(self, target: str, cells: Mapping[str, CellFacts]) -> None:
        """Compare with the cell of `target`."""
        self._target = target
        self._cells = cells
        self._names: dict[int, str] = {}
        self._others: dict[int, bool] = {}

    def forget(self) -> None:
        """A new look begins."""
        self._others.clear()
        self._names.clear()

    def name(self, pid: int) -> str:
        """Give number and name of a process; empty where it is not known who did it."""
        if pid <= 0:
            return ""
        known = self._names.get(pid)
        if known is None:
            comm = printable(_read(f"/proc/{pid}/comm").rstrip("\n"), 40)
            known = self._names[pid] = f"pid {pid} ({comm})" if comm else f"pid {pid}"
        return known

    def is_other(self, pid: int) -> bool:
        """Tell whether it is known not to belong to the target."""
        if pid <= 0:
            return False
        known = self._others.get(pid)
        if known is None:
            known = self._others[pid] = self._look_up(pid)
        return known

    def _look_up(self, pid: int) -> bool:
        cell = self._cells.get(self._target)
        if cell is None:
            return False
        if cell.path is None:
            return False  # without a cgroup nobody can tell
        for line in _read(f"/proc/{pid}/cgroup").splitlines():
            if line.startswith("0::/"):
                return not _within(line[3:], cell.path)
        return False


def _within(group: str, cell: str) -> bool:
    """Tell whether a cgroup, as /proc names it, is the cell's or one below it."""
    at = group
    while len(at) > 1:
        if cell.endswith(at):
            return True
        at = at.rpartition("/")[0]
    return False


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="backslashreplace") as file:
            return file.read(4096)
    except OSError:
        return ""
