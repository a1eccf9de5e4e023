"""Which incident something belongs to: found by scope or target in a few look-ups.

Incidents are kept under the scopes of their stops, and under every scope above those, so that
the ones that lie over, or below, a scope are found without a search through all of them; stops
by label are found by the targets that they covered. Whoever takes nothing in any more drops out
when it is met.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

from offswitch.model.scope import Scope, scopes_above
from offswitch.reports.case import Case

__all__ = ["Rooms", "is_drill", "scopes_of"]

_MOST_TARGETS = 2000
_LONGEST = 400

Takes = Callable[[Case, int], bool]
"""Whether an incident takes in what happens at that time (UTC, microseconds)."""


def is_drill(scope: str) -> bool:
    """Tell whether a scope or target is one of a drill's own (SR-20)."""
    return scope == ".drill" or scope.startswith(".drill/")


def scopes_of(text: str) -> Iterator[str]:
    """Spell the scopes that lie over a scope or target, itself the last; odd texts have none."""
    if text and len(text) <= _LONGEST:
        yield from scopes_above(Scope(text))


class Rooms:
    """Finds incidents."""

    __slots__ = ("_at", "_below", "_takes", "_targets")

    def __init__(self, takes: Takes) -> None:
        """`takes` says whether an incident still takes something in."""
        self._takes = takes
        self._at: dict[str, dict[str, Case]] = {}
        self._below: dict[str, dict[str, Case]] = {}
        self._targets: dict[str, Case] = {}

    def enter(self, case: Case, scope: str, targets: Collection[str] = ()) -> None:
        """Keep `case` under a scope of its stops, and under what they cover."""
        if not scope or len(scope) > _LONGEST or scope not in case.scopes:
            return
        self._at.setdefault(scope, {})[case.name] = case
        for above in scopes_of(scope):
            self._below.setdefault(above, {})[case.name] = case
        if "=" in scope or len(targets) <= _MOST_TARGETS:
            for target in targets:
                self._targets[target] = case

    def leave(self, case: Case) -> None:
        """Forget one that takes nothing in any more."""
        for scope in case.scopes:
            _drop(self._at, scope, case)
            for above in scopes_of(scope):
                _drop(self._below, above, case)
        for target in case.targets:
            if self._targets.get(target) is case:
                del self._targets[target]

    def of_target(self, target: str, time_us: int) -> Case | None:
        """Find the incident of something that happened to a target: the one opened last."""
        found = self._over(target, time_us)
        by_label = self._alive(self._targets.get(target), time_us)
        found += [by_label] if by_label else []
        return _latest([case for case in found if _concerns(case, target, (target,))])

    def of_stop(
        self, scope: str, targets: Sequence[str], time_us: int, escalates_us: int
    ) -> Case | None:
        """Find the incident that a stop belongs to.

        One whose stop covers its scope; one below it that something came to within
        `escalates_us`, so that it is what made somebody press wider; one that has a target
        in common, which is how stops by label are found.
        """
        found = self._over(scope, time_us)
        below = self._last(self._below, scope, time_us)
        if below is not None and time_us - below.last_us <= escalates_us:
            found.append(below)
        if not found:
            some = (self._targets.get(target) for target in targets[:_MOST_TARGETS])
            alive = [case for one in some if (case := self._alive(one, time_us)) is not None]
            found = [case for case in alive if "=" in scope or any("=" in s for s in case.scopes)]
        return _latest([case for case in found if _concerns(case, scope, targets)])

    def below(self, scope: str, time_us: int, most: int = 50) -> list[Case]:
        """List those of a scope or below it, the latest first."""
        found = []
        for case in reversed(list(self._below.get(scope, {}).values())):
            if self._alive(case, time_us) is not None:
                found.append(case)
            if len(found) >= most:
                break
        return found

    def _over(self, scope: str, time_us: int) -> list[Case]:
        found = []
        for above in scopes_of(scope):
            case = self._last(self._at, above, time_us)
            if case is not None:
                found.append(case)
        return found

    def _last(self, rooms: dict[str, dict[str, Case]], scope: str, time_us: int) -> Case | None:
        room = rooms.get(scope)
        while room:
            case = next(reversed(room.values()))
            if self._alive(case, time_us) is not None:
                return case
            room.pop(case.name, None)
            room = rooms.get(scope)
        return None

    def _alive(self, case: Case | None, time_us: int) -> Case | None:
        if case is None or self._takes(case, time_us):
            return case
        self.leave(case)
        return None


def _drop(rooms: dict[str, dict[str, Case]], scope: str, case: Case) -> None:
    room = rooms.get(scope)
    if room is not None:
        room.pop(case.name, None)
        if not room:
            del rooms[scope]


def _concerns(case: Case, scope: str, targets: Sequence[str]) -> bool:
    """Tell whether it goes on in this: one that was reset only in what it had stopped."""
    if case.reset_us is None or case.live:
        return True
    return scope in case.scopes or not case.targets.keys().isdisjoint(targets)


def _latest(found: list[Case]) -> Case | None:
    return max(found, key=lambda case: case.opened_in, default=None)
