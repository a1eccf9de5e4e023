"""The keys of every sensor that is spoken to, and what it makes of silence.

A source that pushes is silent when nothing is wrong, so silence by itself says nothing. Either
something is declared that must come (`expect_every`, and with Alertmanager the alert that always
fires), and then its absence is a *failure*; or the source counts as *listening*: it is not stale,
and `status` says since when nothing has come.
"""

from __future__ import annotations

import time
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from offswitch.config.duration import format_duration
from offswitch.config.section import Duration, SensorSection, Text
from offswitch.watch.http.exchange import Door
from offswitch.watch.http.listener import Listener, check_address
from offswitch.watch.sensors.contract import Sample

__all__ = ["DOOR_SERIES", "ListeningSection", "Presence", "TokenSection", "door_samples"]

_QUIET_US = 600_000_000
"""How long nothing must have come before it is worth a word; each such word is recorded."""

DOOR_SERIES = frozenset({"requests", "refused", "broken", "dropped", "turned_away"})
"""What every sensor that is spoken to counts, since its last look."""


class ListeningSection(SensorSection):
    """The keys of a sensor that is spoken to."""

    listen: Annotated[str, AfterValidator(check_address)]
    """Address and port, such as "127.0.0.1:4318"; several sensors may share one."""
    expect_every: Duration | None = None
    """Something must come at least this often, or the source has failed."""
    spoken_by: Literal["target", "other"] = "other"
    """Who holds the token. `target`: it speaks of itself, so what it says may raise a finding and
    never takes one back (SR-6)."""
    most_series: Annotated[int, Field(ge=1, le=10_000)] = 1000
    """So many series at most, whatever names a sender makes up."""

    SECRETS: ClassVar[frozenset[str]] = frozenset({"token_file"})

    def eye(self) -> str:
        """All who listen on one address share a process."""
        return f"listener {self.listen}"

    @property
    def hearsay(self) -> bool:
        """Whether these are the target's own words."""
        return self.spoken_by == "target"


class TokenSection(ListeningSection):
    """The same where a sender must bring a token."""

    token_file: Text
    """A file with the token that a sender must bring, as bearer or as a password; mode 0600."""


class Presence:
    """When something came last, and what that means."""

    __slots__ = ("_begun_us", "_came_us", "_came_wall_us", "_every_us", "_what")

    def __init__(self, expect_every_us: int | None, now_us: int, what: str = "anything") -> None:
        """Expect `what` from `now_us` on (monotonic), so often at least; None: nothing is due."""
        self._every_us = expect_every_us
        self._what = what
        self._begun_us = now_us
        self._came_us: int | None = None
        self._came_wall_us = 0

    def came(self, mono_us: int, wall_us: int) -> None:
        """It came."""
        self._came_us, self._came_wall_us = mono_us, wall_us

    def problem(self, now_us: int) -> str:
        """Say that what is due has not come; empty: it has, or nothing is due."""
        since_us = self._begun_us if self._came_us is None else self._came_us
        if self._every_us is None or now_us - since_us <= self._every_us:
            return ""
        due = format_duration(self._every_us)
        if self._came_us is None:
            return f"{self._what} has not come yet, and was due within {due}"
        return (
            f"{self._what} has not come since {_clock(self._came_wall_us)}, and is due every {due}"
        )

    def note(self, now_us: int, address: str, defect: str) -> str:
        """Say since when nothing has come, where that is long; a `defect` of ours first."""
        if defect:
            return defect
        if self._came_us is None:
            return f"listens on {address}; nothing has come yet"
        if now_us - self._came_us < _QUIET_US:
            return ""
        return f"listens on {address}; nothing has come since {_clock(self._came_wall_us)}"


def door_samples(door: Door, listener: Listener, requests: int, dropped: int) -> list[Sample]:
    """Give what came to a door and what of it was lost, and begin to count anew."""
    refused, broken, door.refused, door.broken = door.refused, door.broken, 0, 0
    away, door.away = listener.turned_away - door.away, listener.turned_away
    return [
        Sample("requests", float(requests)),
        Sample("refused", float(refused)),
        Sample("broken", float(broken)),
        Sample("dropped", float(dropped)),
        Sample("turned_away", float(away)),
    ]


def _clock(wall_us: int) -> str:
    return time.strftime("%H:%M:%S UTC", time.gmtime(wall_us / 1e6))
