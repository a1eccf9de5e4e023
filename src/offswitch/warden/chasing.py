"""Sockets that come late are destroyed as well: some come in the kill itself (SR-8).

After a kill the sockets of a cell are looked for again, in longer and longer pauses, until none
is left. Those of targets whose cells are gone are destroyed in one go: they may be many.
"""

from __future__ import annotations

from offswitch.model.level import Level
from offswitch.warden.core import Core
from offswitch.warden.press import Press
from offswitch.warden.table import Tracked

__all__ = ["chase", "destroy_what_is_left"]

_FIRST_S = 0.01
"""When they are looked for again. Sooner it would only keep a processor from those that die."""
_LAST_S = 1.0


def chase(core: Core, row: Tracked, pause_s: float = _FIRST_S) -> None:
    """Destroy a target's sockets again until none is left."""

    def again() -> None:
        body = row.body
        if body is not None and core.sockets.left(body) is not False:
            chase(core, row, min(pause_s * 2, _LAST_S))

    if pause_s < _LAST_S:
        core.loop.later(pause_s, again)


def destroy_what_is_left(core: Core, press: Press) -> None:
    """Destroy the sockets of all targets of a press whose cells are gone."""
    left = [
        row.remains
        for row in press.rows
        if row.cell is None and row.remains is not None
        if press.levels[row.target.name] >= Level.KILL
        if "network" in press.commanded[row.target.name]
    ]
    if left:
        core.sockets.left(*left)
