"""What a stop rests on, as the warden knows it: the facts of `offswitch assess` (MON-6, ACT-3).

    ours       each process of ours: its pid, and the user that it runs as
    targets    layer by layer how ready it is, and since when; each declared actuator with its
               route, processes and users; whether a keeper holds the cell as well; which gateways
               serve it; what it has that can act

Nothing here judges: `diagnose` does, where it is asked. It waits for no disk: users are read of the
kernel, and whether a file is still there whoever asks looks for himself.
"""

from __future__ import annotations

from typing import Any

from offswitch.control.ids import users
from offswitch.model.scope import Scope, parse_scope
from offswitch.warden import readiness
from offswitch.warden.core import Core
from offswitch.warden.plan import GATEWAY
from offswitch.warden.table import Tracked

__all__ = ["Users", "assess"]

_MOST = 200


class Users:
    """Names the users of processes, as the kernel has them."""

    __slots__ = ("_known", "_roles")

    def __init__(self) -> None:
        """Know nobody yet but ours."""
        self._roles = {user.uid: role for role, user in users().items()} | {0: "root"}
        self._known: dict[int, str] = {}

    def of(self, pid: int | None) -> str:
        """Name the user of a process: a role of ours, or a number; empty: it is not there."""
        if pid is None:
            return ""
        if pid not in self._known:
            uid = _uid_of(pid)
            self._known[pid] = "" if uid is None else self._roles.get(uid, f"uid {uid}")
        return self._known[pid]


def _uid_of(pid: int) -> int | None:
    """Give the effective user of a process; None: it is gone."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith("Uid:"):
                    return int(line.split()[2])
    except (OSError, ValueError, IndexError):
        return None
    return None


def assess(core: Core, text: str | None) -> dict[str, Any]:
    """Give the facts of the targets of a scope, at most two hundred of them."""
    rows, names = core.table.covered([parse_scope(text) if text else Scope("/")]), Users()
    gates = [] if core.gates is None else core.gates.health()
    served = {str(one["gateway"]): set(one["targets"]) for one in gates}
    ours = core.pids().items()
    return {
        "installation": core.place.run,
        "rung": core.rung.value,
        "ours": {name: {"pid": pid, "user": names.of(pid)} for name, pid in ours},
        "targets": [_target(core, row, names, served) for row in rows[:_MOST]],
        "left_out": max(0, len(rows) - _MOST),
    }


def _target(core: Core, row: Tracked, names: Users, served: dict[str, set[str]]) -> dict[str, Any]:
    return {
        "target": row.target.name,
        "state": row.said.value,
        "latched": core.level(row) is not None,
        "lives_here": row.cell is not None,
        "starts_here": bool((row.declared or {}).get("command")),
        "kept": row.keeper_has_it,
        "page": core.page.path,
        "gateways": [name for name, those in served.items() if row.target.name in those],
        "layers": _layers(core, row),
        "hands": [
            {**one, "user": names.of(one["pid"]), "look_user": names.of(one["look_pid"])}
            for one in ([] if core.hands is None else core.hands.report(row))
        ],
    }


def _layers(core: Core, row: Tracked) -> dict[str, Any]:
    """Give how ready each layer is; where hands do it besides us, how ready we are by ourselves."""
    states, dates = readiness.states(core, row), readiness.since(core, row)
    why = readiness.details(core, row)
    alone = {} if core.hands is None else core.hands.alone(row)
    found = {}
    for layer, state in states.items():
        if layer in row.handed and layer not in alone and layer != GATEWAY:
            continue  # hands alone do it, and each of them speaks for itself
        own = alone.get(layer, (state, why.get(layer, "")))
        found[layer] = {"state": own[0], "detail": own[1], "since_us": dates.get(layer, 0)}
    return found
