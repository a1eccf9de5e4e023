"""Which layers a stop of a level commands, for one target.

The declared plan of a target may name layers; without one, a level commands all that this
warden has for it. The guard is cooperative: it is told by the page, listed, and never
counted. A layer that a plan names and this machine has not is listed as absent, and keeps
the stop from being confirmed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from offswitch.model.level import Level

__all__ = ["COOPERATIVE", "layers_of", "limit_s", "remaining"]

COOPERATIVE = "guard"
_LIMITS_S = {Level.DRAIN: 30.0, Level.FREEZE: 10.0}
"""How long work in flight may take to end by itself, and how long a freeze lasts (ACT-1)."""
_LONGEST_S = 86_400.0
_DEFAULT = {
    Level.RESTRICT: ("guard",),
    Level.DRAIN: ("guard",),
    Level.FREEZE: ("guard", "network", "process"),
    Level.KILL: ("guard", "network", "process", "sweep"),
    Level.POWEROFF: ("guard", "network", "process", "sweep", "power"),
}


def layers_of(
    level: Level, declared: Mapping[str, Any] | None, available: Collection[str]
) -> list[str]:
    """Name the layers for `level`: the declared ones, else all of the level that are available.

    `power` stays in the list even where nothing can do it: a person asked for it.
    """
    plan = (declared or {}).get("stop")
    named = plan.get(level.label) if isinstance(plan, Mapping) else None
    if isinstance(named, list) and named:
        return ["guard", *(str(layer) for layer in named if layer != "guard")]
    usual = _DEFAULT[level]
    return [layer for layer in usual if layer in available or layer in {"guard", "power"}]


def remaining(done: Collection[str], available: Collection[str]) -> list[str]:
    """Name the layers up to `kill` that were not commanded yet: what an escalation adds (VER-4)."""
    return [x for x in _DEFAULT[Level.KILL] if x in available and x not in done and x != "guard"]


def limit_s(level: Level, declared: Mapping[str, Any] | None) -> float | None:
    """Give the seconds after which a stop of `level` becomes a kill: declared, else the usual.

    None for a level that has no limit. What was declared and is no sensible number counts
    for nothing: a stop never fails over a plan.
    """
    usual = _LIMITS_S.get(level)
    plan = (declared or {}).get("limits_s")
    wanted = plan.get(level.label) if isinstance(plan, Mapping) else None
    if usual is None or isinstance(wanted, bool) or not isinstance(wanted, int | float):
        return usual
    return float(wanted) if 0 <= wanted <= _LONGEST_S else usual
