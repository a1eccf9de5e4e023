"""What a warden that is gone left behind, as whoever looks can see it; nothing is written.

A warden that ends with no cell and nothing latched takes its sockets along, and all is
well. Whatever else is found means that nobody knows what is going on there: living cells, a
latch that the next warden would load, a name in the spool, or what cannot be read. A folder
whose socket is still there was left by a crash, so what cannot be read there counts as
latched; where the socket was taken along, only for whom the latch is their own.
"""

from __future__ import annotations

import os

from offswitch.cli.own_hands import cells_of
from offswitch.control.place import Place
from offswitch.warden.keeper.left import left_orders
from offswitch.warden.latch.store import glance

__all__ = ["left_behind"]


def left_behind(place: Place) -> str:
    """Say what is left where no warden runs; empty: nothing that could act or be latched."""
    told = []
    cells = sum(1 for cell in cells_of(place, ["/"]) if cell.look() is not False)
    if cells:
        told.append(f"{cells} cell{'s' if cells > 1 else ''} may still live there")
    loaded = glance(place)
    live = {stop.stop.digest for stop in loaded.latch}
    live.update(
        stop.digest for stop in left_orders(place.memory, place.home) if loaded.latch.fresh(stop)
    )
    if live:
        told.append(f"{len(live)} stop{'s' if len(live) > 1 else ''} latched there")
    elif _names(place.spool):
        told.append("a stop in its spool that nobody has obeyed")
    elif loaded.damage and (os.path.lexists(place.warden_socket) or _ours(place.home)):
        told.append(f"its latch cannot be read ({loaded.damage})")
    return f"no warden runs, and {', '.join(told)}" if told else ""


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []  # the group may add to it, and not list it


def _ours(home: str) -> bool:
    try:
        return os.stat(home).st_uid == os.geteuid()
    except OSError:
        return False
