"""The keeper's own orders, kept until a warden has joined them to the latch (SR-22).

They lie in a preallocated file on tmpfs at once. A forked child copies that file to `home`
and syncs it, or takes the copy away when nothing is kept any more, since the keeper itself
touches no disk. Each keeper has files of its own (`keeper-orders.EPOCH.PID`), so that one
never takes away what another left behind.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace

from offswitch.control.place import Place
from offswitch.model.level import Level
from offswitch.model.order import Stop
from offswitch.model.scope import EVERYTHING
from offswitch.warden.latch.records import Preallocated

__all__ = ["PREFIX", "KeptOrders"]

PREFIX = "keeper-orders."
_SIZE = 1 << 18
_LOW = 1 << 14


class KeptOrders:
    """What one keeper keeps. Nothing here waits for a disk."""

    def __init__(self, place: Place, epoch: int) -> None:
        """Make room on tmpfs now: at a stop there may be none."""
        name = f"{PREFIX}{epoch}.{os.getpid()}"
        self._memory_path = f"{place.memory}/{name}"
        self._home_path = f"{place.home}/{name}"
        self._file = Preallocated(self._memory_path, _SIZE)
        self._kept: dict[str, Stop] = {}
        self._written = 0
        """How many of them `home` has; -1: some that are not kept any more."""
        self._child = self._child_writes = 0
        self._durable: set[str] = set()

    def keep(self, stop: Stop) -> bool:
        """Keep an order, unless it joins one that is kept (SR-17); False: it could not be kept.

        One that a warden has durable may have been reset by now: nothing joins it any more.
        With no room left for single ones, a stop of everything stands for the rest.
        """
        waiting = self._kept.keys() - self._durable
        if any(stop.joins(self._kept[name]) for name in waiting):
            return True
        if self._file.left < _LOW and stop.scope != EVERYTHING:
            return self.keep(replace(stop, scope=EVERYTHING, level=Level.KILL, by="keeper"))
        room = self._file.append(stop.wire())
        if room:
            self._kept[stop.digest] = stop
        return room

    def joined(self, digests: Collection[str]) -> None:
        """A warden has these durable: when it has all, they are forgotten."""
        self._durable.update(self._kept.keys() & set(digests))

    @property
    def settled(self) -> bool:
        """Whether `home` has what is kept, and nothing else."""
        return self._written == len(self._kept)

    def persist(self) -> None:
        """Have a child copy what is new to `home`; called again and again, never waits."""
        if self._child:
            pid, status = os.waitpid(self._child, os.WNOHANG)
            if pid == 0:
                return
            self._child = 0
            if status == 0:
                self._written = self._child_writes
        if self._kept and self._kept.keys() <= self._durable:
            self._forget()
        if self.settled:
            return
        self._child_writes = len(self._kept)
        with suppress(OSError):  # no process to be had: the next tick tries again
            self._child = os.fork()
            if self._child == 0:
                self._copy()

    def _forget(self) -> None:
        """Begin anew; no child is copying now. Without room for that, all stays as it is."""
        with suppress(OSError):
            fresh = Preallocated(self._memory_path, _SIZE)
            self._file.close()
            self._file = fresh
            self._kept, self._durable, self._written = {}, set(), -1

    def _copy(self) -> None:
        """In the child: one synced copy, or none any more, then the end, whatever happens."""
        code = 1
        try:
            os.closerange(0, os.sysconf("SC_OPEN_MAX"))
            if not self._kept:
                with suppress(FileNotFoundError):
                    os.unlink(self._home_path)
                os._exit(0)
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
        if not self._kept:
            with suppress(OSError):
                os.unlink(self._memory_path)
