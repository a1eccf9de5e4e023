"""What one loss disarms: every single thing on which a way of stopping rests (MON-6). Pure.

    a point    a process, user, credential, host, route, program or file, and what is gone with it
    layers     those that have no way left without it
    effects    those that no layer is left for: then it is a single point of failure of the stop

Root can undo whatever root has done, and where a machine is gone its targets are gone, too: both
are listed, since they are true, and neither counts as a weakness of one stop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from offswitch.diagnose.effects import COOPERATIVE, Effect, layers_for
from offswitch.diagnose.ways import HERE, ROOT, Way

__all__ = ["Lost", "Point", "lost_of", "points_of"]

_OURS = frozenset({"process", "network", "sweep", "gateway"})
_ORDER = ("process", "credential", "file", "program", "route", "host", "user")


@dataclass(frozen=True, slots=True)
class Point:
    """One thing, and what its loss disarms."""

    kind: str
    name: str
    layers: tuple[str, ...]
    """Layers that could act, and could not without it."""
    effects: tuple[Effect, ...]
    """Effects that nothing could bring about any more."""
    by_nature: bool
    """Whether that is so for every stop: root, and the machine on which the target itself runs."""

    @property
    def grave(self) -> bool:
        """Whether it is a single point of failure that could be helped."""
        return bool(self.effects) and not self.by_nature


@dataclass(frozen=True, slots=True)
class Lost:
    """A way that could not act now."""

    layer: str
    name: str
    state: str
    why: str

    @property
    def wanted(self) -> bool:
        """Whether it should be there: a layer of our own may be absent by how a target runs."""
        return self.state != "absent" or self.layer not in _OURS


def lost_of(ways: Sequence[Way]) -> list[Lost]:
    """List the ways that could not act, and why."""
    return [
        Lost(
            way.layer,
            way.name,
            way.state,
            f"{', '.join(way.missing)}: not there" if way.missing else way.why,
        )
        for way in ways
        if not way.able and way.layer != COOPERATIVE
    ]


def points_of(ways: Sequence[Way], *, lives_here: bool) -> list[Point]:
    """List what one loss would disarm, the gravest first."""
    able = [way for way in ways if way.able and way.layer != COOPERATIVE]
    rests = [(way, way.rests_on()) for way in able]
    names = {(kind, name) for _way, some in rests for kind, all_ in some.items() for name in all_}
    found = []
    for kind, name in names:
        left = {way.layer for way, some in rests if name not in some[kind]}
        gone = tuple(sorted({way.layer for way in able} - left))
        had = {way.layer for way in able}
        effects = tuple(
            effect
            for effect in Effect
            if had & layers_for(effect) and not left & layers_for(effect)
        )
        if not gone:
            continue
        nature = (kind == "user" and name == ROOT) or (
            lives_here and (kind == "host" and name == HERE)
        )
        found.append(Point(kind, name, gone, effects, nature))
    return sorted(found, key=_rank)


def _rank(one: Point) -> tuple[bool, bool, int, int, int, str]:
    """Put what is so for every stop last, and the gravest first."""
    reach = -len(one.effects), -len(one.layers)
    return one.by_nature, not one.grave, *reach, _ORDER.index(one.kind), one.name
