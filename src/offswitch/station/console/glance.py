"""What a person is told of a scene at one glance: pure, no markup.

    weight      how much a target wants an eye: it sorts and folds the Board
    Button      what STOP looks like for a scope, and says it can do (HMI-3)
    Span        whom a press hits, and whom not (HMI-2)

The sentence above everything is the picture's own (`picture.sentence`). A level at which there is
nothing to see (restrict, drain) is never called unconfirmed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum

from offswitch.model.scope import Scope
from offswitch.model.state import State
from offswitch.station.console.scene import Scene
from offswitch.station.picture.readiness import COOPERATIVE
from offswitch.station.picture.rows import TargetRow

__all__ = ["Button", "Ready", "Span", "Weight", "button", "lacking", "span", "weigh"]

_SHOWN = 8
_CALM = {State.RUNNING, State.IDLE, State.EXITED}
_GONE = {State.IDLE, State.EXITED, State.STOPPED}
_LOST = {State.UNKNOWN, State.UNREACHABLE}
_OURS = ("keeper", "observer")
"""Processes of ours without which a stop is less than it should be."""


class Weight(IntEnum):
    """How much a target wants an eye, the most first."""

    ALERT = 0
    """Unknown, blind, or stopped and not confirmed."""
    TROUBLE = 1
    """Partly stopped, stale, or not to be stopped in full."""
    STOPPED = 2
    """Latched and confirmed."""
    CALM = 3


class Ready(StrEnum):
    """What STOP can do for a scope."""

    READY = "ready"
    DEGRADED = "degraded"
    EMPTY = "empty"
    """It covers nothing that is known; it latches all the same."""
    SILENT = "silent"
    """The warden is not heard: keeper and spool are pressed, too."""
    BARRED = "barred"
    """Whoever looks may not stop this."""


@dataclass(frozen=True, slots=True)
class Button:
    """The STOP button of a scope."""

    ready: Ready
    label: str
    """What it does: `STOP shop/eu`."""
    lacks: str
    """What is not as it should be; empty where it is ready."""


@dataclass(frozen=True, slots=True)
class Span:
    """Whom a press of a scope would hit."""

    hits: tuple[str, ...]
    """Names of covered targets of which something lives, or may."""
    quiet: int
    """How many more are covered of which nothing lives; they are latched, too."""
    leaves: tuple[str, ...]
    """Names of targets that go on running."""
    cannot: tuple[tuple[str, str], ...]
    """Names of what is not surely stopped, each with why."""


def lacking(row: TargetRow) -> dict[str, str]:
    """Give the layers of a target that a stop cannot count on, each with its state."""
    return {
        layer: state
        for layer, state in sorted(row.readiness.items())
        if state != "ready" and layer != COOPERATIVE
    }


def weigh(row: TargetRow) -> Weight:
    """Weigh one target."""
    if row.state in _LOST or row.blind or row.unproven:
        return Weight.ALERT
    if row.stale or row.trouble:
        return Weight.TROUBLE
    if row.latched:
        return Weight.STOPPED if row.state in _GONE else Weight.TROUBLE
    if lacking(row) or row.state not in _CALM:
        return Weight.TROUBLE
    return Weight.CALM


def button(scene: Scene, scope: Scope, *, allowed: bool = True) -> Button:
    """Say what STOP of `scope` can do now."""
    label = "STOP everything" if scope.text == "/" else f"STOP {scope.text}"
    if not allowed:
        return Button(Ready.BARRED, label, "you may not: ask an operator")
    if not scene.live:
        lacks = "warden silent: keeper and spool are pressed, too, and stop what they can"
        return Button(Ready.SILENT, label, lacks)
    rows = scene.covered(scope)
    if not rows:
        lacks = "covers nothing that is known: it latches what comes, and confirms nothing"
        return Button(Ready.EMPTY, label, lacks)
    gone = [f"no {name}" for name in _OURS if not scene.picture.processes.get(name)]
    lacks = ", ".join([*_short(rows), *_doubted(scene, rows), *gone])
    return Button(Ready.DEGRADED if lacks else Ready.READY, label, lacks)


def _short(rows: Sequence[TargetRow]) -> list[str]:
    """Name the layers that are not ready, and for how many targets."""
    counted = Counter(pair for row in rows for pair in lacking(row).items())
    lost = sum(row.state in _LOST for row in rows)
    said = [
        f"{layer} {state}" + ("" if number == len(rows) else f" on {number:,} of {len(rows):,}")
        for (layer, state), number in sorted(counted.items())
    ]
    return [*said, f"no answer from {lost:,} of {len(rows):,}"] if lost else said


def _doubted(scene: Scene, rows: Sequence[TargetRow]) -> list[str]:
    """Name layers that look ready, and of which the last drill did not see the act."""
    return [
        f"{layer} unproven: the last drill did not see it act"
        for layer in sorted(scene.picture.doubts)
        if layer != COOPERATIVE and any(row.readiness.get(layer) == "ready" for row in rows)
    ]


def span(scene: Scene, scope: Scope) -> Span:
    """Name whom a press of `scope` hits, and whom not."""
    covered = scene.covered(scope)
    inside = {row.name for row in covered}
    hits = [row for row in covered if row.state not in _GONE]
    leaves = [
        row.name
        for row in scene.picture.targets.values()
        if row.name not in inside and row.state not in _GONE
    ]
    return Span(
        hits=tuple(row.name for row in hits),
        quiet=len(covered) - len(hits),
        leaves=tuple(leaves),
        cannot=tuple(_cannot(scene, hits)),
    )


def _cannot(scene: Scene, hits: Sequence[TargetRow]) -> Iterable[tuple[str, str]]:
    for row in hits:
        if row.state in _LOST:
            yield row.name, "no answer: unknown whether it stops"
        elif row.trouble:
            yield row.name, f"not held: {row.trouble}"
        elif row.escapable:
            yield row.name, "runs as root: it can escape"
    for each in scene.picture.untracked[:_SHOWN]:
        yield f"{each.get('name')} (pid {each.get('pid')})", "under no switch"
