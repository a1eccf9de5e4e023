"""The configuration, from outside: was a rule, a sensor or a target taken out or made another?

What is added touches nothing, and neither do words between the tables. Rules in force are those
that were read at start, so an edit disarms nothing at once; but it would at the next start, and a
person who takes a rule out says so beforehand (`rule bypass`). A file that is gone, or that can no
longer be read as TOML, has lost all of them.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator

from offswitch.watch.tampering.small import bounded, facts_of

__all__ = ["Configuration"]

_LARGEST = 4 << 20
_TABLES = ("rule", "sensor", "target")
_MOST_SAID = 20

Tables = dict[str, object]


class Configuration:
    """What stood in the file."""

    __slots__ = ("_path", "_stamp", "_tables")

    def __init__(self, path: str) -> None:
        """Nothing is known before the first look."""
        self._path = path
        self._stamp: tuple[int, ...] | None = None
        self._tables: Tables | None = None

    def wrong(self) -> Iterator[tuple[str, bool]]:
        """Say what was taken out or changed since the last look."""
        facts = facts_of(self._path)
        stamp = () if facts is None else (facts.st_ino, facts.st_ctime_ns, facts.st_size)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        now = self._read()
        before, self._tables = self._tables, now
        if before is None:
            return
        for name in [one for one in before if one not in now][:_MOST_SAID]:
            yield f"{self._path}: {name} is gone", False
        for name in [one for one in before if one in now and before[one] != now[one]][:_MOST_SAID]:
            yield f"{self._path}: {name} is another", False

    def _read(self) -> Tables:
        """Give each table by what it is and its name; nothing where there is nothing to read."""
        try:
            raw = tomllib.loads(bounded(self._path, _LARGEST).decode())
        except (OSError, ValueError, RecursionError):
            return {}
        found: Tables = {"mode": raw.get("mode")}
        for kind in _TABLES:
            rows = raw.get(kind)
            for number, row in enumerate(rows if isinstance(rows, list) else []):
                name = row.get("name", number) if isinstance(row, dict) else number
                found[f"{kind} {name}"] = row
        return found
