"""What is left when a kill was not confirmed: the machine, which is a person's choice (SR-10).

By itself the warden goes so far only where the target's plan names the power, and every other
target of this machine is stopped like it. Else whoever is paged is told the choice, and what else
would go with it (VER-4).
"""

from __future__ import annotations

import shlex

from offswitch.model.level import Level
from offswitch.warden.core import Core
from offswitch.warden.plan import may_power_off
from offswitch.warden.table import Tracked

__all__ = ["choice", "others_here", "powers_off"]

_MOST = 50


def others_here(core: Core, row: Tracked) -> list[str]:
    """Name the targets of this machine that no kill covers; what is unknown is here."""
    return [
        other.target.name
        for other in core.table
        if other is not row and (other.seen_somewhere or not other.sought)
        if (core.level(other) or 0) < Level.KILL
    ]


def powers_off(core: Core, row: Tracked) -> bool:
    """Tell whether a kill of `row` that was in vain becomes a poweroff by itself."""
    return may_power_off(row.declared) and not others_here(core, row)


def choice(core: Core, row: Tracked) -> dict[str, object]:
    """Say what a person can still choose, for the entry by which one is paged."""
    if (core.level(row) or 0) is not Level.KILL:
        return {}
    line = shlex.join(["offswitch", "stop", row.target.name, "--level", "poweroff"])
    return {"choice": line, "others": others_here(core, row)[:_MOST]}
