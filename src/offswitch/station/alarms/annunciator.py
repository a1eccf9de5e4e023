"""What people are told of: a new group, once; its consequences are folded into it (HMI-5).

A group is held back for two seconds, unless it is grave, since what was noticed first need not be
the root and two halves of one cascade may still meet. Then it is annunciated: once, and once more
if it becomes grave later. What repeats is counted. Where there is more to tell within ten minutes
than people can take in (EEMUA 191: ten), the last of the ten says that it is a flood, and how many
causes there are; each of them stays a group of its own on the list, with its root on top, so none
is lost. A flood is told of again when there is room.

It decides what is told, not who is called: questions go to the backup by their own time
(`decide.questions`), and stops are told by whoever made them.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from offswitch.station.alarms.grouping import Group, Groups
from offswitch.station.alarms.sign import Sign, Ties

__all__ = ["FLOOD", "WINDOW_US", "Annunciation", "Annunciator"]

WINDOW_US = 600_000_000
"""Ten minutes."""
FLOOD = 10
"""So many annunciations in ten minutes are the most that a person takes in."""
_HOLD_US = 2_000_000
_MOST_NAMED = 20


@dataclass(frozen=True, slots=True)
class Annunciation:
    """One thing that people are told."""

    at_us: int
    """UTC, microseconds."""
    group: int
    """The group's number; of a flood, that of the last one in it."""
    root: Sign
    """What came first, as far as is known so far."""
    count: int
    """How many signs the group has, the root included."""
    grave: bool
    flood: tuple[str, ...] = ()
    """In a flood: what all that is not told one by one began with, the first twenty."""
    causes: int = 1
    """How many groups it tells of."""


class Annunciator:
    """Takes signs in, and gives what is to be told."""

    def __init__(self, ties: Ties | None = None) -> None:
        """Group what comes by `ties` and names."""
        self.groups = Groups(ties)
        self._held: dict[int, int] = {}
        """When the hold of each new group ends."""
        self._told: dict[int, bool] = {}
        """The groups that were told of, and whether as grave."""
        self._muted: dict[int, None] = {}
        """Those that only a flood tells of."""
        self._times: deque[int] = deque()

    def take(self, sign: Sign, now_us: int) -> None:
        """Take one sign in."""
        group, merged = self.groups.take(sign)
        told = self._told.get(group.number)
        told = self._told.get(group.number)
        begun = group.number not in self._held and told is None
        if begun and group.number not in self._muted:
            self._held[group.number] = now_us if sign.grave else now_us + _HOLD_US
        elif sign.grave and (group.number in self._held or told is False):
            self._held[group.number] = now_us
        for other in merged:
            self._held.pop(other.number, None)
            self._muted.pop(other.number, None)
            if self._told.pop(other.number, False):
                self._told.setdefault(group.number, True)

    def due(self, now_us: int) -> list[Annunciation]:
        """Give what is to be told now."""
        while self._times and now_us - self._times[0] >= WINDOW_US:
            self._times.popleft()
        ready = sorted(number for number, until_us in self._held.items() if now_us >= until_us)
        told = []
        for number in ready:
            del self._held[number]
            if len(self._times) >= FLOOD - 1:
                self._muted[number] = None
                self._told.pop(number, None)
                continue
            if number in self.groups.groups:
                told.append(self._tell(self.groups.groups[number], now_us))
        if len(self._times) < FLOOD and any(one in self.groups.groups for one in self._muted):
            told.append(self._flood(now_us))
        return told

    def _tell(self, group: Group, now_us: int) -> Annunciation:
        self._told[group.number] = group.grave
        self._times.append(now_us)
        root = group.ranked(self.groups.ties)[0]
        return Annunciation(now_us, group.number, root, group.count, group.grave)

    def _flood(self, now_us: int) -> Annunciation:
        """Tell of all that is not told one by one, in one."""
        known = self.groups.groups
        muted = [known[number] for number in self._muted if number in known]
        self._muted.clear()
        self._times.append(now_us)
        roots = []
        for group in muted:
            self._told[group.number] = group.grave
            roots.append(group.ranked(self.groups.ties)[0])
        named = tuple(f"{root.target}: {root.what}" for root in roots[:_MOST_NAMED])
        count, grave = sum(one.count for one in muted), any(one.grave for one in muted)
        last = muted[-1].number
        return Annunciation(now_us, last, roots[-1], count, grave, named, len(muted))

    @property
    def flooded(self) -> int:
        """How many groups nobody was told of one by one yet."""
        return len(self._muted)
