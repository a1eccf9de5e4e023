"""The standing watch: as long as a latch is set, whatever moves is told (VER-3).

Three things wake it: the kernel's report that a cell's events changed, the clock ten
times a second, and a new process anywhere (the kernel's newest pid in /proc/loadavg): only
then are user ids scanned, and at least every half second in any case. A cell that moves is
told again and again, ten times a second at most, until it stands still or is not watched
any more. What cannot be known any more is told once.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Mapping
from typing import Any

from offswitch.warden.looks import LAYERS, Look, ProcessLook, Seen, look_for

__all__ = ["StandingWatch"]

_EVERY_S = 0.1
_SCAN_EVERY_S = 0.5


class _Watched:
    """One cell."""

    __slots__ = ("looks", "name", "told")

    def __init__(self, name: str, looks: dict[str, Look]) -> None:
        self.name = name
        self.looks = looks
        self.told: dict[str, float] = {}


class StandingWatch:
    """Watches cells; tells by `send`."""

    def __init__(self, epoll: select.epoll, send: Callable[[dict[str, Any]], None]) -> None:
        """Register the cells' events with `epoll`."""
        self._epoll = epoll
        self._send = send
        self._cells: dict[str, _Watched] = {}
        self._by_fd: dict[int, _Watched] = {}
        self._next = 0.0
        self._scan = 0.0
        self._newest = b""

    def add(self, facts: Mapping[str, Any], level: str) -> None:
        """Watch a cell at a level, from now on; replaces what was watched under its name."""
        name = str(facts["name"])
        self.remove(name)
        looks: dict[str, Look] = {}
        for layer in LAYERS:
            if _applies(layer, facts, level):
                look = look_for(layer, facts, level)
                if look is not None:
                    looks[layer] = look
        watched = _Watched(name, looks)
        self._cells[name] = watched
        process = looks.get("process")
        if isinstance(process, ProcessLook) and process.fileno() >= 0:
            self._by_fd[process.fileno()] = watched
            self._epoll.register(process.fileno(), select.EPOLLPRI)
        for layer in looks:
            self._check(watched, layer)

    def remove(self, name: str) -> None:
        """Watch it no longer."""
        watched = self._cells.pop(name, None)
        if watched is None:
            return
        for fd in [fd for fd, each in self._by_fd.items() if each is watched]:
            self._epoll.unregister(fd)
            del self._by_fd[fd]
        for look in watched.looks.values():
            look.close()

    def changed(self, fd: int) -> None:
        """The kernel reports a change of a cell's events."""
        watched = self._by_fd.get(fd)
        if watched is not None:
            self._check(watched, "process")

    def patience(self) -> float:
        """How many seconds may pass until `due` is called; -1: for ever."""
        return max(0.0, self._next - time.monotonic()) if self._cells else -1

    def due(self) -> None:
        """Look at everything, if it is time."""
        now = time.monotonic()
        if not self._cells or now < self._next:
            return
        self._next = now + _EVERY_S
        scan = self._users_may_have_changed(now)
        for watched in list(self._cells.values()):
            for layer in watched.looks:
                if layer != "sweep" or scan:
                    self._check(watched, layer)

    def _users_may_have_changed(self, now: float) -> bool:
        """Whether a process was born since the last scan, or half a second has passed."""
        try:
            with open("/proc/loadavg", "rb") as file:
                newest = file.read().split()[-1]
        except (OSError, IndexError):
            newest = b"unknown"
        if newest == self._newest and newest != b"unknown" and now < self._scan:
            return False
        self._newest, self._scan = newest, now + _SCAN_EVERY_S
        return True

    def _check(self, watched: _Watched, layer: str) -> None:
        seen = watched.looks[layer].once()
        if seen.stands:
            watched.told.pop(layer, None)
        elif self._worth_telling(watched, layer, seen):
            detail = seen.detail
            self._send({"event": "moved", "cell": watched.name, "layer": layer, "detail": detail})

    def _worth_telling(self, watched: _Watched, layer: str, seen: Seen) -> bool:
        now = time.monotonic()
        last = watched.told.get(layer)
        if last is not None and (seen.stands is None or now < last + _EVERY_S * 0.9):
            return False
        watched.told[layer] = now
        return True


def _applies(layer: str, facts: Mapping[str, Any], level: str) -> bool:
    if layer == "sweep":
        return bool(facts["own_uid"]) and level != "freeze"
    if layer == "network":
        # A frozen cell keeps its sockets; that it sends nothing follows from its standing still.
        return facts.get("cgroup_id") is not None and level != "freeze"
    return True
