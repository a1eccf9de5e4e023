"""Which signs belong together: what may have spread from one to the other (HMI-7).

A sign joins a group that it may have spread from or to: same place, declared neighbour, or near in
the tree of names; the farther, the sooner it must have come. Signs arrive in the order in which
they were noticed, not in which things happened: what first looks like two groups is made one when
a sign between them turns up that may have begun before either was noticed. Later nothing is
merged: two causes that people were told of stay two.

What is all over the place joins nothing: a rule about everything (`/`) ties no two targets.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from offswitch.station.alarms.first_out import root_of
from offswitch.station.alarms.sign import Sign, Ties, above

__all__ = ["Group", "Groups", "grouped"]

_SECOND_US = 1_000_000
_AGAIN_US = 300 * _SECOND_US
"""So long after the last sign of a place another one of it is more of the same."""
_BESIDE_US = 60 * _SECOND_US
"""How long it may take from a neighbour, or from what lies above, below or beside in the tree."""
_FAR_US = 15 * _SECOND_US
"""How long from farther away below the same first name."""
_MOST_GROUPS = 1000
"""That are remembered: beyond that the oldest of which nothing more came are forgotten."""
_MOST_SIGNS = 2000
"""Of a group: more are only counted."""


@dataclass(slots=True)
class Group:
    """Signs that belong together."""

    number: int
    """In the order in which groups began; a merged one has the lower number of the two."""
    signs: list[Sign] = field(default_factory=list)
    count: int = 0
    """How many signs there were, repeated ones included."""
    begun_us: int = 0
    """When the first of them was noticed."""
    last_us: int = 0
    grave: bool = False
    known: set[tuple[str, str]] = field(default_factory=set)
    places: dict[str, int] = field(default_factory=dict)
    """When each place last gave a sign."""
    near: dict[str, int] = field(default_factory=dict)
    """The same for every path above a place."""

    def add(self, sign: Sign) -> None:
        """Take one in."""
        place = sign.place
        self.begun_us = min(self.begun_us, sign.found_us) if self.count else sign.found_us
        self.last_us = max(self.last_us, sign.found_us)
        self.count += 1
        self.grave = self.grave or sign.grave
        if len(self.signs) < _MOST_SIGNS and (sign.key, sign.target) not in self.known:
            self.known.add((sign.key, sign.target))
            self.signs.append(sign)
        self.places[place] = max(self.places.get(place, 0), sign.found_us)
        for path in above(place):
            self.near[path] = max(self.near.get(path, 0), sign.found_us)

    def ranked(self, ties: Ties) -> list[Sign]:
        """Give its signs, the root first, then in the order in which they may have begun."""
        return root_of(self.signs, ties)


class Groups:
    """The groups of all signs so far."""

    def __init__(self, ties: Ties | None = None) -> None:
        """Group what is near by name, or by `ties`."""
        self.ties: Ties = ties or {}
        self.groups: dict[int, Group] = {}
        self._active: list[Group] = []
        self._next = 1

    def take(self, sign: Sign) -> tuple[Group, list[Group]]:
        """Put a sign into its group; gives that, and those that were merged into it by this."""
        self._active = [one for one in self._active if sign.early_us - one.last_us < _AGAIN_US]
        tied = [(gap, one) for one in self._active if (gap := self._gap(one, sign)) is not None]
        if not tied:
            group = Group(self._next)
            self._next += 1
            self.groups[group.number] = group
            self._forget()
            self._active.append(group)
            group.add(sign)
            return group, []
        tied.sort(key=lambda pair: (pair[0], pair[1].number))
        best = tied[0][1]
        # What may have begun before both were noticed may be what both came from.
        begun_us = best.begun_us
        also = [one for _gap, one in tied[1:] if sign.early_us <= max(begun_us, one.begun_us)]
        merged = sorted([best, *also], key=lambda one: one.number)
        kept = merged.pop(0)
        for one in merged:
            self._merge(kept, one)
        kept.add(sign)
        return kept, merged

    def _forget(self) -> None:
        if len(self.groups) > _MOST_GROUPS:
            active = {one.number for one in self._active}
            old = next((number for number in self.groups if number not in active), None)
            if old is not None:
                del self.groups[old]

    def _merge(self, kept: Group, other: Group) -> None:
        for sign in other.signs:
            kept.add(sign)
        kept.count += other.count - len(other.signs)
        kept.last_us = max(kept.last_us, other.last_us)
        self._active.remove(other)
        del self.groups[other.number]

    def _gap(self, group: Group, sign: Sign) -> int | None:
        """Say how far a sign is from a group, 0 being nearest; None: it has nothing to do with it.

        It must have begun soon enough after the sign beside it, or that after it.
        """
        place, early_us = sign.place, sign.early_us
        if early_us - group.places.get(place, -_AGAIN_US) < _AGAIN_US:
            return 0
        for neighbour in self.ties.get(place, ()):
            if early_us - group.places.get(neighbour, -_BESIDE_US) < _BESIDE_US:
                return 1
        for steps, path in enumerate(above(place)):
            if path == "/":
                break
            allowed_us = _BESIDE_US if steps < 2 else _FAR_US  # noqa: PLR2004 - itself, its parent
            if early_us - group.near.get(path, -allowed_us) < allowed_us:
                return 2 + steps
        return None


def grouped(signs: Iterable[Sign], ties: Ties | None = None) -> list[Group]:
    """Group signs as they were noticed one after the other; the group that began first is first."""
    groups = Groups(ties)
    for sign in sorted(signs, key=lambda one: one.found_us):
        groups.take(sign)
    return sorted(groups.groups.values(), key=lambda one: (one.begun_us, one.number))
