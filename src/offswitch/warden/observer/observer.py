"""The observer: it looks whether what was commanded has happened.

A process of its own, with a user of its own where root is there, that can read and nothing
else: it holds no descriptor that stops anything, and uses nothing that an actuator said.
The warden asks it to *look* after a stop, and to *watch* as long as a latch is set:

    → {"op": "look", "id", "cell": facts, "layers": […], "level", "deadline_ms"}
    ← {"id", "layer", "seen": bool, "at_ns", "detail"}      once a layer, when seen or too late
    → {"op": "watch", "cell": facts, "level"}    → {"op": "unwatch", "name"}
    → {"op": "table", "number", "shown": bool}              a gateway's flow table, beside it
    → {"op": "prober", "number"}                            the link to it, beside it
    → {"op": "sight", "number", "shown": bool}              the link to a hand's look, likewise
    ← {"event": "moved", "cell": name, "layer", "detail"}   as long as something moves
    → {"op": "ping"}   ← {"event": "pong"}                  whether it turns
    ← {"event": "prober-stuck", "number"}                   it answers nothing: start another

The kernel reports a change of `cgroup.events` at most about every 10 ms, so after a stop
it is read every 100 µs for 20 ms, then every 2 ms. The standing watch wakes at the
kernel's report and looks by itself ten times a second. `at_ns` is CLOCK_MONOTONIC.
"""

from __future__ import annotations

import argparse
import select
import socket
import sys
import time
from typing import Any

from offswitch.actuators.sock_diag import Diag
from offswitch.control import frames
from offswitch.control.ids import user_of
from offswitch.control.landlock import confine_files
from offswitch.control.seccomp import forbid
from offswitch.control.shed import complain, shed
from offswitch.errors import OffswitchError, Usage
from offswitch.warden.observer.gateway_look import GatewayLook, Tables
from offswitch.warden.observer.looks import LAYERS, Blind, Look, Picture, Seen, look_for
from offswitch.warden.observer.prober import Answer, Prober
from offswitch.warden.observer.sights import Both, HandLook, Sights
from offswitch.warden.observer.standing_watch import StandingWatch

__all__ = ["Observer", "become_observer", "main"]

_FDS = 8
_GARBLED = (
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    OverflowError,
    OffswitchError,
)
_FAST_NS = 20_000_000
_FAST_S = 0.0001
_SLOW_S = 0.002
_MAX_DEADLINE_MS = 60_000


class _Open:
    """One layer that was asked for and not answered."""

    __slots__ = ("deadline_ns", "last", "layer", "look", "number")

    def __init__(self, number: int, layer: str, look: Look, deadline_ns: int) -> None:
        self.number = number
        self.layer = layer
        self.look = look
        self.deadline_ns = deadline_ns
        self.last = Seen(None, "not looked at")


class Observer:
    """Serves one link."""

    def __init__(self, link: socket.socket) -> None:
        """Answer on `link`, the warden's."""
        self._prober: Prober | None = None
        """Asks gateways' listeners; None: there is none."""
        self._tables = Tables()
        self._link = link
        self._decoder = frames.Decoder()
        self._open: list[_Open] = []
        self._fast_until = 0
        self._fds: list[int] = []
        """Descriptors that came, and are not taken yet."""
        self._nets: dict[str, Diag] = {}
        """Cell → a conversation about sockets in the network that it has to itself."""
        self._epoll = select.epoll()
        self._epoll.register(link.fileno(), select.EPOLLIN)
        self._sights = Sights(self._epoll)
        self._watch = StandingWatch(self._epoll, self._send, self._tables, self._ask, self._sights)

    def run(self) -> None:
        """Look until the warden's end of the link is closed."""
        while True:
            self._wait()
            for fd, _events in self._epoll.poll(0):
                if self._prober is not None and fd == self._prober.fileno():
                    if not self._prober.hear():
                        self._give_up_prober(self._prober)
                elif fd != self._link.fileno():
                    if not self._sights.hear(fd):
                        self._watch.changed(fd)
                elif not self._take():
                    return
            if self._prober is not None and self._prober.stuck:
                self._give_up_prober(self._prober)
            self._look()
            if not self._open or time.monotonic_ns() > self._fast_until:
                self._watch.due()  # what somebody waits for comes first

    def _wait(self) -> None:
        """Wait for something to do; by select(2), since epoll counts whole milliseconds."""
        if self._open:
            patience = _FAST_S if time.monotonic_ns() < self._fast_until else _SLOW_S
        else:
            patience = self._watch.patience()
        select.select([self._epoll], [], [], None if patience < 0 else patience)

    def _take(self) -> bool:
        flags = socket.MSG_CMSG_CLOEXEC
        data, fds, _flags, _address = socket.recv_fds(self._link, 1 << 16, _FDS, flags)
        self._fds += fds
        if not data:
            return False
        for message in self._decoder.feed(data):
            try:
                self._obey(message)
            except _GARBLED as error:
                sys.stderr.write(f"observer: a message that says nothing: {error!r}\n")
        return True

    def _obey(self, message: dict[str, Any]) -> None:
        match message["op"]:
            case "look":
                self._begin(message)
            case "watch":
                self._watch.add(message["cell"], str(message["level"]))
            case "ping":
                self._send({"event": "pong"})
            case "unwatch":
                self._watch.remove(str(message["name"]))
            case "net":
                self._net(str(message["name"]), shown=message["shown"] is True)
            case "prober" if self._fds:
                self._without_prober()
                link = socket.socket(fileno=self._fds.pop(0))
                self._prober = Prober(link, int(message["number"]))
                self._epoll.register(self._prober.fileno(), select.EPOLLIN)
            case "sight":
                self._sight(int(message["number"]), shown=message["shown"] is True)
            case "table":
                self._table(int(message["number"]), shown=message["shown"] is True)
            case other:
                raise ValueError(other)

    def _net(self, name: str, *, shown: bool) -> None:
        """Take a conversation about a network that a cell has to itself, or let go of it.

        A descriptor that is there may belong to a later message: they come together.
        """
        known = self._nets.pop(name, None)
        if known is not None:
            known.close()
        if shown and self._fds:
            self._nets[name] = Diag.of(self._fds.pop(0))

    def _ask(self, at: str, target: str) -> Answer:
        """Have a gateway's listener asked."""
        if self._prober is not None:
            return self._prober.ask(at, target)
        answer = Answer()
        answer.status, answer.why = 0, "nobody can ask it just now"
        return answer

    def _give_up_prober(self, prober: Prober) -> None:
        """It hung up, talks garbage or answers nothing: the warden ends it, and starts another."""
        self._without_prober()
        self._send({"event": "prober-stuck", "number": prober.number})

    def _without_prober(self) -> None:
        if self._prober is not None:
            self._epoll.unregister(self._prober.fileno())
            self._prober.close()
            self._prober = None

    def _table(self, number: int, *, shown: bool) -> None:
        """Take in a gateway's flow table, or let go of it."""
        if not shown:
            self._tables.hide(number)
        elif self._fds:
            self._tables.show(number, self._fds.pop(0))

    def _sight(self, number: int, *, shown: bool) -> None:
        """Take in the link to whoever looks at what a hand has done, or let go of it."""
        if not shown:
            self._sights.hide(number)
        elif self._fds:
            self._sights.show(number, self._fds.pop(0))

    def _look_at(self, layer: str, facts: dict[str, Any], level: str) -> Look:
        """Begin to look at one layer: here, by hands' looks, or both."""
        here = look_for(layer, facts, level, self._nets)
        hands = facts.get("hands", {}).get(layer)
        if not hands:
            return here or Blind()
        look = HandLook([int(number) for number in hands], self._sights)
        return look if here is None else Both(here, look)

    def _begin(self, message: dict[str, Any]) -> None:
        now = time.monotonic_ns()
        self._fast_until = now + _FAST_NS
        limit = min(int(message["deadline_ms"]), _MAX_DEADLINE_MS)
        for layer in sorted(message["layers"], key=_urgency):
            facts, level = message["cell"], str(message["level"])
            if layer == "gateway" and layer in facts:
                gateway = GatewayLook(facts[layer], level, self._tables, self._ask)
                self._open.append(
                    _Open(int(message["id"]), layer, gateway, now + limit * 1_000_000)
                )
                continue
            look = self._look_at(layer, facts, level)
            each = _Open(int(message["id"]), layer, look, now + limit * 1_000_000)
            self._open.append(each)
        self._open.sort(key=lambda each: _urgency(each.layer))

    def _look(self) -> None:
        """Look once at what is open: at the processes first, and at them alone while they fall."""
        falling = False
        picture = Picture([each.look for each in self._open])
        for each in list(self._open):
            late = each.layer in {"network", "sweep"}
            if falling and late and time.monotonic_ns() < self._fast_until:
                continue
            each.last = each.look.once(picture)
            now = time.monotonic_ns()
            if each.last.stands:
                self._close(each, seen=True, at_ns=now)
            elif now >= each.deadline_ns:
                self._close(each, seen=False, at_ns=now)
            elif each.layer == "process":
                falling = True

    def _close(self, each: _Open, *, seen: bool, at_ns: int) -> None:
        self._open.remove(each)
        each.look.close()
        self._send(
            {
                "id": each.number,
                "layer": each.layer,
                "seen": seen,
                "at_ns": at_ns,
                "detail": each.last.detail,
            }
        )

    def _send(self, message: dict[str, Any]) -> None:
        frames.send(self._link, message)


def _urgency(layer: str) -> int:
    return LAYERS.index(layer) if layer in LAYERS else len(LAYERS)


def become_observer() -> list[str]:
    """Give up root for the observer's own user, and all but to look; list what was refused.

    As a user of its own it may write nothing, run nothing, signal nobody, and make no socket
    but the one by which the kernel lists sockets.
    """
    user = user_of("observer")
    refused = shed(user)
    if user is not None:
        refused.append(confine_files())
    # On the lower rung it looks by a child that may hang, and ends that child.
    refused.append(forbid(socket.AF_NETLINK, signals=user is None))
    return [each for each in refused if each]


def main(argv: list[str] | None = None) -> int:
    """Serve the warden on `--link` until it goes away."""
    parser = argparse.ArgumentParser(prog="offswitch.warden.observer")
    parser.add_argument("--link", type=int, required=True)
    args = parser.parse_args(argv)
    complain("observer", become_observer())
    try:
        Observer(socket.socket(fileno=args.link)).run()
    except (ConnectionError, Usage):
        pass  # the warden is gone, or talks garbage: a new one starts a new observer
    return 0
