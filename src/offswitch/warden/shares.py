"""What one user who may not rule may use up, so that a stop, and root, always have room (SEC-4).

    targets alive at once        half of the connections that it may hold, 128 at most
    slots of the page            a quarter of a boot's; the last quarter is the owner's alone
    targets that have ended      the latest few are kept, with what `start` needs and their logs
    resets asked for             sixty a minute; the station, which asks for many, ten times that
    drills                       sixty an hour, and each takes a slot of its share
    stops that wait for a drain  64; one more is obeyed, and answered without waiting

A stop itself has no share: each is obeyed. Whoever is refused is named in the record.
"""

from __future__ import annotations

import os
import resource
from collections import Counter, deque

from offswitch.control.page import SLOTS
from offswitch.errors import Busy
from offswitch.warden.errands import Errands
from offswitch.warden.table import Table, Tracked

__all__ = ["Shares"]

_MOST_ALIVE = 128
_DESCRIPTORS = 128
"""One target for so many descriptors: half of the connections that a user may hold."""
_ENDED_EACH = 4
"""Ended targets that are kept for each that may be alive."""
_ENDED_OF_OWNER = 8192
_RESETS, _RESETS_OF_MANY, _RESETS_US = 60, 600, 60_000_000
_DRILLS, _DRILLS_US = 60, 3_600_000_000
_WAITS = 64


class Shares:
    """Counts by user, in one warden."""

    def __init__(self) -> None:
        """Nobody has used anything."""
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._most_alive = min(_MOST_ALIVE, max(4, most // _DESCRIPTORS))
        self._slots: Counter[int] = Counter()
        self._ended: dict[int, dict[str, None]] = {}
        self._resets: dict[int, deque[int]] = {}
        self._drills: dict[int, deque[int]] = {}
        self._waits: Counter[int] = Counter()

    def begin(self, uid: int, table: Table, handed_out: int) -> None:
        """Count a birth by that user; `Busy` where that is more than its share."""
        if _rules(uid):
            return
        alive = sum(row.asked_by == uid and row.cell is not None for row in table)
        if alive >= self._most_alive:
            raise Busy(
                f"user {uid} has {alive} targets alive, which is its share",
                "let one end, or ask root",
            )
        if self._slots[uid] >= SLOTS // 4 or handed_out >= SLOTS - SLOTS // 4:
            raise Busy(
                f"the page's slots that user {uid} may use in this boot are used up",
                "ask root, or reboot; what runs can still be stopped",
            )
        self._slots[uid] += 1

    def ended(self, row: Tracked, table: Table, errands: Errands) -> None:
        """A target has ended: the oldest of its user's are forgotten for it, files and all."""
        uid = row.asked_by if row.asked_by is not None else 0
        names = self._ended.setdefault(uid, {})
        names.pop(row.target.name, None)
        names[row.target.name] = None
        most = _ENDED_OF_OWNER if _rules(uid) else self._most_alive * _ENDED_EACH
        gone = []
        while len(names) > most:
            oldest = next(iter(names))
            del names[oldest]
            if table.forget(oldest, uid):
                gone.append(oldest)
        if gone:
            errands.send(lambda: table.take_away(gone), lambda _outcome: None)

    def reset(self, uid: int, now_us: int, *, many: bool = False) -> None:
        """Count a reset that is asked for; `Busy` where that is too often. `many`: for people."""
        if _rules(uid):
            return
        most = _RESETS_OF_MANY if many else _RESETS
        times = self._resets.setdefault(uid, deque(maxlen=most))
        if len(times) == most and now_us - times[0] < _RESETS_US:
            raise Busy(f"user {uid} has asked for {most} resets within a minute", "wait")
        times.append(now_us)

    def drill(self, uid: int, now_us: int, table: Table, handed_out: int) -> None:
        """Count a drill that is asked for; `Busy` where that is more than a schedule would."""
        if _rules(uid):
            return
        times = self._drills.setdefault(uid, deque(maxlen=_DRILLS))
        if len(times) == _DRILLS and now_us - times[0] < _DRILLS_US:
            raise Busy(f"user {uid} has had {_DRILLS} drills within an hour", "wait")
        self.begin(uid, table, handed_out)
        times.append(now_us)

    def waits(self, uid: int) -> bool:
        """Count a stop that waits for the end of a drain; False: it is answered at once."""
        if self._waits[uid] >= _WAITS:
            return False
        self._waits[uid] += 1
        return True

    def waited(self, uid: int) -> None:
        """It waits no longer."""
        self._waits[uid] -= 1
        if not self._waits[uid]:
            del self._waits[uid]


def _rules(uid: int) -> bool:
    return uid in {0, os.geteuid()}
