"""How far a stop reaches: which layers of a target can be commanded, and which can be seen.

A layer is *available* where something here can do it to this target, as it is now: with a cell,
with what is left of one, or with gateways alone. It is *planned* when the level wants it or the
target's declaration adds it, and *reached* when it is planned and there is somebody to command.
What was planned and is not reached is listed as what may still act, never left out. To the
observer a target is its cell; one of which there are gateways or hands alone has another name.
"""

from __future__ import annotations

from typing import Any

from offswitch.model.level import Level
from offswitch.warden.cells.cell import is_gone
from offswitch.warden.core import Core
from offswitch.warden.plan import GATEWAY, LOCAL, layers_of
from offswitch.warden.table import Table, Tracked

__all__ = ["available", "called", "facts", "meant", "planned", "reached", "visible"]

_ALONE = "gateway:"
"""How the observer calls a target of which it sees no cell, but gateways or hands."""


def available(row: Tracked) -> list[str]:
    """Name the layers that something here can do to a target, as it is now."""
    absent = {name for name, (state, _detail) in row.readiness.items() if state == "absent"}
    if not row.served:
        absent.add(GATEWAY)  # a front of others is listed, and not waited for
    if row.cell is not None:
        return [name for name in row.readiness if name not in absent]
    left = row.remains.layers if row.remains is not None else []
    left = [*left, GATEWAY] if row.served else left
    left = [*left, *sorted(row.handed)]
    return [name for name in left if name not in absent]


def planned(row: Tracked, level: Level) -> list[str]:
    """Name the layers that a stop of that level wants of a target, those left out that wait."""
    wanted = layers_of(level, row.declared, available(row), row.handed)
    return [layer for layer in wanted if layer not in row.held] if row.held else wanted


def reached(core: Core, row: Tracked, level: Level) -> list[str]:
    """Name the layers of the plan that can be commanded here, and looked at."""
    able = {layer for layer, _actuator in core.steps(level)}
    if row.served and level >= Level.FREEZE:
        able.add(GATEWAY)
    if row.cell is None:
        able.intersection_update(available(row))
    able |= row.handed
    return [layer for layer in planned(row, level) if layer in able]


def visible(row: Tracked) -> frozenset[str]:
    """Name the layers of which it can ever be seen whether they stand still."""
    more = {GATEWAY}.intersection(available(row)) | row.handed
    if row.cell is None:
        return LOCAL | more
    gone = {"process"} if is_gone(row.cell) else set()
    return LOCAL.intersection(available(row)) - gone | more


def facts(core: Core, row: Tracked) -> dict[str, Any] | None:
    """Give what the observer needs to look at a target; None where there is nothing to see."""
    if not row.seen_somewhere:
        return None
    found: dict[str, Any] = {"name": called(row), "cgroup_id": None, "own_uid": False}
    if row.body is not None:
        found = dict(row.body.facts())
    if row.served and core.gates is not None:
        found[GATEWAY] = core.gates.facts(row)
    if row.handed and core.hands is not None:
        level, looks = core.level(row), core.hands.facts(row)
        wanted = looks if level is None else planned(row, level)  # what is not cut says nothing
        found["hands"] = {layer: looks[layer] for layer in looks if layer in wanted}
    return found


def called(row: Tracked) -> str:
    """Give the name by which the observer knows a target."""
    return row.body.name if row.body is not None else f"{_ALONE}{row.target.name}"


def meant(table: Table, name: str) -> Tracked | None:
    """Find the target that the observer calls by that name."""
    if name.startswith(_ALONE):
        return table.get(name.removeprefix(_ALONE))
    return table.by_cell(name)
