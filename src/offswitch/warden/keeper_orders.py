"""The keeper's own orders, kept until a warden has joined them to the latch (SR-22).

They lie in a preallocated file on tmpfs at once, and a forked child copies that file to
`home` and syncs it, since the keeper itself waits for no disk. Each keeper has files of its
own (`keeper-orders.EPOCH.PID`), so that one never takes away what another left behind.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from contextlib import suppress

from offswitch.control.place import Place
from offswitch.errors import OffswitchError
from offswitch.model.level import Level
from offswitch.model.order import Stop, from_wire
from offswitch.model.scope import EVERYTHING
from offswitch.warden import records
from offswitch.warden.records import Preallocated

__all__ = ["KeptOrders", "forget_left", "left_orders"]

_PREFIX = "keeper-orders."
_SIZE = 1 << 18


class KeptOrders:
    """What one keeper keeps. Nothing here waits for a disk."""

    def __init__(self, place: Place, epoch: int, installation: str) -> None:
        """Make room on tmpfs now: at a stop there may be none."""
        name = f"{_PREFIX}{epoch}.{os.getpid()}"
        self._memory_path = f"{place.memory}/{name}"
        self._home_path = f"{place.home}/{name}"
        self._installation = installation
        self._file = Preallocated(self._memory_path, _SIZE)
        self._digests: set[str] = set()
        self._written = 0
        self._child = 0
        self._child_writes = 0

    def keep(self, stop: Stop) -> None:
        """Keep an order. With no room left one stop of everything stands for the rest."""
        digest = stop.digest
        if digest in self._digests:
            return
        self._digests.add(digest)
        if self._file.left < 2 * records.BLOCK // 16:
            why = "the keeper has no room left for single orders"
            stop = Stop(
                self._installation,
                EVERYTHING,
                Level.KILL,
                "keeper",
                "keeper",
                "no-room",
                stop.time_us,
                why,
            )
        self._file.append(stop.wire())

    def digests(self) -> set[str]:
        """Name what is kept."""
        return set(self._digests)

    def joined(self, digests: Collection[str]) -> None:
        """A warden has these durable: when it has all, forget them."""
        if self._digests and self._digests <= set(digests):
            self._digests.clear()
            self._written = 0
            self._file.close()
            self._file = Preallocated(self._memory_path, _SIZE)
            with suppress(OSError):
                os.unlink(self._home_path)

    @property
    def settled(self) -> bool:
        """Whether everything that is kept is also in `home`."""
        return self._written == len(self._digests)

    def persist(self) -> None:
        """Have a child copy what is new to `home`; called again and again, never waits."""
        if self._child:
            pid, status = os.waitpid(self._child, os.WNOHANG)
            if pid == 0:
                return
            self._child = 0
            if status == 0:
                self._written = self._child_writes
        if self.settled:
            return
        self._child_writes = len(self._digests)
        with suppress(OSError):  # no process to be had: the next tick tries again
            self._child = os.fork()
            if self._child == 0:
                self._copy()

    def _copy(self) -> None:
        """In the child: one synced copy, then the end, whatever happens."""
        code = 1
        try:
            os.closerange(0, os.sysconf("SC_OPEN_MAX"))
            with open(self._memory_path, "rb") as file:
                data = file.read()
            temporary = f"{self._home_path}.new"
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
            fd = os.open(temporary, flags, 0o600)
            while data:
                data = data[os.write(fd, data) :]
            os.fsync(fd)
            os.rename(temporary, self._home_path)
            os.fsync(os.open(os.path.dirname(self._home_path), os.O_RDONLY))
            code = 0
        finally:
            os._exit(code)

    def close(self) -> None:
        """Leave; files with nothing in them go, too."""
        self._file.close()
        if not self._digests:
            with suppress(OSError):
                os.unlink(self._memory_path)


def _files(place: Place) -> list[str]:
    found = []
    for folder in {place.memory, place.home}:
        with suppress(OSError):
            names = [name for name in os.listdir(folder) if name.startswith(_PREFIX)]
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
