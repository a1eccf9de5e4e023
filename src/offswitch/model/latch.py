"""The latch: the set of live stops, as an observed-remove set.

A stop is an element, named by its digest. A reset removes exactly the elements that it
names. Joining two copies is the union of their stops and the union of their cleared
digests; a stop is live while its digest is not cleared. So any transport, any order, any
loss and any number of copies give the same state, and a lost record can only cause a
needless stop. ("The highest epoch wins" loses live stops when copies are cut off from
each other; the tests keep it as the counterexample.)

A press equal in scope, level and issuer to a live stop joins it (`admit`, SR-17): the latch
then grows by a count, not by an element. So does one that a live stop covers which stands for
many already (`merge`). Cleared digests are remembered, so that a late copy of a cleared stop
stays cleared; `forget` drops them once they are old enough. What was merged is not cleared,
only stood for: a late copy of it is a needless stop, never a lost one.

Stops are found by their scope, so that a press among ten thousand costs what it costs alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from offswitch.model.level import Level
from offswitch.model.merge import CHANNEL, Merged, merged
from offswitch.model.order import Reset, Stop
from offswitch.model.scope import Scope, scopes_above, scopes_over
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

    __slots__ = ("_at", "_cleared", "_live", "version")

    def __init__(self) -> None:
        """Start with nothing latched."""
        self.version = 0
        """Another number after every change of what is live: who shows it need not compare."""
        self._live: dict[str, Live] = {}
        self._at: dict[str, dict[tuple[Level, str], dict[str, None]]] = {}
        """Scope → level and issuer → the digests of the live stops that have them."""
        self._cleared: dict[str, int] = {}

    def _put(self, digest: str, live: Live) -> None:
        self._live[digest] = live
        self.version += 1
        stop = live.stop
        alike = self._at.setdefault(stop.scope.text, {}).setdefault((stop.level, stop.by), {})
        alike[digest] = None

    def _take(self, digest: str) -> Live | None:
        live = self._live.pop(digest, None)
        if live is not None:
            self.version += 1
            stop, here = live.stop, self._at[live.stop.scope.text]
            del here[stop.level, stop.by][digest]
            if not here[stop.level, stop.by]:
                del here[stop.level, stop.by]
            if not here:
                del self._at[stop.scope.text]
        return live

    def _of_scope(self, text: str) -> Iterator[Live]:
        for alike in self._at.get(text, {}).values():
            for digest in alike:
                yield self._live[digest]

    def add(self, stop: Stop) -> bool:
        """Take `stop` in; return whether it is live (a cleared one stays cleared). Idempotent."""
        name = stop.digest
        if name in self._cleared:
            return False
        if name not in self._live:
            self._put(name, Live(stop, 1, stop.time_us))
        return True

    def admit(self, stop: Stop, barred: Collection[str] = ()) -> str:
        """Take in a press: it joins a live equal stop, or becomes one; return the digest it has.

        `barred` are the digests that an open reset names: a press never joins one of those,
        or the reset, opened before it, would clear it. The caller sees to it that the stop
        is `fresh`.
        """
        for digest in self._joined_by(stop):
            if digest not in barred:
                live = self._live[digest]
                last = max(live.last_us, stop.time_us)
                self._live[digest] = Live(live.stop, live.count + 1, last)
                self.version += 1
                return digest
        self.add(stop)
        return stop.digest

    def _joined_by(self, stop: Stop) -> Iterator[str]:
        """Give what `stop` adds nothing to: equal stops, and those that stand for many."""
        yield from self._at.get(stop.scope.text, {}).get((stop.level, stop.by), {})
        for text in scopes_above(stop.scope):
            for live in self._of_scope(text):
                if live.stop.channel == CHANNEL and live.stop.level >= stop.level:
                    yield live.stop.digest

    def merge(self, most: int, now_us: int, barred: Collection[str] = ()) -> list[Merged]:
        """Make at most `most` stops of what is live, by standing for many with a wider one.

        Those that an open reset names are left alone where that is enough: once stood for,
        they cannot be reset by it any more.
        """
        spared = [live.stop for name, live in self._live.items() if name in barred]
        stops = [live.stop for name, live in self._live.items() if name not in barred]
        if len(spared) >= most:
            spared, stops = [], [live.stop for live in self._live.values()]
        made = merged(stops, most - len(spared), now_us)
        for one in made:
            self.stand(one)
        return made

    def stand(self, one: Merged) -> None:
        """Let one stop stand for others, in this copy, too."""
        gone = [self._take(stop.digest) for stop in one.instead_of]
        count = sum(live.count for live in gone if live is not None)
        last = max((live.last_us for live in gone if live is not None), default=0)
        if one.stop.digest not in self._cleared:
            self._put(one.stop.digest, Live(one.stop, max(count, 1), last or one.stop.time_us))

    def repeats(self, stop: Stop, barred: Collection[str] = (), within_us: int = 0) -> bool:
        """Tell whether `stop` is a press that was admitted a moment ago, come by another road.

        One press goes down several roads at once (SR-11). It is the same one if a live stop of
        its scope and issuer, and of no lower level (the spool knows only kill), was given within
        `within_us` of it, and no reset is open for that.
        """
        return any(
            live.stop.digest not in barred
            and stop.by == live.stop.by
            and stop.level <= live.stop.level
            and abs(stop.time_us - live.last_us) <= within_us
            for live in self._of_scope(stop.scope.text)
        )

    def fresh(self, stop: Stop) -> bool:
        """Tell whether `stop` would be live when added: false for a digest already cleared."""
        return not self._cleared or stop.digest not in self._cleared

    def clear(self, reset: Reset) -> list[str]:
        """Clear the stops that `reset` names; return those that were live. Idempotent."""
        gone = [name for name in reset.clears if self._take(name) is not None]
        for name in reset.clears:
            self._cleared[name] = max(self._cleared.get(name, 0), reset.time_us)
        return gone

    def join(self, other: Latch) -> None:
        """Take in another copy: union of stops, union of cleared digests."""
        for name, when in other._cleared.items():
            self._cleared[name] = max(self._cleared.get(name, 0), when)
            self._take(name)
        for name, live in other._live.items():
            if name in self._cleared:
                continue
            mine = self._live.get(name)
            if mine is None or (mine.count, mine.last_us) < (live.count, live.last_us):
                self._put(name, live)

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
            self._take(name)

    def covering(self, target: Target) -> list[Live]:
        """List the live stops that cover `target`."""
        if not self._live:  # as it is nearly always, when a thousand targets are told of
            return []
        return [live for text in scopes_over(target) for live in self._of_scope(text)]

    def level(self, target: Target) -> Level | None:
        """Give the highest level of the live stops that cover `target`, or None if none does."""
        return max((live.stop.level for live in self.covering(target)), default=None)

    def within(self, scope: Scope) -> list[Live]:
        """List the live stops whose scope is `scope` or below: what its reset may clear (SR-18)."""
        return [live for live in self._live.values() if scope.contains(live.stop.scope)]
