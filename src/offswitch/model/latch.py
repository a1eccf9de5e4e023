"""The latch: the set of live stops, as an observed-remove set.

A stop is an element, named by its digest. A reset removes exactly the elements that it
names. Joining two copies is the union of their stops and the union of their cleared
digests; a stop is live while its digest is not cleared. So any transport, any order, any
loss and any number of copies give the same state, and a lost record can only cause a
needless stop. ("The highest epoch wins" loses live stops when copies are cut off from
each other; the tests keep it as the counterexample.)

A press equal in scope, level and issuer to a live stop joins it (`admit`, SR-17): the latch
then grows by a count, not by an element. Cleared digests are remembered, so that a late copy
of a cleared stop stays cleared; `forget` drops them once they are old enough.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from offswitch.model.level import Level
from offswitch.model.order import Reset, Stop
from offswitch.model.scope import Scope
from offswitch.model.target import Target

__all__ = ["Latch", "Live"]


@dataclass(frozen=True, slots=True)
class Live:
    """One live stop and how often it was given."""

    stop: Stop
    count: int
    """Presentations that joined this one, itself included."""
    last_us: int
    """When the last of them was given, UTC in microseconds."""


class Latch:
    """The set of live stops. Mutable; one owner; no I/O."""

    __slots__ = ("_cleared", "_live")

    def __init__(self) -> None:
        """Start with nothing latched."""
        self._live: dict[str, Live] = {}
        self._cleared: dict[str, int] = {}

    def add(self, stop: Stop) -> bool:
        """Take `stop` in; return whether it is live (a cleared one stays cleared). Idempotent."""
        name = stop.digest
        if name in self._cleared:
            return False
        self._live.setdefault(name, Live(stop, 1, stop.time_us))
        return True

    def admit(self, stop: Stop, barred: Collection[str] = ()) -> str:
        """Take in a press: it joins a live equal stop, or becomes one; return the digest it has.

        `barred` are the digests that an open reset names: a press never joins one of those,
        or the reset, opened before it, would clear it. The caller sees to it that the stop
        is `fresh`.
        """
        for digest, live in self._live.items():
            if digest not in barred and stop.joins(live.stop):
                last = max(live.last_us, stop.time_us)
                self._live[digest] = Live(live.stop, live.count + 1, last)
                return digest
        self.add(stop)
        return stop.digest

    def repeats(self, stop: Stop, barred: Collection[str] = (), within_us: int = 0) -> bool:
        """Tell whether `stop` is a press that was admitted a moment ago, come by another road.

        One press goes down several roads at once (SR-11). It is the same one if a live stop of
        its scope and issuer, and of no lower level (the spool knows only kill), was given within
        `within_us` of it, and no reset is open for that.
        """
        return any(
            digest not in barred
            and (stop.scope, stop.by) == (live.stop.scope, live.stop.by)
            and stop.level <= live.stop.level
            and abs(stop.time_us - live.last_us) <= within_us
            for digest, live in self._live.items()
        )

    def fresh(self, stop: Stop) -> bool:
        """Tell whether `stop` would be live when added: false for a digest already cleared."""
        return stop.digest not in self._cleared

    def clear(self, reset: Reset) -> list[str]:
        """Clear the stops that `reset` names; return those that were live. Idempotent."""
        gone = [name for name in reset.clears if self._live.pop(name, None) is not None]
        for name in reset.clears:
            self._cleared[name] = max(self._cleared.get(name, 0), reset.time_us)
        return gone

    def join(self, other: Latch) -> None:
        """Take in another copy: union of stops, union of cleared digests."""
        for name, when in other._cleared.items():
            self._cleared[name] = max(self._cleared.get(name, 0), when)
            self._live.pop(name, None)
        for name, live in other._live.items():
            if name in self._cleared:
                continue
            mine = self._live.get(name)
            if mine is None or (mine.count, mine.last_us) < (live.count, live.last_us):
                self._live[name] = live

    def forget(self, before_us: int) -> int:
        """Drop cleared digests older than `before_us`; return how many (SR-17: thirty days)."""
        old = [name for name, when in self._cleared.items() if when < before_us]
        for name in old:
            del self._cleared[name]
        return len(old)

    def __len__(self) -> int:
        """Count the live stops."""
        return len(self._live)

    def __iter__(self) -> Iterator[Live]:
        """Go through the live stops."""
        return iter(self._live.values())

    def __contains__(self, digest: str) -> bool:
        """Tell whether the stop of that digest is live."""
        return digest in self._live

    def holds_all(self, digests: Iterable[str]) -> bool:
        """Tell whether every one of these stops is live."""
        return all(digest in self._live for digest in digests)

    def get(self, digest: str) -> Live | None:
        """Give the live stop of that digest."""
        return self._live.get(digest)

    @property
    def cleared(self) -> dict[str, int]:
        """Digests that were cleared, with the reset's time (UTC, microseconds)."""
        return dict(self._cleared)

    def remember_cleared(self, digests: Iterable[str], when_us: int) -> None:
        """Note digests as cleared, as a copy that is read back from a file knows them."""
        for name in digests:
            self._cleared[name] = max(self._cleared.get(name, 0), when_us)
            self._live.pop(name, None)

    def covering(self, target: Target) -> list[Live]:
        """List the live stops that cover `target`."""
        return [live for live in self._live.values() if live.stop.scope.covers(target)]

    def level(self, target: Target) -> Level | None:
        """Give the highest level of the live stops that cover `target`, or None if none does."""
        return max((live.stop.level for live in self.covering(target)), default=None)

    def within(self, scope: Scope) -> list[Live]:
        """List the live stops whose scope is `scope` or below: what its reset may clear (SR-18)."""
        return [live for live in self._live.values() if scope.contains(live.stop.scope)]
