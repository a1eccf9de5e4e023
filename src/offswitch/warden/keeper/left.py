"""What keepers left behind: their own orders, for the next warden (SR-22).

A keeper that killed has written why, and is perhaps no more. The warden takes those stops
into the latch before it listens. Only when each of them is durable in the latch's own file
may the keeper's files go: the one on tmpfs, and its copy in `home`, which is looked at
before the warden serves, and after that only by the disk's thread.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Collection
from contextlib import suppress

from offswitch.errors import OffswitchError
from offswitch.model.order import Stop, from_wire
from offswitch.warden.keeper.orders import PREFIX
from offswitch.warden.latch import records

__all__ = ["forget_left", "left_orders"]

_NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""What ends by itself: then there may be orders, and nobody can tell yet."""


def _files(folder: str) -> list[str]:
    try:
        names = os.listdir(folder)
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise
        return []
    kept = [name for name in names if name.startswith(PREFIX) and not name.endswith(".new")]
    return sorted(f"{folder}/{name}" for name in kept)


def left_orders(*folders: str) -> list[Stop]:
    """Give the stops that keepers made and no warden has made durable yet.

    Raises OSError where there is no descriptor left to look: ask again later.
    """
    stops: dict[str, Stop] = {}
    for path in [path for folder in folders for path in _files(folder)]:
        read = records.read_file(path)
        if read is not None and read.damage == records.NO_ROOM:
            raise OSError(errno.EMFILE, read.damage)
        for body in read.bodies if read is not None else ():
            with suppress(OffswitchError):
                order = from_wire(body)
                if isinstance(order, Stop):
                    stops[order.digest] = order
    return list(stops.values())


def forget_left(folder: str, durable: Callable[[str], bool], living: Collection[int]) -> None:
    """Remove the files of dead keepers whose every order is durable; spare those of `living`."""
    for path in _files(folder):
        if path.endswith(tuple(f".{pid}" for pid in living)):
            continue
        read = records.read_file(path)
        if read is None or read.damage is not None:
            continue  # for a person to look at
        with suppress(OSError, OffswitchError):
            if all(durable(from_wire(body).digest) for body in read.bodies):
                os.unlink(path)
