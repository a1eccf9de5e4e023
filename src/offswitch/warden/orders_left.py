"""What keepers left behind: their own orders, for the next warden (SR-22).

A keeper that killed has written why, and is perhaps no more. The warden takes those stops
into the latch before it listens. Only when each of them is durable in the latch's own file
may the keeper's file go.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

from offswitch.control.place import Place
from offswitch.errors import OffswitchError
from offswitch.model.order import Stop, from_wire
from offswitch.warden import records
from offswitch.warden.keeper_orders import PREFIX

__all__ = ["forget_left", "left_orders"]


def _files(place: Place) -> list[str]:
    found = []
    for folder in {place.memory, place.home}:
        with suppress(OSError):
            names = [name for name in os.listdir(folder) if name.startswith(PREFIX)]
            found += [f"{folder}/{name}" for name in names if not name.endswith(".new")]
    return sorted(found)


def left_orders(place: Place) -> list[Stop]:
    """Give the stops that keepers made and no warden has made durable yet."""
    stops: dict[str, Stop] = {}
    for path in _files(place):
        read = records.read_file(path)
        for body in read.bodies if read is not None else ():
            with suppress(OffswitchError):
                order = from_wire(body)
                if isinstance(order, Stop):
                    stops[order.digest] = order
    return list(stops.values())


def forget_left(place: Place, durable: Callable[[str], bool], living: int) -> None:
    """Remove the files of dead keepers whose every order is durable; spare pid `living`'s."""
    for path in _files(place):
        if path.endswith(f".{living}"):
            continue
        read = records.read_file(path)
        if read is None or read.damage is not None:
            continue  # for a person to look at
        if all(durable(from_wire(body).digest) for body in read.bodies):
            with suppress(OSError):
                os.unlink(path)
