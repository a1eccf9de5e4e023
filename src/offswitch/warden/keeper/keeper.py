"""The keeper: the warden's last hand (SR-22, SEC-6).

It is handed each cell's kill and freeze descriptors before the target's first instruction,
acknowledges them, and then waits for one of four things:

    a stop on its own socket    the warden has 5 ms to show it in the page, in the right order
    or in the spool (SR-11)     (SR-8); then the keeper does it, and keeps the order
    the warden's death    by vital, pidfd ─┐ one case: freeze at once,
    a stale lease               by page  ─┘ kill after 10 s, as an order of its own
    a warden that is back       raises the epoch in the page and renews the lease: thaw what
                                the keeper itself froze and no stop covers

It leaves when a newer keeper has everything. It decides nothing else, opens no file after
its start but a page that took the place of its own, waits for no disk, and knows no way to let
a stopped target go on. Ten seconds are counted on CLOCK_MONOTONIC, and what the keeper itself
slept through is left out: a closed lid, or a machine that paused, freezes and kills nothing.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from typing import Any

from offswitch.clock import new_nonce
from offswitch.control.page import KEEPER_EPOCH, RUN, WARDEN_EPOCH, PageFile
from offswitch.control.peer import peer_of
from offswitch.control.place import Place
from offswitch.control.vital import await_death
from offswitch.errors import OffswitchError
from offswitch.model.level import Level
from offswitch.model.order import Stop
from offswitch.model.scope import Scope
from offswitch.warden.door import spool
from offswitch.warden.door.rights import Rights
from offswitch.warden.granted import keep_to_oneself, take_what_is_granted
from offswitch.warden.keeper.door import Door, Press
from offswitch.warden.keeper.grip import Grip, grip_of
from offswitch.warden.keeper.orders import KeptOrders

__all__ = ["Keeper", "main"]

_LEAVES_AFTER_NS = 2_000_000_000
"""How long a keeper stays when no warden and nothing alive is left."""
_LAST_WORDS_NS = 100_000_000
"""How long a keeper that is relieved serves those who had come to it; ten times that, where
somebody still waits for an answer."""
_FIRST_LEASE_NS = 3_000_000_000
_WARDEN_DOES_IT_NS = 5_000_000
_WARDEN_HEARS_IT_NS = 100_000_000
_LONGEST_NAP_S = 0.25
_HELD_NAP_S = 0.02
_PAUSE_NS = 1_000_000_000
"""Where the keeper itself stood still for longer, a warden may have, too: it does not count."""
_GLANCE_S = 0.0005
"""How often the page is looked at while a press waits for the warden."""
_PRIORITY = 21
_DATAGRAM = 1 << 18
_FDS = 8


class Keeper:
    """One keeper process."""

    def __init__(
        self, place: Place, link: socket.socket, page: str, epoch: int, kill_after_ns: int
    ) -> None:
        """Open everything that will ever be needed.

        `kill_after_ns`: how long what was frozen for the loss of the warden stays frozen.
        """
        self._link = link
        self._page = PageFile(page)
        self._epoch = epoch
        self._kill_after_ns = kill_after_ns
        self._grips: dict[str, Grip] = {}
        self._started = self._ticked = time.monotonic_ns()
        self._seen_fresh = False
        self._lost_since: int | None = None
        self._warden_dead = False
        self._alone_since: int | None = None
        self._leaving = False
        self._out: deque[bytes] = deque()
        self._obeyed: deque[str] = deque(maxlen=4096)
        self._presses: list[Press] = []
        with open(f"{place.home}/installation", encoding="ascii") as file:
            self._installation = file.read().strip()
        self._orders = KeptOrders(place, epoch)
        self._epoll = select.epoll()
        self._ready: dict[int, Callable[[], None]] = {}
        rights = Rights(os.stat(place.control).st_gid, place.cgroup)
        spool.prepare(place, rights.gid)
        self._spool_due: int | None = None
        self._spool = spool.Scan(place)
        self._watch(self._spool.fileno(), self._spooled)
        self._watch(link.fileno(), self._linked)
        self._watch_warden(page)
        installation = self._installation
        self._door = Door(
            place.keeper_socket, rights, installation, self._pressed, self._watch, self._forget
        )

    # --- its loop -----------------------------------------------------------------

    def serve(self) -> None:
        """Keep until nothing is left to keep."""
        self._spooled()
        while not self._leaving:
            for fd, _events in self._epoll.poll(self._nap_s()):
                self._guarded(self._ready.get(fd))
            self._guarded(self._tick)
        self._door.close()
        self._orders.close()

    def _guarded(self, action: Callable[[], None] | None) -> None:
        """Do one thing; what it raises is told to the warden and ends nothing."""
        if action is None:
            return
        try:
            action()
        except Exception as error:  # noqa: BLE001 - the supervised edge: told, and the loop goes on
            self._tell({"defect": f"{type(error).__name__}: {error}"})

    def _watch(self, fd: int, action: Callable[[], None]) -> None:
        self._ready[fd] = action
        self._epoll.register(fd, select.EPOLLIN)

    def _forget(self, fd: int) -> None:
        if self._ready.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def _nap_s(self) -> float:
        """How long nothing can be due: until a press, the spool, the lease or the kill is."""
        if self._presses:
            return _GLANCE_S
        now = time.monotonic_ns()
        if self._lost_since is not None:
            return _HELD_NAP_S if now < self._lost_since + self._kill_after_ns else _LONGEST_NAP_S
        left = self._page.lease_left_ns()
        naps = [_LONGEST_NAP_S, left / 1e9 if left > 0 else _HELD_NAP_S]
        if self._spool_due is not None:
            naps.append((self._spool_due - now) / 1e9)
        return max(0.0, min(naps))

    def _tick(self) -> None:
        now = time.monotonic_ns()
        if self._lost_since is not None and now > self._ticked + _PAUSE_NS:
            self._lost_since += now - self._ticked
        self._ticked = now
        reason = self._loss()
        if reason is not None:
            self._hold(reason, now)
        elif self._lost_since is not None:
            self._recover()
        self._carry_out()
        if self._spool_due is not None and time.monotonic_ns() >= self._spool_due:
            self._obey_spool()
        for grip in self._grips.values():
            if grip.killed and grip.hands.populated():
                grip.kill()
        self._flush()
        self._orders.persist()
        self._leaving = self._leaving or self._may_leave()

    # --- the link -----------------------------------------------------------------

    def _watch_warden(self, page: str) -> None:
        """Watch the process at the other end of the link, which the kernel names."""
        try:
            fds = os.pidfd_open(peer_of(self._link).pid), await_death(page, _PRIORITY)
        except OSError:
            self._warden_dead = True
            return

        def died() -> None:
            self._warden_dead = True
            for fd in fds:
                self._forget(fd)

        for fd in fds:
            self._watch(fd, died)

    def _linked(self) -> None:
        """Take in what the warden says; it hangs up when it is gone, or is done with us."""
        flags = socket.MSG_CMSG_CLOEXEC | socket.MSG_DONTWAIT
        try:
            data, fds, _flags, _address = socket.recv_fds(self._link, _DATAGRAM, _FDS, flags)
        except BlockingIOError:
            return
        except OSError:
            data, fds = b"", []
        if not data:
            self._forget(self._link.fileno())
            return
        message = json.loads(data)
        match message["op"]:
            case "hand":
                self._take(message, fds)
            case "drop":
                grip = self._grips.pop(message["name"], None)
                if grip is not None:
                    grip.hands.close()
            case "obeyed":
                self._obeyed.extend(message["nonces"])
            case "joined":
                self._orders.joined(message["digests"])
            case "ping":
                self._tell({"pong": len(self._grips)})
            case "leave":
                self._leaving = True

    def _take(self, message: dict[str, Any], fds: list[int]) -> None:
        """Take a cell into care, and say so: only then may its target begin."""
        grip = grip_of(message, fds)
        old = self._grips.pop(grip.name, None)
        if old is not None:
            grip.frozen, grip.killed = old.frozen, old.killed
            old.hands.close()
        self._grips[grip.name] = grip
        if self._lost_since is not None and not self._page.observing:
            grip.freeze()
        self._tell({"ack": grip.name})

    def _tell(self, message: dict[str, Any]) -> None:
        self._out.append(json.dumps(message).encode())
        self._flush()

    def _flush(self) -> None:
        """Say what is to be said, as far as the warden listens."""
        while self._out:
            try:
                self._link.send(self._out[0], socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            except BlockingIOError:
                return
            except OSError:
                self._out.clear()
                return
            self._out.popleft()

    # --- the loss of the warden ---------------------------------------------------

    def _loss(self) -> str | None:
        """Say why the warden counts as lost, or None."""
        fresh = self._page.lease_left_ns() > 0
        self._seen_fresh = self._seen_fresh or fresh
        returned = self._page.at(WARDEN_EPOCH) > self._epoch
        if self._warden_dead and not (returned and fresh):
            return "the warden is dead"
        if fresh:
            return None
        if not self._seen_fresh and time.monotonic_ns() < self._started + _FIRST_LEASE_NS:
            return None  # the warden is still coming up, and its death would be seen
        return "the lease ran out"

    def _hold(self, reason: str, now: int) -> None:
        """Freeze what runs; finish what the page says is killed; kill when it takes too long."""
        if self._lost_since is None:
            self._lost_since = now
            for grip in self._grips.values():
                self._hold_one(grip, reason)
        elif now >= self._lost_since + self._kill_after_ns and not self._page.observing:
            for grip in self._grips.values():
                if not grip.killed and grip.hands.populated() is not False:
                    self._kill(grip, f"{reason}, for {self._kill_after_ns / 1e9:g} s")

    def _hold_one(self, grip: Grip, reason: str) -> None:
        killed = self._page.word(grip.slot) >= RUN + Level.KILL
        if not killed and not self._page.observing:
            grip.freeze()
        elif killed and grip.hands.populated():
            self._kill(grip, f"{reason}, and the page says that this one is killed")

    def _kill(self, grip: Grip, reason: str) -> None:
        """Kill a cell by an order of the keeper's own."""
        grip.kill()
        by, scope, now = "keeper", Scope(grip.target.name), time.time_ns() // 1000
        stop = Stop(self._installation, scope, Level.KILL, by, by, new_nonce(), now, reason)
        self._keep([stop], f"killed {grip.target.name}: {reason}")

    def _recover(self) -> None:
        """A warden is back and its lease is fresh: let go of what the keeper alone held."""
        held = [grip for grip in self._grips.values() if grip.frozen]
        for grip in held:
            grip.let_go(self._page)
        since, self._lost_since = self._lost_since, None
        if held and since is not None:
            for_ms = (time.monotonic_ns() - since) // 1_000_000
            self._tell(
                {"acted": f"froze {len(held)} cells for {for_ms} ms: no warden, or no lease"}
            )

    def _may_leave(self) -> bool:
        """Whether a newer keeper has everything, or nothing that could act is left."""
        now, stays = time.monotonic_ns(), _LEAVES_AFTER_NS
        if self._page.at(KEEPER_EPOCH) > self._epoch:
            alone, stays = self._lost_since is None, _LAST_WORDS_NS * (1 + 9 * bool(self._presses))
        elif alone := self._warden_dead and self._orders.settled:
            alone = not any(grip.hands.populated() for grip in self._grips.values())
        self._alone_since = (self._alone_since or now) if alone else None
        return self._alone_since is not None and now > self._alone_since + stays

    # --- stops that come to the keeper itself -------------------------------------

    def _pressed(self, press: Press) -> None:
        """Take a stop from the socket: the warden has a moment to obey it first."""
        patience = _WARDEN_DOES_IT_NS if self._covered(press.stops) else _WARDEN_HEARS_IT_NS
        press.due = time.monotonic_ns() + patience
        self._presses.append(press)

    def _covered(self, stops: list[Stop]) -> list[Grip]:
        return [
            grip
            for grip in self._grips.values()
            if any(stop.scope.covers(grip.target) for stop in stops)
        ]

    def _carry_out(self) -> None:
        """Answer the presses that the warden has obeyed; do the others once they are due.

        One that the page shows is being obeyed, in the right order (SR-8), and not yet written
        down: should the warden die or hang just now, the order is still the keeper's to keep.
        """
        now = time.monotonic_ns()
        for press in list(self._presses):
            covered = self._covered(press.stops)
            word = RUN + press.stops[0].level
            shown = bool(covered) and all(self._page.word(grip.slot) >= word for grip in covered)
            if press.stops[0].nonce in self._obeyed:
                self._presses.remove(press)
                press.answer([], warden=True)
            elif now >= press.due + shown * _WARDEN_HEARS_IT_NS:
                self._presses.remove(press)
                unkept = self._act(press.stops)
                press.answer([grip.target.name for grip in covered], warden=False, unkept=unkept)

    def _keep(self, stops: list[Stop], acted: str) -> str:
        """Keep the orders for the next warden and tell this one; say what could not be kept."""
        lost = [stop.scope.text for stop in stops if not self._orders.keep(stop)]
        unkept = f"there was no room to keep the stop of {', '.join(lost)}" if lost else ""
        self._tell({"acted": f"{acted}; {unkept}" if lost else acted})
        return unkept

    def _act(self, stops: list[Stop]) -> str:
        """Do what the warden did not, by the descriptors, and keep the orders; say what is not."""
        for stop in stops:
            for grip in self._covered([stop]):
                if stop.level >= Level.KILL:
                    grip.kill()
                else:
                    grip.hands.freeze()
        acted = [grip.target.name for grip in self._covered(stops)]
        names = ", ".join(acted[:20]) or "nothing yet"
        scopes = ", ".join(stop.scope.text for stop in stops)
        return self._keep(stops, f"the stop of {scopes}: {names}")

    def _spooled(self) -> None:
        self._spool.came()
        if self._spool_due is None:
            self._spool_due = time.monotonic_ns() + _WARDEN_DOES_IT_NS

    def _obey_spool(self) -> None:
        """Do what still lies in the spool. The warden takes it away when it is back."""
        for spooled in self._spool.take():
            with suppress(OffswitchError):  # no scope: the warden reports it
                stop = spooled.stop(self._installation)
                running = [grip for grip in self._covered([stop]) if not grip.killed]
                if any(self._page.word(grip.slot) < RUN + Level.KILL for grip in running):
                    self._act([stop])
        self._spool_due = self._spool.due_ns()


def _harden() -> None:
    """Take what the machine grants, and lock the memory: a page fault may wait for a disk."""
    take_what_is_granted(_PRIORITY, lock_memory=True)
    keep_to_oneself()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.chdir("/")


def main(argv: list[str]) -> int:
    """Keep, as the child of a warden that names link, folders, page, epoch and limit."""
    options = dict(pairwise(argv))
    link = socket.socket(fileno=int(options["--link"]))
    place = Place(options["--home"], options["--run"])
    limit_ns = int(float(options["--kill-after-s"]) * 1e9)
    keeper = Keeper(place, link, options["--page"], int(options["--epoch"]), limit_ns)
    _harden()
    keeper.serve()
    return 0
