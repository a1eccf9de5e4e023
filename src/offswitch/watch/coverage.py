"""What lies in each rule's scope just now, found in one pass over a fleet, however large.

The loop asks it for every rule at every tick; going through all targets for every rule would
make watch slow where there are many of both, and a slow watch is a late stop.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from offswitch.decide.arbiter import Known
from offswitch.model.level import Level
from offswitch.model.reserved import is_drill
from offswitch.model.scope import scopes_over
from offswitch.model.target import Target

__all__ = ["RUNNING", "Coverage", "coverage", "watched"]

RUNNING = frozenset({"running", "restricted", "draining", "stopping", "frozen"})
_LEVELS = {level.label: level for level in Level}


class Coverage:
    """The targets that one scope covers, as the warden last told of them."""

    __slots__ = ("_all", "_free", "_held", "latched", "names", "on_probation")

    def __init__(self) -> None:
        """Cover nothing."""
        self.names: set[str] = set()
        self.latched: set[str] = set()
        self.on_probation = False
        """Whether one of them was started again after a reset, and is on probation."""
        self._free = 0
        self._held: Counter[Level] = Counter()
        self._all: Counter[Level | None] = Counter()

    def add(self, name: str, cell: Mapping[str, Any]) -> None:
        """Take a target in; a level that nobody knows holds nothing."""
        level = _LEVELS.get(str(cell.get("level")))
        self.names.add(name)
        self._all[level] += 1
        if cell.get("level") is not None:
            self.latched.add(name)
        self.on_probation = self.on_probation or cell.get("probation") is True
        if cell["state"] not in RUNNING:
            return
        if level is None:
            self._free += 1
        else:
            self._held[level] += 1

    def known(self, level: Level) -> Known:
        """Say what runs in the scope, and what of it no stop of `level` holds."""
        lesser = sum(count for held, count in self._held.items() if held < level)
        held = bool(self.names) and self._below(level) == 0
        return Known(self._free + self._held.total(), self._free + lesser, held)

    def _below(self, level: Level) -> int:
        """Count what no stop of `level` covers, whether it runs or not."""
        return sum(count for known, count in self._all.items() if known is None or known < level)


def coverage(
    scopes: Collection[str], targets: Mapping[str, Target], cells: Mapping[str, Mapping[str, Any]]
) -> dict[str, Coverage]:
    """Find what each of `scopes` covers."""
    found = {scope: Coverage() for scope in scopes}
    for name, target in targets.items():
        for scope in scopes_over(target):
            if scope in found:
                found[scope].add(name, cells[name])
    return found


def watched(rows: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Give the warden's rows by target, without those of drills: these are meant to misbehave."""
    named = {str(row["target"]): row for row in rows}
    return {name: row for name, row in named.items() if not is_drill(name)}
