"""The console's own alarms: what it told people of, what became of it, and its figures (HMI-5).

It is given what watch's desk tells, as often as that is asked; whatever is new goes to the
annunciator, and what that tells of is kept for a day and a little, so that the figures of a shift
can be had. It lies in memory: a station that was started again has figures from then on, and says
since when.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from offswitch.station.alarms.annunciator import Annunciation, Annunciator
from offswitch.station.alarms.figures import Figures, Told, figures
from offswitch.station.alarms.rows import Row, alarm_key, signs_of
from offswitch.station.alarms.sign import Ties

__all__ = ["AlarmBook"]

_MOST = 5000
_DAY_US = 86_400_000_000
_KEEP_US = 8 * _DAY_US
"""For so long what still stands is remembered, so that it can be called stale."""


@dataclass(slots=True)
class _Line:
    """One annunciation, and what has become of it."""

    told: Annunciation
    priority: str
    acked_us: int | None = None
    ended_us: int | None = None
    shelved: bool = False


class AlarmBook:
    """What people were told of."""

    def __init__(self, now_us: int, ties: Ties | None = None) -> None:
        """Begin to write now."""
        self.since_us = now_us
        self._annunciator = Annunciator(ties)
        self._seen: set[tuple[str, int]] = set()
        self._lines: deque[_Line] = deque(maxlen=_MOST)

    def hear(
        self, alarms: Iterable[Row], now_us: int, findings: Iterable[Row] = ()
    ) -> list[Annunciation]:
        """Take in what stands and what was found; gives what people are to be told now.

        Findings are those that are new since the last time.
        """
        rows = [row for row in alarms if isinstance(row, dict)]
        standing = {(alarm_key(row), _since(row)) for row in rows}
        fresh = [row for row in rows if (alarm_key(row), _since(row)) not in self._seen]
        self._seen = standing
        for sign in sorted(signs_of(fresh, findings), key=lambda one: one.found_us):
            self._annunciator.take(sign, now_us)
        told = self._annunciator.due(now_us)
        by_key = {alarm_key(row): row for row in rows}
        for one in told:
            priority = str(by_key.get(one.root.key, {}).get("act") or "finding")
            self._lines.append(_Line(one, priority))
        self._follow(by_key, now_us)
        return told

    def _follow(self, by_key: Mapping[str, Row], now_us: int) -> None:
        """See what has become of what people were told of."""
        groups = self._annunciator.groups.groups
        while self._lines and now_us - self._lines[0].told.at_us > _KEEP_US:
            self._lines.popleft()
        for line in self._lines:
            if line.ended_us is not None:
                continue
            group = groups.get(line.told.group)
            keys = {key for key, _target in group.known} if group is not None else set()
            mine = [by_key[key] for key in keys & by_key.keys()]
            if mine and line.acked_us is None and all(row.get("acked_by") for row in mine):
                times = [row["acked_us"] for row in mine if type(row.get("acked_us")) is int]
                line.acked_us = max([line.told.at_us, *times])
            line.shelved = bool(mine) and all(row.get("shelved") for row in mine)
            if not mine:
                line.ended_us = now_us

    def figures(self, now_us: int, span_us: int = _DAY_US) -> Figures:
        """Measure the last day, or as much of it as there is."""
        return figures(self._told(), max(self.since_us, now_us - span_us), now_us)

    @property
    def latest(self) -> list[Told]:
        """What people were told of, the latest first."""
        return list(reversed(self._told()))

    @property
    def flooded(self) -> int:
        """How many causes a flood keeps back."""
        return self._annunciator.flooded

    def _told(self) -> list[Told]:
        return [
            Told(
                f"{line.told.root.target}: {line.told.root.key}",
                line.told.at_us,
                line.priority,
                line.acked_us,
                line.ended_us,
                line.shelved,
            )
            for line in self._lines
        ]


def _since(row: Row) -> int:
    since_us = row.get("since_us")
    return since_us if type(since_us) is int else 0
