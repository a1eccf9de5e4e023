"""What a person is told of a scene at one glance: pure, no markup.

    weight      how much a target wants an eye: it sorts and folds the Board
    sentence    the top line: ONE sentence, the worst first
    Button      what STOP looks like for a scope, and says it can do (HMI-3)
    Span        whom a press hits, and whom not (HMI-2)

"Stopped" is said only of what was confirmed. A level at which there is nothing to see (restrict,
drain) is never called unconfirmed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum

from offswitch.model.scope import EVERYTHING, Scope
from offswitch.model.state import State
from offswitch.station.console.scene import Row, Scene

__all__ = [
    "Button",
    "Ready",
    "Span",
    "Tone",
    "Weight",
    "about",
    "button",
    "count",
    "lacking",
    "sentence",
    "span",
    "unconfirmed",
    "weigh",
]

_NAMED = 3
_SHOWN = 8
_UNSEEN_LEVELS = {"restrict", "drain"}
_CALM = {State.RUNNING, State.IDLE, State.EXITED}
_GONE = {State.IDLE, State.EXITED, State.STOPPED}
_LOST = {State.UNKNOWN, State.UNREACHABLE}
_COOPERATIVE = {"guard"}
"""Layers that are listed, and never counted on."""


class Weight(IntEnum):
    """How much a target wants an eye, the most first."""

    ALERT = 0
    """Unknown, blind, or stopped and not confirmed."""
    TROUBLE = 1
    """Under way, partly stopped, stale, or not to be stopped in full."""
    STOPPED = 2
    """Latched and confirmed."""
    CALM = 3


class Tone(StrEnum):
    """How the top line looks; its words say the same."""

    ALERT = "alert"
    TROUBLE = "trouble"
    STOPPED = "stopped"
    CALM = "calm"


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


def unconfirmed(row: Row) -> bool:
    """Tell whether a stop that can be seen to hold was not seen to."""
    latched = row["level"] is not None and row["level"] not in _UNSEEN_LEVELS
    return latched and not row["confirmed"]


def lacking(row: Row) -> dict[str, str]:
    """Give the layers of a target that a stop cannot count on, each with its state."""
    return {
        layer: state
        for layer, state in sorted(row["readiness"].items())
        if state != "ready" and layer not in _COOPERATIVE
    }


def weigh(row: Row) -> Weight:
    """Weigh one target."""
    if row["state"] in _LOST or row["blind"] or unconfirmed(row):
        return Weight.ALERT
    if row["stale"] or row.get("trouble"):
        return Weight.TROUBLE
    if row["level"] is not None:
        return Weight.STOPPED if row["state"] in {State.STOPPED, State.IDLE} else Weight.TROUBLE
    if lacking(row) or row["state"] not in _CALM:
        return Weight.TROUBLE
    return Weight.CALM


def about(rows: Iterable[Row]) -> str:
    """Name a few targets: `a, b, c and 4 more`."""
    names = [row["target"] for row in rows]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def count(number: int, noun: str = "target") -> str:
    """Count a noun: `1 target`, `12 targets`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def sentence(scene: Scene, scope: Scope = EVERYTHING) -> tuple[Tone, str]:
    """Say in one sentence how `scope` stands, the worst first."""
    if not scene.live:
        return Tone.ALERT, f"The warden is silent, so what runs now is unknown: {scene.why}."
    rows = scene.covered(scope)
    where = "" if scope.text == "/" else f" in {scope.text}"
    said = _worst(rows) or _asks(scene, scope)
    if said:
        return Tone.ALERT, said
    latched = [row for row in rows if row["level"] is not None]
    alive = [row for row in rows if row["state"] not in _GONE]
    if latched:
        return _latched(rows, latched, alive, where)
    if not alive:
        return Tone.CALM, f"Nothing runs under the switch{where}."
    trouble = [row for row in rows if row["stale"]]
    if trouble:
        return Tone.TROUBLE, f"Signals are stale: {about(trouble)}."
    short = button(scene, scope)
    if short.ready is not Ready.READY:
        return Tone.TROUBLE, f"{_runs(len(alive))}{where}, but STOP is degraded: {short.lacks}."
    return Tone.CALM, f"Normal: {_runs(len(alive))}{where}, and each can be stopped."


def _worst(rows: Sequence[Row]) -> str:
    moving = [row for row in rows if unconfirmed(row)]
    if moving:
        stopping = [row for row in moving if row["state"] == State.STOPPING]
        if len(stopping) == len(moving):
            return f"Stopping {count(len(moving))}, NOT CONFIRMED yet: {about(moving)}."
        return f"NOT CONFIRMED stopped, may still act: {about(moving)}."
    lost = [row for row in rows if row["state"] in _LOST]
    if lost:
        return f"No answer from {about(lost)}: what runs there is unknown."
    blind = [row for row in rows if row["blind"]]
    if blind:
        return f"BLIND: nobody watches {about(blind)}."
    return ""


def _asks(scene: Scene, scope: Scope) -> str:
    mine = [each for each in scene.alarms if _inside(each, scope, scene)]
    asking = sorted((each for each in mine if each.get("asks")), key=lambda each: each["due_us"])
    if asking:
        first, more = asking[0], len(asking) - 1
        also = f"; {more} more wait" if more else ""
        return f"A rule asks you to stop {first['scope']}: {first['harm']}{also}."
    if mine:
        first = min(mine, key=lambda each: each["since_us"])
        also = f"; {count(len(mine) - 1, 'more alarm')}" if len(mine) > 1 else ""
        return f"ALARM in {first['scope']}: {first['harm']}{also}."
    return ""


def _inside(alarm: Row, scope: Scope, scene: Scene) -> bool:
    text = alarm["scope"]
    if scope.text in {"/", text} or text == "/":
        return True
    return scope.covers_path(text) or any(
        row["target"] == text or row["target"].startswith(f"{text}/")
        for row in scene.covered(scope)
    )


def _latched(
    rows: Sequence[Row], latched: Sequence[Row], alive: Sequence[Row], where: str
) -> tuple[Tone, str]:
    part = [row for row in latched if row["state"] not in _GONE]
    if part:
        words = Counter(str(row["state"]) for row in part)
        how = ", ".join(f"{number} {word}" for word, number in words.most_common())
        return Tone.TROUBLE, f"Held short of a stop{where}: {how}: {about(part)}."
    done = f"{len(latched):,}" if len(latched) < len(rows) else f"All {len(rows):,}"
    of = f" of {count(len(rows))}" if len(latched) < len(rows) else " targets"
    if len(rows) == 1:
        done, of = "The one target", ""
    rest = f"; {len(alive):,} still run" if alive else ""
    return Tone.STOPPED, f"{done}{of}{where} stopped, confirmed{rest}."


def _runs(number: int) -> str:
    return f"{count(number)} {'runs' if number == 1 else 'run'}"


# --- the button -------------------------------------------------------------------


def button(scene: Scene, scope: Scope, *, allowed: bool = True) -> Button:
    """Say what STOP of `scope` can do now."""
    label = "STOP everything" if scope.text == "/" else f"STOP {scope.text}"
    if not allowed:
        return Button(Ready.BARRED, label, "you may not: ask an operator")
    if not scene.live:
        lacks = "warden silent: keeper and spool are pressed, too, and whatever they can still stop"
        return Button(Ready.SILENT, label, lacks)
    rows = scene.covered(scope)
    if not rows:
        lacks = "covers nothing that is known: it latches what comes, and confirms nothing"
        return Button(Ready.EMPTY, label, lacks)
    lacks = ", ".join([*_short(rows), *(f"no {name}" for name in scene.missing)])
    return Button(Ready.DEGRADED if lacks else Ready.READY, label, lacks)


def _short(rows: Sequence[Row]) -> list[str]:
    """Name the layers that are not ready, and for how many targets."""
    counted = Counter(pair for row in rows for pair in lacking(row).items())
    lost = sum(row["state"] in _LOST for row in rows)
    said = [
        f"{layer} {state}" + ("" if number == len(rows) else f" on {number:,} of {len(rows):,}")
        for (layer, state), number in sorted(counted.items())
    ]
    return [*said, f"no answer from {lost:,} of {len(rows):,}"] if lost else said


def span(scene: Scene, scope: Scope) -> Span:
    """Name whom a press of `scope` hits, and whom not."""
    covered = scene.covered(scope)
    inside = {row["target"] for row in covered}
    hits = [row for row in covered if row["state"] not in _GONE]
    leaves = [
        row["target"]
        for row in scene.rows
        if row["target"] not in inside and row["state"] not in _GONE
    ]
    return Span(
        hits=tuple(row["target"] for row in hits),
        quiet=len(covered) - len(hits),
        leaves=tuple(leaves),
        cannot=tuple(_cannot(scene, hits)),
    )


def _cannot(scene: Scene, hits: Sequence[Row]) -> Iterable[tuple[str, str]]:
    for row in hits:
        if row["state"] in _LOST:
            yield row["target"], "no answer: unknown whether it stops"
        elif row.get("trouble"):
            yield row["target"], f"not held: {row['trouble']}"
        elif row.get("escapable"):
            yield row["target"], "runs as root: it can escape"
    for each in scene.untracked[:_SHOWN]:
        yield f"{each.get('name')} (pid {each.get('pid')})", "under no switch"
