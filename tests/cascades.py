"""Cascades and floods of alarms, made with a fixed seed: how one fault shows in many places.

A fault begins at one target and spreads along its neighbours; each hop takes a time of its own.
What is noticed of each target comes later, by the interval of its sensor, by what its detector
waits on purpose, and by a little chance. In half of the cascades nothing quick looks at the root.
"""

from __future__ import annotations

import heapq
import random
from collections import defaultdict
from dataclasses import dataclass

from offswitch.station.alarms.sign import Sign

S = 1_000_000
EVERY_US = (100_000, 250_000, 500_000, 1 * S, 2 * S, 5 * S)
WEIGHTS = (3, 4, 3, 4, 2, 2)
SLOW_US = (2 * S, 5 * S)


@dataclass(frozen=True)
class Cascade:
    """One fault, and what was noticed of it."""

    root: str
    signs: list[Sign]
    ties: dict[str, set[str]]
    slow: bool


def names(rng: random.Random, count: int, area: str) -> list[str]:
    regions = [f"{area}/eu", f"{area}/us", f"{area}/ap"]
    return [f"{rng.choice(regions)}/service-{number}" for number in range(count)]


def neighbours(rng: random.Random, targets: list[str]) -> dict[str, set[str]]:
    """Tie each target to one to three of those before it, the busy ones more often."""
    ties: dict[str, set[str]] = defaultdict(set)
    busy = [targets[0]]
    for number, name in enumerate(targets[1:], 1):
        for other in sorted({rng.choice(busy) for _ in range(rng.choice((1, 1, 2, 3)))}):
            ties[name].add(other)
            ties[other].add(name)
            busy += [name, other]
        if number % 7 == 0:
            busy.append(name)
    return ties


def spread(
    rng: random.Random, ties: dict[str, set[str]], root: str, hop_us: float, most: int
) -> dict[str, float]:
    """Say when the fault reaches what, as far as it gets."""
    begun: dict[str, float] = {}
    heap = [(0.0, root)]
    while heap and len(begun) < most:
        at_us, name = heapq.heappop(heap)
        if name in begun:
            continue
        begun[name] = at_us
        for other in sorted(ties[name]):
            if other not in begun and rng.random() < 0.9:
                heapq.heappush(heap, (at_us + hop_us * rng.lognormvariate(0, 0.5), other))
    return begun


def noticed(
    rng: random.Random, target: str, key: str, begun_us: float, *, slow: bool = False
) -> Sign:
    """Notice one thing of a target, some time after it has begun."""
    every_us = rng.choice(SLOW_US) if slow else rng.choices(EVERY_US, WEIGHTS)[0]
    delay_us = rng.choice((0, 0, 0, S)) if not slow else 0
    begun_us += rng.expovariate(1 / 50_000)
    late_us = rng.uniform(0, every_us) + delay_us + rng.uniform(0, 30_000)
    return Sign(key, target, int(begun_us + late_us), every_us + delay_us + 30_000, delay_us)


def cascade(
    seed: int, *, findings: int = 200, hop_us: float = 2 * S, at_us: int = 0, area: str = "shop"
) -> Cascade:
    """Make a fault that shows in `findings` places and ways."""
    rng = random.Random(seed)
    targets = names(rng, 60, area)
    ties = neighbours(rng, targets)
    root = rng.choice(targets)
    begun = spread(rng, ties, root, hop_us, 60)
    slow_root = rng.random() < 0.5
    reached = sorted(begun)
    signs = [noticed(rng, root, "first", at_us, slow=slow_root)]
    for number in range(findings - 1):
        name = rng.choice(reached) if number >= len(reached) else reached[number]
        slow = slow_root and name == root
        signs.append(noticed(rng, name, f"k{number}", at_us + begun[name], slow=slow))
    rng.shuffle(signs)
    return Cascade(root, signs, ties, slow_root)


@dataclass(frozen=True)
class Flood:
    """An hour of events, oldest first, and which of them are the causes."""

    signs: list[Sign]
    causes: list[Sign]
    ties: dict[str, set[str]]


def flood(seed: int, *, early: int, later: int, events: int = 10_000) -> Flood:
    """Make an hour: `early` faults in the first ten minutes, `later` ones after, three flapping.

    Each fault has an area of its own, and shows 60 to 200 times; the rest repeats: flapping
    sensors, and consequences that are found again while they stand.
    """
    rng = random.Random(seed)
    starts = [rng.uniform(0, 590) for _ in range(early)]
    starts += [rng.uniform(600, 3500) for _ in range(later)]
    signs, causes = [], []
    ties: dict[str, set[str]] = {}
    for number, at in enumerate(starts):
        one = cascade(
            seed * 1000 + number, findings=rng.randint(60, 200), at_us=int(at * S),
            area=f"area-{number}",
        )  # fmt: skip
        causes.append(next(sign for sign in one.signs if sign.key == "first"))
        signs += one.signs
        ties |= one.ties
    standing = list(signs)
    flapping = [("cache/a", "up"), ("mail/b", "queue"), ("host/c", "disk")]
    while len(signs) < events:
        if rng.random() < 0.5:
            target, key = rng.choice(flapping)
            signs.append(Sign(key, target, int(rng.uniform(0, 3600) * S), S))
        else:
            old = rng.choice(standing)
            again = old.found_us + int(rng.uniform(1, 240) * S)
            signs.append(Sign(old.key, old.target, again, old.lag_us, old.wait_us))
    signs.sort(key=lambda sign: sign.found_us)
    return Flood(signs, causes, ties)
