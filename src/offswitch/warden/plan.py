"""Which layers a stop of a level commands, for one target, and which of them come later.

A level commands all that this warden has for it. The declared plan of a target may add
layers and take none away: a plan that forgets the sweep must not let a job of its user live.
The guard is cooperative: it is told by the page, listed, and never counted. A layer that a
plan names and this machine has not is listed as absent, and keeps the stop from being
confirmed. `power` is of a poweroff alone: where a plan names it for less, that is leave to go so
far if a kill is in vain, and nothing but the target is on this machine (SR-10).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from offswitch.actuators.compose import END_S, Shape
from offswitch.control.ids import HANDS
from offswitch.model.level import Level

__all__ = [
    "COOPERATIVE",
    "GATEWAY",
    "HAND_LAYERS",
    "LOCAL",
    "POWER",
    "TOLD",
    "UNKNOWN",
    "layers_of",
    "limit_s",
    "may_power_off",
    "shape_of",
    "snapshot_of",
]

COOPERATIVE = "guard"
GATEWAY = "gateway"
"""Told by the page, as guards are; whether it cut is looked at, so from a freeze on it counts."""
POWER = "power"
"""The machine itself: commanded by a poweroff, and by nothing less (SR-10)."""
TOLD = frozenset({COOPERATIVE, GATEWAY})
"""What is told by the page alone."""
LOCAL = frozenset({"network", "process", "sweep"})
"""The layers that the warden's own actuators do, and its observer looks at."""
UNKNOWN = "hands"
"""Stands among a target's layers where it is not known which hands were declared for it."""
HAND_LAYERS = frozenset(HANDS)
"""The layers that hands may be of; of the network they are a second way."""
_LIMITS_S = {Level.DRAIN: 30.0, Level.FREEZE: 10.0}
"""How long work in flight may take to end by itself, and how long a freeze lasts (ACT-1)."""
_LONGEST_S = 86_400.0
_LONGEST_SNAPSHOT_US = 1_000_000
_DEFAULT = {
    Level.RESTRICT: ("guard", "gateway"),
    Level.DRAIN: ("guard", "gateway"),
    Level.FREEZE: ("guard", "gateway", "network", "process"),
    Level.KILL: ("guard", "gateway", "network", "process", "sweep"),
    Level.POWEROFF: ("guard", "gateway", "network", "process", "sweep", "power"),
}


def layers_of(
    level: Level,
    declared: Mapping[str, Any] | None,
    available: Collection[str],
    handed: Collection[str] = (),
) -> list[str]:
    """Name the layers for `level`: all of it that are available, and those that are declared.

    Of a poweroff `power` is one even where nothing can do it: a person asked for it. It is
    a kill first, so whatever the plan adds to a kill is in it, too. What hands were declared for
    (`handed`) a kill commands, too; a lesser stop only where the plan names it.
    """
    plan = (declared or {}).get("stop")
    levels = [Level.KILL, level] if level is Level.POWEROFF else [level]
    named = [plan.get(each.label) for each in levels] if isinstance(plan, Mapping) else []
    added = [str(layer) for layers in named if isinstance(layers, list) for layer in layers]
    usual = [x for x in _DEFAULT[level] if x in available or x in {COOPERATIVE, POWER}]
    by_hand = sorted(handed) if level >= Level.KILL else []
    wanted = dict.fromkeys([*usual, *by_hand, *added])
    return [layer for layer in wanted if layer != POWER or level is Level.POWEROFF]


def shape_of(declared: Mapping[str, Any] | None) -> Shape:
    """Give how a target's layers are composed; what cannot be understood puts nothing off."""
    plan = (declared or {}).get("stop")
    if not isinstance(plan, Mapping):
        return _PLAIN
    sequence, escalate, deadlines = (plan.get(x) for x in ("sequence", "escalate", "deadlines"))
    if not (sequence or escalate or deadlines):
        return _PLAIN
    steps = [
        (_seconds(step.get("after")), _texts(step.get("layers")))
        for step in (escalate if isinstance(escalate, list) else ())
        if isinstance(step, Mapping)
    ]
    limits = deadlines if isinstance(deadlines, Mapping) else {}
    known = {str(layer): _seconds(us) for layer, us in limits.items()}
    return Shape(
        _texts(sequence),
        tuple((after_s, layers) for after_s, layers in steps if after_s is not None),
        {layer: limit_s for layer, limit_s in known.items() if limit_s},
    )


def may_power_off(declared: Mapping[str, Any] | None) -> bool:
    """Tell whether a target's plan names the power, so that a kill in vain may go so far."""
    plan = (declared or {}).get("stop")
    if not isinstance(plan, Mapping):
        return False
    steps = plan.get("escalate")
    later = (
        [step.get("layers") for step in steps if isinstance(step, Mapping)]
        if isinstance(steps, list)
        else []
    )
    return any(POWER in _texts(layers) for layers in [plan.get("kill"), *later])


_PLAIN = Shape()


def _texts(value: object) -> tuple[str, ...]:
    return tuple(str(each) for each in value) if isinstance(value, list) else ()


def _seconds(us: object) -> float | None:
    """Give microseconds as seconds; None: that is no time within which a stop is proven."""
    return us / 1e6 if type(us) is int and 0 <= us <= END_S * 1e6 else None


def snapshot_of(declared: Mapping[str, Any] | None) -> tuple[float, int]:
    """Give for how many seconds a kill freezes first, for a snapshot, and how much memory it has.

    0 unless the plan asks for it, and never more than a second: a kill is not put off longer.
    """
    plan = (declared or {}).get("stop")
    wanted = plan.get("snapshot") if isinstance(plan, Mapping) else None
    memory = plan.get("snapshot_memory") if isinstance(plan, Mapping) else None
    if type(wanted) is not int or not 0 < wanted <= _LONGEST_SNAPSHOT_US:
        return 0.0, 0
    return wanted / 1e6, memory if type(memory) is int and memory > 0 else 0


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
