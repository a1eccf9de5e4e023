"""The resets that wait for people: what was asked for, on what grounds, and who has proven it.

They are few, they lapse after a quarter of an hour, and they live in memory alone: after a
crash of the warden they are opened again. A hand-over to new code passes them on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from offswitch.decide.authority import VALID_US
from offswitch.model.latch import Latch
from offswitch.model.order import Reset, from_wire
from offswitch.warden.reset.grounds import Grounds

__all__ = ["Pending", "Waiting"]

_MOST = 32


@dataclass(slots=True)
class Waiting:
    """One reset, from its opening until it is carried out or let go."""

    order: Reset
    grounds: Grounds
    proven: set[str] = field(default_factory=set)
    """Who has proven themselves for it so far."""

    @property
    def expires_us(self) -> int:
        """Until when it may be confirmed, UTC in microseconds."""
        return self.order.time_us + VALID_US


class Pending:
    """All of them, the oldest first."""

    __slots__ = ("_by_digest",)

    def __init__(self) -> None:
        """Begin with none."""
        self._by_digest: dict[str, Waiting] = {}

    def __iter__(self) -> Iterator[Waiting]:
        """Go through them, the oldest first."""
        return iter(list(self._by_digest.values()))

    def __contains__(self, digest: str) -> bool:
        """Tell whether the reset of that digest waits."""
        return digest in self._by_digest

    def get(self, digest: str) -> Waiting | None:
        """Give the one of that digest."""
        return self._by_digest.get(digest)

    def keep(self, waiting: Waiting, latch: Latch, now_us: int) -> None:
        """Let one wait; the moot, the expired and, of too many, the oldest are let go."""
        self._by_digest.pop(waiting.order.digest, None)
        self._by_digest[waiting.order.digest] = waiting
        for name, each in list(self._by_digest.items())[:-1]:
            if not latch.holds_all(each.order.clears) or now_us > each.expires_us:
                del self._by_digest[name]
        for name in list(self._by_digest)[:-_MOST]:
            del self._by_digest[name]

    def drop(self, digest: str) -> None:
        """Let one go."""
        self._by_digest.pop(digest, None)

    def passed(self) -> dict[str, Any]:
        """Give them for the next code of this warden (SR-23)."""
        return {
            "pending": [each.order.wire() for each in self],
            "proven": {each.order.digest: sorted(each.proven) for each in self},
            "grounds": {each.order.digest: each.grounds.wire() for each in self},
        }

    def take_up(self, passed: dict[str, Any]) -> None:
        """Let them wait on: whoever opened them was told so."""
        grounds = passed.get("grounds") or {}
        for order in map(from_wire, passed["pending"]):
            if isinstance(order, Reset):
                said = Grounds.again(grounds.get(order.digest) or {}, order.reason)
                proven = set(passed["proven"].get(order.digest, ()))
                self._by_digest[order.digest] = Waiting(order, said, proven)
