"""What is live on the Board, a scope's page, a target's and Readiness (see `drawing.View`).

On the Board whatever wants an eye stands on top, a row each; what is well, or stopped and
confirmed, is folded by scope as soon as there is much of it. A scope's page shows all rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from offswitch.station.console.alarming import alarms, questions
from offswitch.station.console.drawing import Drawn, Paint, Viewer
from offswitch.station.console.element import element_id
from offswitch.station.console.glance import Weight, button, lacking, weigh
from offswitch.station.console.scene import Message, Scene
from offswitch.station.picture.rows import TargetRow

__all__ = ["board", "nothing", "readiness", "scope", "stopped", "target"]

_UNFOLDED = 40
_TROUBLED = 100
_WHOLE = 2000
_FOUND = 20
_OF_TARGET = ("latches", "signals", "layers", "near")


def nothing(_paint: Paint, _scene: Scene, _viewer: Viewer) -> Drawn:
    """Draw nothing but the frame."""
    return Drawn({})


def board(paint: Paint, scene: Scene, viewer: Viewer) -> Drawn:
    """Draw the Board."""
    return _rows(paint, scene, viewer, _UNFOLDED, _TROUBLED)


def scope(paint: Paint, scene: Scene, viewer: Viewer) -> Drawn:
    """Draw a scope's page: all rows."""
    return _rows(paint, scene, viewer, _WHOLE, _WHOLE)


def _rows(paint: Paint, scene: Scene, viewer: Viewer, unfolded: int, troubled: int) -> Drawn:
    rows = scene.covered(viewer.scope)
    weighed = sorted(((weigh(row), row.name, row) for row in rows), key=lambda each: each[:2])
    loud = [row for weight, _name, row in weighed if weight < Weight.STOPPED]
    calm = [row for weight, _name, row in weighed if weight >= Weight.STOPPED]
    desk = scene.picture.desk
    asked, groups = questions(scene, viewer.scope), alarms(scene, viewer.scope)
    parts: dict[str, str] = {
        "asks": paint("live-board.html", "asks", asked, viewer, desk),
        "alarms": paint("live-board.html", "alarms", groups, viewer, desk),
    }
    lists = {
        "loud": _listed(paint, scene, parts, loud, troubled),
        "calm": _listed(paint, scene, parts, calm, unfolded)
        if len(calm) <= unfolded
        else _folded(paint, parts, calm, viewer.scope.text),
    }
    counted = Counter(weigh(row) for row in rows)
    named = {each.name.lower(): counted[each] for each in Weight}
    parts["counts"] = paint("live-board.html", "counts", named, len(rows))
    return Drawn(parts, lists)


def _listed(
    paint: Paint, scene: Scene, parts: dict[str, str], rows: Sequence[TargetRow], most: int
) -> tuple[str, ...]:
    ids = []
    for row in rows[:most]:
        name = element_id("t", row.name)
        parts[name] = paint.row(row, name, scene)
        ids.append(name)
    if len(rows) > most:
        name = element_id("more", rows[most].name)
        parts[name] = paint("live-board.html", "more", name, len(rows) - most)
        ids.append(name)
    return tuple(ids)


def _folded(
    paint: Paint, parts: dict[str, str], rows: Iterable[TargetRow], above: str
) -> tuple[str, ...]:
    """Fold rows by the next segment of their path below `above`."""
    depth = 0 if above == "/" or "=" in above else above.count("/") + 1
    groups: dict[str, list[TargetRow]] = {}
    for row in rows:
        path = row.name.split("/")
        groups.setdefault("/".join(path[: depth + 1]), []).append(row)
    ids = []
    for name, members in sorted(groups.items()):
        states = Counter(_word(row) for row in members)
        short = sum(1 for row in members if lacking(row))
        each = element_id("g", name)
        parts[each] = paint(
            "live-board.html", "group", each, name, len(members), states.most_common(), short
        )
        ids.append(each)
    return tuple(ids)


def _word(row: TargetRow) -> str:
    held = row.level
    return str(row.state) if held is None else f"{row.state} ({held}, confirmed)"


def target(paint: Paint, scene: Scene, viewer: Viewer) -> Drawn:
    """Draw a target's page: how it is, what holds it, what can stop it, who is near."""
    row = scene.picture.targets.get(viewer.about)
    if row is None:
        gone = paint("live-target.html", "gone", viewer.about, scene.live)
        rest = {
            name: paint("parts.html", "place", name)
            for name in ("latches", "signals", "layers", "near")
        }
        more = paint("live-target.html", "more_place", viewer.about, "gone")
        return Drawn({"facts": gone, "more": more, **rest})
    near = _neighbours(scene, row)
    stops = scene.picture.stops_over(row.name)
    return Drawn(
        {
            "facts": paint("live-target.html", "facts", row),
            "latches": paint("live-target.html", "latches", stops, viewer),
            "signals": paint("live-target.html", "signals", *_signals(scene, row)),
            "layers": paint("live-target.html", "layers", row, scene.picture.proofs),
            "near": paint("live-target.html", "near", near),
            "more": paint("live-target.html", "more_place", row.name, _digest(row)),
        }
    )


def _signals(scene: Scene, row: TargetRow) -> tuple[list[Message], list[Message]]:
    """Give the sensors of a target, and what was found in what they read."""
    desk = scene.picture.desk
    sensors = [one for one in desk.sensors if one.get("target") == row.name]
    found: list[Message] = [
        {**finding, "rule": alarm.get("rule")}
        for alarm in desk.alarms
        for finding in alarm.get("findings") or ()
        if (finding.get("target") or alarm.get("target")) == row.name
    ]
    return sensors, found[:_FOUND]


def stopped(paint: Paint, scene: Scene, viewer: Viewer) -> Drawn:
    """Draw what has become of a press, while it is one of the latest."""
    press = next((one for one in scene.presses if one["press"] == viewer.about), None)
    if press is None:
        return Drawn({})
    return Drawn({"outcome": paint("frame.html", "whole", press)})


def _digest(row: TargetRow) -> str:
    return element_id("v", repr(replace(row, version=0)))[2:]


def _neighbours(scene: Scene, row: TargetRow) -> list[tuple[TargetRow, str]]:
    """Give targets that share something with `row`, and what."""
    above = row.name.rpartition("/")[0]
    found = []
    for other in scene.picture.targets.values():
        if other is row:
            continue
        shared = [
            f"{key}={value}" for key, value in row.labels.items() if other.labels.get(key) == value
        ]
        if row.user and other.user == row.user:
            shared.append(f"user {row.user}")
        if above and other.name.startswith(f"{above}/"):
            shared.append(f"scope {above}")
        if shared:
            found.append((other, ", ".join(shared)))
    return found


def readiness(paint: Paint, scene: Scene, viewer: Viewer) -> Drawn:
    """Draw whether everything can be stopped right now, and where not."""
    able = scene.picture.can_stop(viewer.scope)
    shown = button(scene, viewer.scope)
    short = [row for row in scene.covered(viewer.scope) if lacking(row) or row.trouble]
    return Drawn(
        {
            "verdict": paint("live-readiness.html", "verdict", able, shown),
            "by-layer": paint("live-readiness.html", "by_layer", able.layers),
            "short": paint("live-readiness.html", "short", short[:_TROUBLED], len(short)),
            "ours": paint("live-readiness.html", "ours", scene.picture.processes),
        }
    )
