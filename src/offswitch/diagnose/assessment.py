"""One target's whole assessment: its ways, what is lost, what one loss disarms, what is shared.

It is made of the facts that a warden gives (`assess`), and looks at nothing itself. A target of
which nothing is here and nothing was declared cannot be judged: what comes with its processes comes
when it starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from offswitch.diagnose.independence import Reach, Sharing, reach_of, sharing_of
from offswitch.diagnose.points import Lost, Point, lost_of, points_of
from offswitch.diagnose.ways import Way, ways_of

__all__ = ["Assessment", "assess"]


@dataclass(frozen=True, slots=True)
class Assessment:
    """What is to be known of the stop of one target."""

    target: str
    state: str
    judged: bool
    """False: it does not run, and will have more ways when it does."""
    here: bool
    """Whether it runs on this machine."""
    ways: tuple[Way, ...]
    reach: tuple[Reach, ...]
    lost: tuple[Lost, ...]
    points: tuple[Point, ...]
    sharing: tuple[Sharing, ...]

    @property
    def grave(self) -> tuple[Point, ...]:
        """Give the single points of failure."""
        return tuple(point for point in self.points if point.grave)

    @property
    def diverse(self) -> bool:
        """Whether each effect has two layers that share nothing, and no two overlap fully."""
        whole = all(reach.independent is not None for reach in self.reach)
        return not self.judged or (whole and not any(pair.fully for pair in self.sharing))

    @property
    def sound(self) -> bool:
        """Whether no way is lost, and no one loss disarms an effect."""
        if any(lost.wanted for lost in self.lost):
            return False
        return not self.judged or (not self.grave and all(reach.layers for reach in self.reach))

    def as_dict(self) -> dict[str, Any]:
        """Give the object that `--json` shows."""
        return {
            "target": self.target,
            "state": self.state,
            "judged": self.judged,
            "sound": self.sound,
            "diverse": self.diverse,
            "effects": [
                {
                    "effect": one.effect.value,
                    "layers": list(one.layers),
                    "independent": None if one.independent is None else list(one.independent),
                    "common": list(one.common),
                }
                for one in self.reach
            ],
            "lost": [
                {"layer": one.layer, "way": one.name, "state": one.state, "detail": one.why}
                for one in self.lost
            ],
            "points": [
                {
                    "kind": one.kind,
                    "name": one.name,
                    "layers": list(one.layers),
                    "effects": [effect.value for effect in one.effects],
                    "grave": one.grave,
                }
                for one in self.points
            ],
            "sharing": [
                {
                    "layers": list(one.layers),
                    "shared": {what: list(some) for what, some in one.shared.items()},
                    "fully": one.fully,
                }
                for one in self.sharing
            ],
        }


def assess(target: Mapping[str, Any], ours: Mapping[str, Any]) -> Assessment:
    """Assess one target of a warden's facts; `ours` are the warden's own processes."""
    ways, here = ways_of(target, ours), target.get("lives_here") is True
    return Assessment(
        str(target.get("target")),
        str(target.get("state")),
        here or (bool(ways) and target.get("starts_here") is not True),
        here,
        tuple(ways),
        tuple(reach_of(ways, lives_here=here)),
        tuple(lost_of(ways)),
        tuple(points_of(ways, lives_here=here)),
        tuple(sharing_of(ways, lives_here=here)),
    )
