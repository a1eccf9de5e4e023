"""Which series has which slot of the bank.

There is room for so many series and no more, and no target may have more than a quarter of it: who
can make labels can make series. What finds no room is left out and counted, by target. A series
that has not been read for an hour gives its slot to the next one that needs it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

__all__ = ["Roster", "Row"]

_GONE_US = 3600 * 1_000_000
_LOOK_US = 60 * 1_000_000
_MOST_TARGETS = 1000
"""Whose left-out readings are counted by name."""
_SHARE = 4


@dataclass(slots=True)
class Row:
    """One series."""

    slot: int
    target: str
    series: str
    seen_us: int


class Roster:
    """All series of the survey."""

    __slots__ = ("_capacity", "_free", "_looked_us", "_of_target", "_rows", "_slots", "left_out")

    def __init__(self, capacity: int) -> None:
        """Have room for `capacity` series."""
        self._capacity = capacity
        self._rows: dict[tuple[str, str], Row] = {}
        self._slots: list[Row | None] = []
        self._free: list[int] = []
        self._of_target: Counter[str] = Counter()
        self._looked_us = -_LOOK_US
        self.left_out: Counter[str] = Counter()
        """Readings of series without a slot, by target."""

    def __len__(self) -> int:
        return len(self._rows)

    def of(self, slot: int) -> Row:
        """Give the series of a slot that is taken."""
        row = self._slots[slot]
        assert row is not None  # noqa: S101 - whoever asks has it from here
        return row

    def known(self, target: str, series: str, mono_us: int) -> Row | None:
        """Give the row of a series that has one."""
        row = self._rows.get((target, series))
        if row is not None:
            row.seen_us = mono_us
        return row

    def enter(self, target: str, series: str, mono_us: int) -> Row | None:
        """Give a new series a slot; None: there is none for it, which is counted."""
        if len(self._rows) >= self._capacity:
            self._look_for_room(mono_us)
        most = max(self._capacity // _SHARE, 1)
        if len(self._rows) >= self._capacity or self._of_target[target] >= most:
            if target in self.left_out or len(self.left_out) < _MOST_TARGETS:
                self.left_out[target] += 1
            return None
        if self._free:
            slot = self._free.pop()
        else:
            slot = len(self._slots)
            self._slots.append(None)
        row = self._slots[slot] = Row(slot, target, series, mono_us)
        self._rows[target, series] = row
        self._of_target[target] += 1
        return row

    def _look_for_room(self, mono_us: int) -> None:
        """Let go of what has long not been read; it is looked for once a minute at most."""
        if mono_us - self._looked_us < _LOOK_US:
            return
        self._looked_us = mono_us
        for key, row in list(self._rows.items()):
            if mono_us - row.seen_us > _GONE_US:
                del self._rows[key]
                self._slots[row.slot] = None
                self._free.append(row.slot)
                self._of_target[row.target] -= 1
                if not self._of_target[row.target]:
                    del self._of_target[row.target]
