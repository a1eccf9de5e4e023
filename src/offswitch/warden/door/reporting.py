"""What `status` says: one object a target, and the banners that nobody may overlook.

Nothing here is remembered as good: ages grow from when watch last spoke, a warden that is
asked looks at its cells now, and what cannot be told is `unknown`, never the last known.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Any

from offswitch.errors import OffswitchError
from offswitch.model.level import Level
from offswitch.model.scope import Scope, parse_scope, scopes_above, scopes_over
from offswitch.model.state import State
from offswitch.warden import readiness
from offswitch.warden.cells.adopted import LIMITS
from offswitch.warden.cells.rung import Rung
from offswitch.warden.core import Core
from offswitch.warden.door.inventory import inventory
from offswitch.warden.plan import GATEWAY, layers_of
from offswitch.warden.reset.ran_as import EVERYBODY
from offswitch.warden.table import Tracked

__all__ = [
    "OBSERVES",
    "WHO_MAY_RESET",
    "alarms",
    "cells",
    "everything",
    "health",
    "live_stop",
    "notes",
    "processes",
    "reset_forgeable",
    "status",
    "target",
]

_LISTED = 1000
"""Live stops in one answer, since whoever asks waits for the loop that obeys stops."""
OBSERVES = (
    "OBSERVE MODE: rules, leases and the keeper only record what they would do; "
    "a stop by hand works (mode in offswitch.toml)"
)
WHO_MAY_RESET = "who may reset"
"""How a note begins that says what is wrong with a person's file."""
_PROBLEMS = 3
_SHOWN = 200
"""Characters of a reason in a list of stops: all of it is in the ledger."""


def status(core: Core, text: str | None, uid: int) -> dict[str, Any]:
    """Give the object of `status` for a scope, or for everything, as user `uid` is to see it."""
    scope = parse_scope(text) if text else Scope("/")
    rows = core.table.covered([scope])
    over = set(scopes_above(scope))
    if len(core.latch) or core.watch.alarms:
        over.update(*(scopes_over(row.target) for row in rows))
    live = [each for each in core.latch if _concerns(over, each.stop.scope, scope)]
    names = core.news.names(f"uid:{uid}", core.authority.people)
    more = [f"{len(live)} stops are live: not all are listed"] if len(live) > _LISTED else []
    return {
        "installation": core.place.run,
        "rung": core.rung.value,
        "targets": [target(core, row) for row in rows],
        "untracked": list(core.watch.untracked),
        "alarms": [one for one in core.watch.alarms if _about(over, one["scope"], scope)],
        "notes": core.news.of(names, scope, core.clock.wall_us()) + notes(core) + more,
        "latched": [live_stop(core, each) for each in live[:_LISTED]],
    }


def _concerns(over: AbstractSet[str], stop: Scope, asked: Scope) -> bool:
    """Whether a stop lies below what was asked for, or is one of the scopes `over` it."""
    return asked.contains(stop) or stop.text in over


def _about(over: AbstractSet[str], text: str, asked: Scope) -> bool:
    try:
        return _concerns(over, parse_scope(text), asked)
    except OffswitchError:
        return True  # an alarm is shown rather than not


def alarms(core: Core) -> dict[str, Any]:
    """Give what `up` must tell people: alarms that stand, and for what nobody sees."""
    blind = core.watch.blind_scopes(core.clock.mono_us())
    return {"alarms": list(core.watch.alarms), "blind": blind}


def live_stop(core: Core, live: Any) -> dict[str, Any]:  # noqa: ANN401 - model.latch.Live
    """Give one live stop, its reason cut short."""
    stop = live.stop
    return {
        "digest": stop.digest,
        "scope": stop.scope.text,
        "level": stop.level.label,
        "by": stop.by,
        "channel": stop.channel,
        "time_us": stop.time_us,
        "reason": _cut(stop.reason),
        "count": live.count,
        "durable": core.store.durable(stop.digest),
    }


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def target(core: Core, row: Tracked) -> dict[str, Any]:
    """Give the object of one target."""
    covering, now = core.latch.covering(row.target), core.clock.mono_us()
    level = max((live.stop.level for live in covering), default=None)
    pids = _pids(row)
    return {
        "target": row.target.name,
        "installation": core.place.run,
        "kind": row.target.kind,
        "labels": dict(row.target.labels),
        "rung": core.rung.value,
        "state": _state(row, pids).value,
        "latched": level is not None,
        "blind": core.watch.blind(row.target, now),
        "level": level.label if level is not None else None,
        "confirmed": level is not None and row.confirmed,
        "pids": len(pids) if pids is not None else 0,
        "stops": [live.stop.digest for live in covering],
        "signals": core.watch.signals(row.target.name, now),
        "readiness": readiness.states(core, row),
        "readiness_since": readiness.since(core, row),
        "probation_s": _left_s(row, now),
        "sharing": row.sharing,
        "escapable": row.uid == 0,
        "user": row.user,
        "adopted": row.adopted.text if row.adopted is not None else None,
        "on_stop": _on_stop(row.declared or {}),
    }


def _on_stop(declared: dict[str, Any]) -> str:
    """Say what a stop costs others, and how it leaves what the target moves (ACT-10)."""
    impact, safe = declared.get("stop_impact"), declared.get("safe_state")
    said = [_cut(f"safe state: {safe}")] if isinstance(safe, str) else []
    if isinstance(impact, dict):
        who, harm, bearable = (str(impact.get(key, "")) for key in ("who", "harm", "bearable"))
        said.insert(0, _cut(f"{who}: {harm}, bearable for {bearable}"))
    return "; ".join(said)


def _left_s(row: Tracked, mono_us: int) -> int | None:
    """Give how long it is still on probation, in seconds; None: it is on none."""
    return None if row.probation_us is None else max(0, row.probation_us - mono_us) // 1_000_000


def _pids(row: Tracked) -> list[int] | None:
    if row.cell is None:
        return []
    try:
        return row.cell.pids() or row.cell.outside()
    except OSError:
        return None


def _state(row: Tracked, pids: list[int] | None) -> State:
    if not row.sought:
        return State.UNKNOWN
    if row.cell is not None and (pids is None or row.cell.populated() is None):
        return State.UNKNOWN
    return row.said


def reset_forgeable(core: Core) -> list[str]:
    """Say so where a target could send a reset as the warden's own user (SR-2)."""
    if core.rights.uid not in core.ran_as.uids:
        return []
    return ["reset forgeable by the target: a target shares the warden's user"]


def _degraded(core: Core) -> list[str]:
    """Say what does not hold on this rung. Looks at no disk: `up` asks for it every second."""
    notes = [OBSERVES] if core.page.observing else []
    if core.rung is not Rung.ROOT:
        notes.append(
            f"degraded: rung {core.rung.value}; what escapes here, and how to climb: "
            "offswitch doctor"
        )
    if core.page.forgeable:
        notes.append("lease forgeable by the target: the kernel seals no page")
    elif core.rights.uid != 0 and core.rung is not Rung.NAMESPACE:
        notes.append(
            "page forgeable by the target: it is its user's, too; its own guard reads a sealed one"
        )
    return notes + reset_forgeable(core)


def notes(core: Core) -> list[str]:
    """Say what nobody may overlook, whatever scope they look at."""
    notes = [*core.notes.values(), *_degraded(core)]
    if core.authority.problem:
        notes.append(core.authority.problem)
    notes += [f"{WHO_MAY_RESET}: {one}" for one in core.authority.people.problems[:_PROBLEMS]]
    shares = core.rights.uid in core.ran_as.uids
    if not shares and len(core.ran_as.uids) and not core.secret_set:
        notes.append("targets share people's users and no secret is set: only root can reset")
    if core.store.problem:
        notes.append(f"latched, not yet durable: {core.store.problem}")
    if core.table.trouble:
        notes.append(f"a restarted warden would not know every cell: {core.table.trouble}")
    silent_us = core.watch.silent_us(core.clock.mono_us())
    if core.watch.auto and silent_us is not None:
        notes.append("BLIND: watch does not report, so no rule stops anything; offswitch up")
    notes += core.watch.notes
    journal = core.recording.facts()
    if journal["lost"]:
        notes.append(f"the journal lost {journal['lost']} entries: the ledger marks the gap")
    if core.keeper is None or not core.keeper.alive():
        notes.append("no keeper: nothing new starts until it is back")
    if core.observer is None or not core.observer.alive():
        notes.append("no observer: no stop can be confirmed")
    notes += [f"{row.target.name} is not held: {row.trouble}" for row in core.table if row.trouble]
    if core.finder is None and any(row.adopted for row in core.table):
        notes.append("no finder: what is adopted and started again is not found")
    return notes


def processes(core: Core) -> dict[str, bool]:
    """Tell which of our own processes are there; what no rung here needs is left out."""
    sweeps = {} if core.sweeper is None else {"sweeper": core.sweeper.alive()}
    return {
        "keeper": core.keeper is not None and core.keeper.alive(),
        "observer": core.observer is not None and core.observer.alive(),
        "recorder": core.recording.pid is not None,
        **sweeps,
    }


def cells(core: Core) -> dict[str, Any]:
    """Give what watch needs to find every target."""
    rows = []
    for row in core.table:
        if row.cell is None and row.declared is None and row.target.kind == GATEWAY:
            continue  # nothing of it ever ran here, so nothing here falls silent
        level = core.level(row)
        rows.append(
            {
                "target": row.target.name,
                "labels": dict(row.target.labels),
                "kind": row.target.kind,
                "cell": row.cell.name if row.cell else None,
                "path": row.cell.path if row.cell else None,
                "pids": _pids(row) or [],
                "uid": row.uid,
                "log": row.log,
                "report": f"{core.place.reports}/{row.cell.name}" if row.cell else None,
                "state": row.said.value,
                "probation": row.probation_us is not None,
                "level": level.label if level is not None else None,
            }
        )
    everybody = core.ran_as.uids is EVERYBODY
    return {"cells": rows, "ran_as": None if everybody else sorted(core.ran_as.uids)}


def everything(core: Core, row: Tracked) -> dict[str, Any]:
    """Give all that is known of one target, for `target show`."""
    answer = target(core, row)
    answer["layers"] = [receipt.as_dict() for receipt in row.receipts]
    answer["inventory"] = inventory(core, row)
    answer["readiness_detail"] = readiness.details(core, row)
    answer["cell"] = row.cell.facts() if row.cell else None
    answer["log"] = row.log
    answer["since_us"] = row.since_us
    answer["declared"] = row.declared
    answer["plan"] = _plan(core, row)
    answer["hands"] = [] if core.hands is None else core.hands.report(row)
    answer["notes"] = _degraded(core)
    if row.adopted is not None:
        trouble = [f"not held: {row.trouble}"] if row.trouble else []
        answer["notes"] += [*trouble, *(f"adopted, so not promised: {each}" for each in LIMITS)]
    return answer


def _plan(core: Core, row: Tracked) -> dict[str, list[str]]:
    """Give the layers that a stop of each level commands here, for those that command any."""
    layers = [layer for layer, _actuator in core.kill_steps]
    layers = [*layers, GATEWAY] if row.served else layers
    layers = [*layers, *sorted(row.handed.difference(layers))]
    known = [layer for layer in layers if row.readiness.get(layer, ("", ""))[0] != "absent"]
    levels = (Level.FREEZE, Level.KILL, Level.POWEROFF)
    return {level.label: layers_of(level, row.declared, known, row.handed) for level in levels}


def health(core: Core) -> dict[str, Any]:
    """Give what doctor asks the warden itself."""
    return {
        "rung": core.rung.value,
        "standing": core.standing.facts(),
        "epoch": core.page.epoch,
        "page": core.page.path,
        "keeper": core.keeper is not None and core.keeper.alive(),
        "observer": core.observer is not None and core.observer.alive(),
        "recorder": core.recording.pid is not None,
        "pids": core.pids(),
        "journal": core.recording.facts(),
        "latch_problem": core.store.problem,
        "live_stops": len(core.latch),
        "authority": core.authority.mode.value,
        "targets": len(core.table),
        "gates": [] if core.gates is None else core.gates.health(),
        "notes": [*core.notes.values(), *_degraded(core)],
    }
