"""Many stops made into few that cover at least as much: what keeps the latch small (SR-17).

    stops of one scope                 ─► one of that scope
    stops within one parent            ─► one of the parent       the deepest parents first, and
                                                                  of these the largest group
    stops by label, and what is left   ─► one of everything

The one has the highest level of those that it stands for, so whatever one of them stopped
is stopped by it, and no less. It may stop more: nothing is ever dropped to make room. Its
nonce is the digest of their sorted list, so its reset names them all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from offswitch.model.order import Stop, set_digest
from offswitch.model.scope import EVERYTHING, Scope

__all__ = ["CHANNEL", "Merged", "merged"]

CHANNEL = "merged"
"""The road of a stop that stands for others."""
_BY = "warden"


@dataclass(frozen=True, slots=True)
class Merged:
    """One stop, and those that it stands for from now on."""

    stop: Stop
    instead_of: tuple[Stop, ...]
    """At least two."""


def merged(stops: Sequence[Stop], most: int, now_us: int) -> list[Merged]:
    """Say how `stops` become at most `most` (at least one), widening as few as it takes.

    What is in no answer stays as it is. Empty where there are not more than `most`.
    """
    left = {stop.digest: stop for stop in stops}
    made: dict[str, Merged] = {}
    for scope, group in _groups(left):
        if len(left) <= most:
            break
        one = _one(scope, group, made, now_us)
        for stop in group:
            del left[stop.digest]
            made.pop(stop.digest, None)
        left[one.stop.digest] = one.stop
        made[one.stop.digest] = one
    return list(made.values())


def _groups(left: dict[str, Stop]) -> Iterator[tuple[Scope, list[Stop]]]:
    """Give what may be merged next: `left` changes meanwhile, and is looked at level by level."""
    deepest = max((_depth(stop.scope) for stop in left.values()), default=0)
    for depth in range(deepest, -1, -1):
        groups: dict[str, list[Stop]] = defaultdict(list)
        for stop in left.values():
            groups[_lifted(stop.scope, depth)].append(stop)
        several = [(text, group) for text, group in groups.items() if len(group) > 1]
        for text, group in sorted(several, key=lambda pair: (-len(pair[1]), pair[0])):
            yield Scope(text), group


def _depth(scope: Scope) -> int:
    """How many steps lie above a scope; a label hangs below everything, like a first name."""
    if scope == EVERYTHING:
        return 0
    return 1 if scope.is_label else scope.text.count("/") + 1


def _lifted(scope: Scope, depth: int) -> str:
    """Give the scope `depth` steps below everything that covers `scope`, or it where it is."""
    if _depth(scope) <= depth:
        return scope.text
    return "/".join(scope.text.split("/")[:depth]) if depth else EVERYTHING.text


def _one(scope: Scope, group: list[Stop], made: dict[str, Merged], now_us: int) -> Merged:
    stood_for: list[Stop] = []
    for stop in group:
        earlier = made.get(stop.digest)
        stood_for += earlier.instead_of if earlier is not None else [stop]
    named = set_digest([stop.digest for stop in stood_for])
    why = f"stands for {len(stood_for)} stops, {named}: the latch holds no more single ones"
    level = max(stop.level for stop in group)
    first = group[0].installation
    return Merged(Stop(first, scope, level, _BY, CHANNEL, named, now_us, why), tuple(stood_for))
