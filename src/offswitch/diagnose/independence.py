"""What layers share, and whether an effect has two ways that share nothing (ACT-3). Pure.

Two ways are compared by four things: the process that acts, the credential that allows it, the
transport of the command, and the host where it ends. Two *layers* share what their least entangled
ways share: it takes but one way of each. They overlap *fully* where that is all four: then one of
them is there for show. They are *independent* where it is none.

That a target and what stops it are on the same machine is no common cause of the kind that leaves
it running: where the machine is gone, so is the target. So this machine counts as a shared host
only for what does not run here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product

from offswitch.diagnose.effects import COOPERATIVE, Effect, layers_for
from offswitch.diagnose.ways import HERE, Way

__all__ = ["DIMENSIONS", "Reach", "Sharing", "reach_of", "sharing_of"]

DIMENSIONS = ("process", "credential", "transport", "host")


@dataclass(frozen=True, slots=True)
class Sharing:
    """What two layers have in common."""

    layers: tuple[str, str]
    shared: dict[str, tuple[str, ...]]
    """Dimension → what of it both need; a dimension that is not here is not shared."""

    @property
    def fully(self) -> bool:
        """Whether they share everything."""
        return len(self.shared) == len(DIMENSIONS)

    @property
    def independent(self) -> bool:
        """Whether they share nothing."""
        return not self.shared


@dataclass(frozen=True, slots=True)
class Reach:
    """How one effect can be brought about now."""

    effect: Effect
    layers: tuple[str, ...]
    """Layers that could act."""
    independent: tuple[str, str] | None
    """Two of them that share nothing; None: there are no such two."""
    common: tuple[str, ...]
    """Where there are none: what the least entangled two share, or that there is one or none."""


def sharing_of(ways: Sequence[Way], *, lives_here: bool) -> list[Sharing]:
    """Compare each two layers that could act."""
    layers = _by_layer(ways)
    return [
        Sharing((one, other), _least(layers[one], layers[other], lives_here=lives_here))
        for one, other in combinations(sorted(layers), 2)
    ]


def reach_of(ways: Sequence[Way], *, lives_here: bool) -> list[Reach]:
    """Say of each effect by which layers it is reached, and whether two of them share nothing."""
    pairs = sharing_of(ways, lives_here=lives_here)
    able = sorted(_by_layer(ways))
    found = []
    for effect in Effect:
        layers = tuple(layer for layer in able if layer in layers_for(effect))
        mine = [pair for pair in pairs if set(pair.layers) <= set(layers)]
        best = min(mine, key=lambda pair: len(pair.shared), default=None)
        if best is not None and best.independent:
            found.append(Reach(effect, layers, best.layers, ()))
        elif best is None:
            alone = f"only {layers[0]}" if layers else "nothing"
            found.append(Reach(effect, layers, None, (alone,)))
        else:
            common = tuple(f"{what} {name}" for what, some in best.shared.items() for name in some)
            found.append(Reach(effect, layers, None, common))
    return found


def _by_layer(ways: Sequence[Way]) -> dict[str, list[Way]]:
    found: dict[str, list[Way]] = {}
    for way in ways:
        if way.able and way.layer != COOPERATIVE:
            found.setdefault(way.layer, []).append(way)
    return found


def _least(
    ones: Sequence[Way], others: Sequence[Way], *, lives_here: bool
) -> dict[str, tuple[str, ...]]:
    compared = [_shared(one, other, lives_here=lives_here) for one, other in product(ones, others)]
    return min(compared, key=len)


def _shared(one: Way, other: Way, *, lives_here: bool) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    if both := one.processes & other.processes:
        found["process"] = tuple(sorted(both))
    if one.credential == other.credential:
        found["credential"] = (one.credential,)
    if one.transport == other.transport:
        found["transport"] = (one.transport,)
    if one.host == other.host and not (one.host == HERE and lives_here):
        found["host"] = (one.host,)
    return found
