"""Whoever placed a stop that somebody else has reset is told of it (SR-18).

A person hears it at their next `status` or `reset` of that scope, for a day, as long as this
warden lives; the station asks for them (`resets`, `for`: `person:NAME`). The ledger's entry of
the reset names everybody whose stop it cleared, for good.
Nobody is told what became of another's stop.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

from offswitch.decide.people import People
from offswitch.model.latch import Live
from offswitch.model.order import Reset, Stop, from_wire
from offswitch.model.scope import Scope

__all__ = ["News"]

_KEPT_US = 86_400 * 1_000_000
_MOST = 256


class News:
    """The latest resets of other people's stops."""

    __slots__ = ("_cleared",)

    def __init__(self) -> None:
        """Begin with none."""
        self._cleared: deque[tuple[Live, Reset, int]] = deque(maxlen=_MOST)

    def add(self, live: Live, reset: Reset, now_us: int) -> None:
        """A stop was cleared just now."""
        if live.stop.by != reset.by:
            self._cleared.append((live, reset, now_us))

    def passed(self) -> list[dict[str, Any]]:
        """Give all of it, for the next code of this warden (SR-23)."""
        return [
            {"stop": live.stop.wire(), "reset": reset.wire(), "when_us": when}
            for live, reset, when in self._cleared
        ]

    def take_up(self, passed: list[dict[str, Any]]) -> None:
        """Take it over."""
        for one in passed:
            stop, reset = from_wire(one["stop"]), from_wire(one["reset"])
            if isinstance(stop, Stop) and isinstance(reset, Reset):
                self._cleared.append((Live(stop, 1, stop.time_us), reset, one["when_us"]))

    @staticmethod
    def names(asked: str, known: People) -> frozenset[str]:
        """Give all names of one placer: a person stops as `person:NAME` and under a user id."""
        person = known.of_placer(asked)
        if person is None:
            return frozenset({asked})
        own = set() if person.uid is None else {f"uid:{person.uid}"}
        return frozenset({asked, f"person:{person.name}", *own})

    def of(self, names: Collection[str], asked: Scope, now_us: int) -> list[str]:
        """Say what somebody of these names is to be told who asks about a scope."""
        return [
            _sentence(live, reset, when)
            for live, reset, when in self._cleared
            if live.stop.by in names
            and reset.by not in names
            and now_us - when < _KEPT_US
            and (asked.contains(live.stop.scope) or live.stop.scope.contains(asked))
        ]


def _sentence(live: Live, reset: Reset, when_us: int) -> str:
    at = datetime.fromtimestamp(when_us // 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"your stop of {live.stop.scope.text} was reset by {reset.by} at {at}: {reset.reason}"
