"""Which of several signs came first, as far as can be told: the root, and its consequences.

Each sign has a window in which it has begun, and its detector may be slower than those of what it
caused, so the first to be noticed need not be the first. What helps is that a fault spreads: what
is not the root began because something beside it had begun before. So for each place that may have
been first (none was surely before it), and each moment of its window, all others are reached one
after the other from those that are reached already, each within its own window if it can be, and it
is asked how likely that is: a hop takes some time, nobody knows how long, and a share of it is
chance. All moments and all lengths of a hop count (as with first-passage percolation; compare
Pinto, Thiran and Vetterli, "Locating the Source of Diffusion in Large-Scale Networks", Physical
Review Letters 109, 068702, 2012). One place that fits not at all cannot say more than a little.

Distance: one for a declared neighbour, and for what a place covers; where nobody has declared any,
half for each step up or down in the tree of names. Only what was noticed early is looked at: the
rest has its causes there.
"""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from offswitch.station.alarms.sign import Sign, Ties, above

__all__ = ["root_of"]

_MOST_CANDIDATES = 24
_FINALISTS = 6
_MOST_PLACES = 120
_MOST_BESIDE = 8
_MOST_BY_NAME = 16
"""Of places, where only names say what lies near: then each may have been reached from each."""
_FARTHEST = 4.0
_NOISE_US = 40_000.0
"""How exact a window is at its edges."""
_CHANCE = 0.55
"""How much of the time of a hop is chance: the spread of its logarithm."""
_STEP = 0.5
"""What a step in the tree of names costs: two siblings are as near as neighbours."""
_LEAST = 0.003
"""The likelihood of a place that fits not at all: it may have failed for reasons of its own."""
_HOPS_US = tuple(30_000.0 * 3**step for step in range(6))
"""How long a hop may take: from 30 ms to 7 s."""
_BEGINNINGS = 6
_ROOT_2 = math.sqrt(2)


@dataclass(frozen=True, slots=True)
class _Place:
    """One place, and when it began there."""

    name: str
    early_us: float
    late_us: float

    @property
    def middle_us(self) -> float:
        return (self.early_us + self.late_us) / 2


def root_of(signs: Sequence[Sign], ties: Ties) -> list[Sign]:
    """Give the signs again, the root first, then in the order in which they may have begun."""
    places = _places(signs)
    if not places:
        return []
    root = _root(places, ties) if len(places) > 1 else next(iter(places))
    order = sorted(signs, key=lambda one: (one.found_us + one.early_us, one.found_us, one.key))
    first = next(one for one in order if one.place == root)
    return [first, *(one for one in order if one is not first)]


def _places(signs: Iterable[Sign]) -> dict[str, _Place]:
    """Take together what was seen of each place: it has begun before each of its signs was."""
    found: dict[str, list[Sign]] = defaultdict(list)
    for sign in signs:
        found[sign.place].append(sign)
    places = {}
    for name, those in found.items():
        late = min(one.late_us for one in those)
        # A sign that began later than another was noticed says nothing about the beginning.
        early = max(one.early_us for one in those if one.early_us <= late)
        places[name] = _Place(name, float(min(early, late)), float(late))
    return places


def _root(places: Mapping[str, _Place], ties: Ties) -> str:
    """Find the place from which all of it fits best."""
    first_us = min(one.late_us for one in places.values())
    may = sorted(
        (one for one in places.values() if one.early_us <= first_us),
        key=lambda one: (one.middle_us, one.name),
    )[:_MOST_CANDIDATES]
    tied = any(ties.get(name) for name in places)
    most = _MOST_PLACES if tied else _MOST_BY_NAME
    soon = sorted(places.values(), key=lambda one: (one.late_us, one.name))[:most]
    kept = {one.name: one for one in (*soon, *may)}
    beside = _beside(kept, _edges(places, ties), _MOST_BESIDE if tied else most)

    def best(those: Sequence[_Place], beginnings: int, hops: Sequence[float]) -> list[_Place]:
        fits = [
            (-_fit(one, kept, beside, first_us, beginnings, hops), rank)
            for rank, one in enumerate(those)
        ]
        return [those[rank] for _fit_, rank in sorted(fits)]

    finalists = best(may, 2, _HOPS_US[1::2])[:_FINALISTS]
    return best(finalists, _BEGINNINGS, _HOPS_US)[0].name


def _beside(
    kept: Mapping[str, _Place], edges: Mapping[str, Mapping[str, float]], most: int
) -> dict[str, list[tuple[str, float]]]:
    """Give for each place those from which it may have been reached, and how far they are."""
    found = {}
    for name in kept:
        away = _distances(edges, name, kept)
        near = sorted(
            (far, kept[other].late_us, other) for other, far in away.items() if other != name
        )
        found[name] = [(other, far) for far, _late, other in near[:most]]
    both: dict[str, dict[str, float]] = {name: dict(those) for name, those in found.items()}
    for name, those in found.items():
        for other, far in those:
            both[other][name] = far
    return {name: list(those.items()) for name, those in both.items()}


def _edges(places: Mapping[str, _Place], ties: Ties) -> dict[str, dict[str, float]]:
    """Draw what lies beside what: neighbours, and what covers what."""
    edges: dict[str, dict[str, float]] = defaultdict(dict)
    for name in places:
        for neighbour in ties.get(name, ()):
            edges[name][neighbour] = edges[neighbour][name] = 1.0
        path = list(above(name))
        for high in path[1:]:
            if high in places:
                edges[name].setdefault(high, 1.0)
                edges[high].setdefault(name, 1.0)
        if not ties.get(name):
            for low, high in pairwise(path):
                edges[low].setdefault(high, _STEP)
                edges[high].setdefault(low, _STEP)
    return edges


def _distances(
    edges: Mapping[str, Mapping[str, float]], start: str, wanted: Mapping[str, _Place]
) -> dict[str, float]:
    """Say how far the nearest of `wanted` are from `start` (Dijkstra)."""
    away: dict[str, float] = {}
    heap = [(0.0, start)]
    while heap and len(away) < _MOST_PLACES * 4:
        far, name = heapq.heappop(heap)
        if name in away:
            continue
        away[name] = far
        for other, length in edges.get(name, {}).items():
            if other not in away and far + length <= _FARTHEST:
                heapq.heappush(heap, (far + length, other))
    return {name: far for name, far in away.items() if name in wanted}


def _fit(
    root: _Place,
    kept: Mapping[str, _Place],
    beside: Mapping[str, list[tuple[str, float]]],
    first_us: float,
    beginnings: int,
    hops: Sequence[float],
) -> float:
    """Say how well it fits that everything spread from `root`: the logarithm of a likelihood."""
    late_us = min(root.late_us, first_us)
    width_us = max(late_us - root.early_us, 0.0) + _NOISE_US
    logs = []
    for number in range(beginnings):
        begin_us = late_us + _NOISE_US / 2 - width_us * (number + 0.5) / beginnings
        logs += [_spread(root.name, begin_us, hop_us, kept, beside) for hop_us in hops]
    best = max(logs)
    whole = sum(math.exp(one - best) for one in logs) / len(logs)
    return best + math.log(whole * width_us)


def _spread(
    root: str,
    begin_us: float,
    hop_us: float,
    kept: Mapping[str, _Place],
    beside: Mapping[str, list[tuple[str, float]]],
) -> float:
    """Reach everything from the root, the earliest first; gives the logarithm of how likely."""
    begun: dict[str, float] = {}
    heap = [(begin_us, root)]
    total = 0.0
    while heap:
        at_us, name = heapq.heappop(heap)
        if name in begun:
            continue
        if name != root:
            place = kept[name]
            likely = max(
                _within(begun[other], hop_us * far, place)
                for other, far in beside[name]
                if other in begun
            )
            total += math.log(likely + _LEAST)
        begun[name] = at_us
        for other, far in beside[name]:
            if other not in begun:
                place = kept[other]
                then_us = min(max(at_us + hop_us * far, place.early_us), place.late_us)
                heapq.heappush(heap, (max(then_us, at_us), other))
    return total + math.log(_LEAST) * (len(kept) - len(begun))


def _within(from_us: float, hop_us: float, place: _Place) -> float:
    """Say how likely a hop that began then and takes so long ends in the place's window."""
    late_us = place.late_us + _NOISE_US - from_us
    if late_us <= 0:
        return 0.0
    spread = _ROOT_2 * _CHANCE
    upper = math.erf(math.log(late_us / hop_us) / spread)
    early_us = place.early_us - _NOISE_US - from_us
    lower = math.erf(math.log(early_us / hop_us) / spread) if early_us > 0 else -1.0
    return (upper - lower) / 2
