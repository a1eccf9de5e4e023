"""Can everything here be stopped, right now? Layer by layer, and since when it is known.

A target that was never born holds no process and has no layer: there is nothing of it to stop.
Nor is there of one that lived behind a gateway alone, once that has ended.
One that lives behind a gateway alone has no process here, and no layer but that one: what lets it
through can cut it, and whether anything goes round is a doubt of its own (SR-26).

The guard is cooperative, so it is listed and never counted. A layer is as ready as its least ready
target; it is *proven* by the last time that it was seen to act, in a drill or in earnest, and the
whole is as old as its oldest proof. Which way it fails: to "cannot tell".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from offswitch.station.picture.rows import TargetRow

if TYPE_CHECKING:
    from offswitch.station.picture.picture import Picture

__all__ = ["COOPERATIVE", "CanStop", "LayerReady", "Proof", "can_stop"]

COOPERATIVE = "guard"
_GATEWAY = "gateway"
_WORST_FIRST = ("unproven", "degraded", "absent", "ready")
_LOCAL = frozenset({"process", "network", "sweep"})
"""What belongs to whatever has processes here; all others are declared for a target, or served."""
_GONE = frozenset({"idle", "exited"})
"""States in which nothing of a target runs here."""
_NEEDED = "process"
"""The layer without which nothing is a stop."""
_NAMED = 3
_NOT_DECLARED = frozenset({COOPERATIVE, _GATEWAY})


@dataclass(frozen=True, slots=True)
class Proof:
    """When a layer was last seen to act."""

    time_us: int
    """UTC, microseconds."""
    by: str
    """What showed it: a drill's name, or a stop."""


@dataclass(frozen=True, slots=True)
class LayerReady:
    """One layer over some targets."""

    layer: str
    state: str
    """The worst of its targets': `unproven`, `degraded`, `absent`, `ready`."""
    ready: int
    """Targets of which it is ready."""
    of: int
    """Targets that have something to stop."""
    why: str
    """What is wrong, and with which of them; empty: nothing."""
    proof: Proof | None
    since_us: int | None
    """Since when the first of those that are so is so; None: not known."""
    counted: bool
    """False for the guard, which the target itself obeys or not."""


@dataclass(frozen=True, slots=True)
class CanStop:
    """The answer for some targets."""

    everything: bool
    """Whether all of them can be stopped."""
    why: str
    """Why not; empty: they can."""
    layers: tuple[LayerReady, ...]
    oldest_us: int | None
    """When the least lately proven layer was proven; None: one was never, or there is none."""
    targets: int
    """How many have something to stop."""
    doubt: str = ""
    """What may go round a gateway, where nothing worse is known; empty: nothing."""

    def layer(self, name: str) -> LayerReady | None:
        """Give one layer."""
        return next((one for one in self.layers if one.layer == name), None)


def can_stop(picture: Picture, rows: Iterable[TargetRow]) -> CanStop:
    """Answer for `rows` of `picture`."""
    bodies = [row for row in rows if row.readiness.keys() - {COOPERATIVE} and not _gone(row)]
    names = sorted({layer for row in bodies for layer in row.readiness})
    layers = tuple(_layer(layer, bodies, picture) for layer in names)
    why = _why_not(picture, bodies, layers)
    doubt = "" if why else _goes_round(bodies)
    untried = any(row.readiness.get(_GATEWAY) == "unproven" for row in bodies)
    counted = [one for one in layers if one.counted and one.state != "absent"]
    times = [one.proof.time_us for one in counted if one.proof is not None]
    oldest = min(times) if times and len(times) == len(counted) else None
    why = why or (doubt if untried else "")
    return CanStop(not why, why, layers, oldest, len(bodies), doubt)


def _layer(layer: str, rows: list[TargetRow], picture: Picture) -> LayerReady:
    states: Mapping[str, list[str]] = {state: [] for state in _WORST_FIRST}
    mine = [row for row in rows if layer in row.readiness or _wants(row, layer)]
    for row in mine:
        states[row.readiness.get(layer, "absent")].append(row.name)
    here = [state for state in _WORST_FIRST if states[state]]
    worst = here[0]
    why = "" if worst == "ready" else f"{worst}: {_named(states[worst])}"
    if layer in picture.doubts:
        why = f"{why}; the last drill: {picture.doubts[layer]}"
    dates = [row.ready_since.get(layer, 0) for row in mine if row.name in states[worst]]
    return LayerReady(
        layer,
        worst,
        len(states["ready"]),
        len(mine),
        why,
        picture.proofs.get(layer),
        min((date for date in dates if date), default=None),
        layer != COOPERATIVE,
    )


def _wants(row: TargetRow, layer: str) -> bool:
    """Tell whether a layer that a target has not got would be one of its own."""
    return layer in _LOCAL and not _elsewhere(row) and not _declared_alone(row)


def _elsewhere(row: TargetRow) -> bool:
    """Tell whether nothing of a target is here but what a gateway lets through."""
    return _GATEWAY in row.readiness and not row.readiness.keys() - {COOPERATIVE, _GATEWAY}


def _declared_alone(row: TargetRow) -> bool:
    """Tell whether a target has no process here, and has layers that were declared for it."""
    return row.state in _GONE and not row.readiness.keys() & _LOCAL


def _gone(row: TargetRow) -> bool:
    """Tell whether a gateway was all there was of a target, and has ended: nothing flows."""
    return _elsewhere(row) and row.state == "idle" and row.readiness[_GATEWAY] == "absent"


def _goes_round(rows: list[TargetRow]) -> str:
    """Name what has not been kept from going round its gateway, or not been seen to be."""
    states = ("unproven", "degraded")
    found = [row for row in rows if row.readiness.get(_GATEWAY) in states[: 1 + _elsewhere(row)]]
    return f"{_named([row.name for row in found])} may go round it" if found else ""


def _why_not(picture: Picture, rows: list[TargetRow], layers: Iterable[LayerReady]) -> str:
    if not picture.live:
        return f"nobody can tell: {picture.why}"
    gone = [name for name in ("keeper", "observer") if not picture.processes.get(name)]
    if gone:
        return f"no {' and no '.join(gone)}: no stop can be confirmed"
    here = [row for row in rows if not _elsewhere(row) and not _declared_alone(row)]
    bare = [row.name for row in here if row.readiness.get(_NEEDED) in {None, "absent"}]
    if bare:
        return f"no way to end the processes of {_named(bare)}"
    away = [row for row in rows if _elsewhere(row) and row.readiness[_GATEWAY] == "absent"]
    if away:
        return f"no gateway serves {_named([row.name for row in away])} now"
    unheld = [row.name for row in rows if row.trouble]
    if unheld:
        return f"not held: {_named(unheld)}"
    for one in layers:
        if one.counted and one.layer != _GATEWAY and one.state == "unproven":
            return f"the layer {one.layer} is {one.why}"
    for layer in sorted({name for row in rows for name in row.readiness} - _LOCAL - _NOT_DECLARED):
        gone = [row.name for row in rows if row.readiness.get(layer) == "absent"]
        if gone:
            return f"the layer {layer} is absent: {_named(gone)}"
    unknown = [row.name for row in rows if row.state in {"unknown", "unreachable"}]
    return f"nobody can tell of {_named(unknown)}" if unknown else ""


def _named(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
