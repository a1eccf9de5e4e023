"""Everything of a target that can act, as far as anybody knows (MON-3).

    processes   those in its cell
    in_flight   requests that its gateways serve just now
    below       other targets whose names lie below its own: child agents that were declared as such
    hands       what each declared actuator sees that it has there: tokens, sessions, queued jobs
    untracked   what runs beside it and is under no switch, as watch found it
    unknown     what could act and cannot be told: each is a finding, and none is left out

None of it is remembered as good: a hand that has not proven itself has not looked.
"""

from __future__ import annotations

from typing import Any

from offswitch.warden.core import Core
from offswitch.warden.table import Tracked

__all__ = ["inventory"]

_MOST = 500
_KNOWN = frozenset({"ready", "degraded"})


def inventory(core: Core, row: Tracked) -> dict[str, Any]:
    """List it."""
    name, unknown = row.target.name, []
    pids = _pids(row)
    if pids is None:
        unknown.append("its processes: its cell cannot be read")
    flows = None if core.gates is None else core.gates.in_flight(row)
    if row.served and flows is None:
        unknown.append("what its gateways serve: none of them can be read")
    hands = []
    for one in [] if core.hands is None else core.hands.report(row):
        said = {"actuator": one["name"], "layer": one["layer"]}
        if one["acts"][0] not in _KNOWN:
            about = f"{one['layer']} by {one['name']}"
            unknown.append(f"what it has there ({about}): {one['acts'][1]}")
        hands.append({**said, "holds": one["holds"], "known": one["acts"][0] in _KNOWN})
    beside = [one for one in core.watch.untracked if _of(one, name)]
    silent = core.watch.silent_us(core.clock.mono_us())
    if silent is not None and row.cell is not None:
        unknown.append("what runs beside it: watch does not report")
    return {
        "processes": (pids or [])[:_MOST],
        "more_processes": max(0, len(pids or []) - _MOST),
        "in_flight": flows or 0,
        "below": [each for each in core.table.names() if each.startswith(f"{name}/")][:_MOST],
        "hands": hands,
        "untracked": beside[:_MOST],
        "unknown": unknown,
    }


def _pids(row: Tracked) -> list[int] | None:
    if row.cell is None:
        return []
    try:
        return sorted({*row.cell.pids(), *row.cell.outside()})
    except OSError:
        return None


def _of(one: object, name: str) -> bool:
    return isinstance(one, dict) and one.get("target") == name
