"""Whether each layer of a kill would work on a target, asked before it is needed.

A cell of ours is asked while it is empty, by trying what can be tried. An adopted one lives
already: nothing is attached to it to see whether that goes, since it would lose packets by
it; and what adoption cannot promise is *degraded*, in the words that `doctor` shows.
"""

from __future__ import annotations

from offswitch.actuators.contract import Ready
from offswitch.warden.core import Core
from offswitch.warden.plan import GATEWAY
from offswitch.warden.table import Tracked

__all__ = ["arm"]

_ADOPTED = {
    "process": (Ready.READY.value, "one write to a descriptor that is open already"),
    "network": (
        Ready.DEGRADED.value,
        "adopted: denied at a stop; what it holds of older sockets is looked for twice a second",
    ),
    "sweep": (Ready.ABSENT.value, "adopted: its user is not its own here, so there is no sweep"),
}


def arm(core: Core, row: Tracked) -> dict[str, tuple[str, str]]:
    """Ask every layer of a kill whether it would work on this cell."""
    readiness = _local(core, row)
    if core.reproof is not None:
        readiness = core.reproof.over(row, readiness)
    return readiness if core.hands is None else core.hands.over(row, readiness)


def _local(core: Core, row: Tracked) -> dict[str, tuple[str, str]]:
    readiness = {"guard": ("ready", "cooperative")}
    if row.gate_slot is not None and core.gates is not None:
        core.gates.born(row)
        readiness[GATEWAY] = core.gates.ready(row)
    if row.cell is None:
        return readiness
    if row.adopted is not None:
        return readiness | _ADOPTED
    for layer, actuator in core.kill_steps:
        ready = actuator.arm(row.cell)
        known = readiness.get(layer)
        if known is None or known[0] == "ready":
            readiness[layer] = (ready.state.value, ready.detail)
    return readiness
