"""The standing watch: as long as a latch is set, whatever moves is told (VER-3).

Two things wake it: the kernel's report that a cell's events changed, and the clock ten
times a second, when all cells are looked at together: one list of sockets, one pass over
the users of all processes (only when one was born since, by the kernel's newest pid in
/proc/loadavg, and at least twice a second). So a thousand latched cells cost little more
than one. A cell that moves is told again and again, ten times a second at most, until it
stands still or is not watched any more. What cannot be known any more is told once.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Mapping
from typing import Any

from offswitch.actuators.sock_diag import Diag
from offswitch.warden.cells.descendants import walk
from offswitch.warden.observer.gateway_look import GatewayLook, Tables
from offswitch.warden.observer.looks import (
    HIDDEN,
    DescendantsLook,
    Look,
    ProcessLook,
    Seen,
    lives,
    living,
    look_for,
    numbers_of,
    older_of,
    remain,
)
from offswitch.warden.observer.prober import Ask
from offswitch.warden.observer.sights import HandLook, Sights

__all__ = ["StandingWatch"]

_EVERY_S = 0.1
_SCAN_EVERY_S = 0.5
_PROBE_EVERY_S = 2.0
"""How often a gateway's listener is asked about a target that is latched."""
_HANDS_EVERY_S = 1.0
"""How often hands' looks are asked: some of what they look at slows down when asked more often."""
_UNLISTED = Seen(None, "the kernel does not list sockets: whether one is left is unknown")


class _Watched:
    """One cell."""

    __slots__ = ("gateway", "hands", "name", "numbers", "older", "process", "told", "uid")

    def __init__(
        self, facts: Mapping[str, Any], level: str, gateway: GatewayLook | None = None
    ) -> None:
        self.gateway = gateway
        self.hands: dict[str, HandLook] = {}
        self.name = str(facts["name"])
        self.process: Look | None = look_for("process", facts, level)
        # A frozen cell keeps its sockets and its user's processes: that they stand still is seen
        # by their being frozen.
        killed = level != "freeze"
        self.numbers = numbers_of(facts) if killed else ()
        self.older = older_of(facts) if killed else []
        self.uid: int | None = int(facts["uid"]) if killed and facts["own_uid"] else None
        self.told: dict[str, float] = {}

    def events_fd(self) -> int:
        return self.process.fileno() if isinstance(self.process, ProcessLook) else -1


class StandingWatch:
    """Watches cells; tells by `send`."""

    def __init__(
        self,
        epoll: select.epoll,
        send: Callable[[dict[str, Any]], None],
        tables: Tables,
        ask: Ask,
        sights: Sights | None = None,
    ) -> None:
        """Register the cells' events with `epoll`; `tables` and `ask` are for gateways."""
        self._sights = sights
        self._tables = tables
        self._ask = ask
        self._epoll = epoll
        self._send = send
        self._cells: dict[str, _Watched] = {}
        self._by_fd: dict[int, _Watched] = {}
        self._diag: Diag | None = None
        self._next = 0.0
        self._scan = 0.0
        self._newest = b""

    def add(self, facts: Mapping[str, Any], level: str) -> None:
        """Watch a cell at a level, from now on; replaces what was watched under its name.

        What was told of it once, since it cannot be known, is not told again.
        """
        gateway = None
        if "gateway" in facts:
            gateway = GatewayLook(facts["gateway"], level, self._tables, self._ask, _PROBE_EVERY_S)
        watched = _Watched(facts, level, gateway)
        if self._sights is not None:
            for layer, numbers in facts.get("hands", {}).items():
                some = [int(number) for number in numbers]
                watched.hands[layer] = HandLook(some, self._sights, _HANDS_EVERY_S)
        if watched.name in self._cells:
            watched.told = self._cells[watched.name].told
        self.remove(watched.name)
        self._cells[watched.name] = watched
        fd = watched.events_fd()
        if fd >= 0:
            self._by_fd[fd] = watched
            self._epoll.register(fd, select.EPOLLPRI)
        self._next = self._scan = 0.0

    def remove(self, name: str) -> None:
        """Watch it no longer."""
        watched = self._cells.pop(name, None)
        if watched is None or watched.process is None:
            return
        fd = watched.events_fd()
        if self._by_fd.pop(fd, None) is not None:
            self._epoll.unregister(fd)
        watched.process.close()

    def changed(self, fd: int) -> None:
        """The kernel reports a change of a cell's events."""
        watched = self._by_fd.get(fd)
        if watched is not None and watched.process is not None:
            self._judge(watched, "process", watched.process.once())

    def patience(self) -> float:
        """How many seconds may pass until `due` is called; -1: for ever."""
        return max(0.0, self._next - time.monotonic()) if self._cells else -1

    def due(self) -> None:
        """Look at everything, if it is time."""
        now = time.monotonic()
        if not self._cells or now < self._next:
            return
        self._next = now + _EVERY_S
        cells = list(self._cells.values())
        self._look_at_processes(cells)
        self._look_at_gateways(cells)
        self._look_at_hands(cells)
        self._look_at_sockets([each for each in cells if each.numbers])
        swept = [each for each in cells if each.uid is not None]
        if swept and self._users_may_have_changed(now):
            self._look_at_users(swept)

    def _look_at_processes(self, cells: list[_Watched]) -> None:
        picture = None
        for each in cells:
            if isinstance(each.process, DescendantsLook):
                picture = walk() if picture is None else picture
                self._judge(each, "process", each.process.judge(picture))
            elif each.process is not None:
                self._judge(each, "process", each.process.once())

    def _look_at_gateways(self, cells: list[_Watched]) -> None:
        for each in cells:
            if each.gateway is not None:
                seen = each.gateway.once()
                if not each.gateway.pending:
                    self._judge(each, "gateway", seen)

    def _look_at_hands(self, cells: list[_Watched]) -> None:
        for each in cells:
            for layer, look in each.hands.items():
                seen = look.once()
                if not look.pending:
                    self._judge(each, layer, seen)

    def _look_at_sockets(self, cells: list[_Watched]) -> None:
        if not cells:
            return
        try:
            if self._diag is None:
                self._diag = Diag()
            ids = [number for each in cells for number in each.numbers]
            by_cell = self._diag.by_cgroup(ids)
            older = {each.name: self._diag.present(each.older) for each in cells if each.older}
        except OSError:
            for each in cells:
                self._judge(each, "network", _UNLISTED)
            return
        for each in cells:
            found = [sock for number in each.numbers for sock in by_cell.get(number, ())]
            self._judge(each, "network", remain(found + older.get(each.name, [])))

    def _look_at_users(self, cells: list[_Watched]) -> None:
        left = living([each.uid for each in cells if each.uid is not None])
        for each in cells:
            uid = each.uid or 0
            self._judge(each, "sweep", HIDDEN if left is None else lives(uid, left[uid]))

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

    def _judge(self, watched: _Watched, layer: str, seen: Seen) -> None:
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
