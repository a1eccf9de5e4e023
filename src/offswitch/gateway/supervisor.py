"""The supervisor: starts workers, and ends one that does not obey (ACT-4).

    fork a worker ─► it attaches ─► it serves ─► it dies ─► another, at once, then with pauses
    words, turn N ─► 100 ms ─► a worker whose table does not say that it has swept is killed:
                               the kernel closes all its sockets, also those of other targets,
                               and whose streams died with it is written down (*collateral*)

It holds no client and no server, so nothing that they send can hold it up; and it is told of each
turn by a connection of its own. Its rights were given away before the first fork. If it dies its
workers die with it.
"""

from __future__ import annotations

import ctypes
import gc
import os
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from offswitch.control.flows import Flow, FlowReader, FlowTable
from offswitch.control.gate import Attachment, Gate
from offswitch.control.page import FIRST_WORD, LEASE, RUN
from offswitch.control.place import Place
from offswitch.errors import OffswitchError
from offswitch.gateway.kit import Kit
from offswitch.gateway.serving import DRAIN_S, RELOAD_S, serve
from offswitch.gateway.tools.account import Account
from offswitch.model.level import Level

__all__ = ["SILENT_S", "Supervisor"]

SILENT_S = 0.1
"""How long a worker may take to do what the words say."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S, _OLD_ENOUGH_S = 0.05, 5.0, 5.0
_AGAIN_S = 0.1
_TICK_S, _IDLE_S = 0.01, 0.5
_PR_SET_PDEATHSIG = 1
_SPARE_ROWS = 64
_LISTED, _AT_ONCE = 20, 6
_ACCOUNT_S = 0.3
"""How long after a stop what became of tool calls is told: when they have ended."""
_KILL = RUN + Level.KILL

Serve = Callable[[Place, Kit, int, tuple[FlowTable, int], int], None]


@dataclass(slots=True)
class _Worker:
    """One worker, or its place while it is away."""

    kit: Kit
    number: int
    pid: int = 0
    reader: FlowReader | None = None
    since: float = 0.0
    pause_s: float = 0.0
    again_at: float = 0.0
    due: dict[int, float] = field(default_factory=dict)
    """Turns that it was told, and until when it has to have swept (CLOCK_MONOTONIC)."""


@dataclass(slots=True)
class _Ear:
    """One front's own connection to the warden."""

    kit: Kit
    gate: Gate
    account: Account
    again_at: float = 0.0
    account_at: float = 0.0
    """When what became of tool calls is told; 0: nothing has changed."""


class Supervisor:
    """One generation of workers."""

    def __init__(self, place: Place, kits: Sequence[Kit], ready: int, serve: Serve = serve) -> None:
        """`ready` is written to when every worker serves."""
        self._place = place
        self._ready = ready
        self._serve = serve
        self._workers = [_Worker(kit, n) for kit in kits for n in range(kit.front.workers)]
        self._ears = [self._ear(kit) for kit in kits]
        self._unheard: list[tuple[_Ear, str, dict[str, object]]] = []
        """Notes that nobody has taken yet."""
        self._reading, self._writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._served = 0
        self._woken, self._wakes = socket.socketpair()
        self._leaving: int | None = None
        self._libc = ctypes.CDLL(None)

    def _ear(self, kit: Kit) -> _Ear:
        said = Attachment(kit.front.name, kit.front.targets, kit.places, kit.upstreams)
        return _Ear(kit, Gate(self._place.warden_socket, said), Account(kit.books))

    def run(self) -> int:
        """Serve until told to end."""
        self._heed_signals()
        gc.freeze()
        while True:
            now = time.monotonic()
            if self._leaving is None:
                for each in self._workers:
                    if not each.pid and now >= each.again_at:
                        self._begin(each)
            elif not any(each.pid for each in self._workers):
                return 0
            for ear in self._ears:
                self._listen(ear, now)
            self._wait()
            self._judge(time.monotonic())
            self._account(time.monotonic())
            self._hand_in()

    # --- waiting ------------------------------------------------------------------

    def _heed_signals(self) -> None:
        for each in (self._woken, self._wakes):
            each.setblocking(False)
        signal.set_wakeup_fd(self._wakes.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal; our parent tells us

    def _wait(self) -> None:
        """Wait for something to do, and do what has come."""
        poll = select.poll()
        poll.register(self._woken, select.POLLIN)
        poll.register(self._reading, select.POLLIN)
        for ear in self._ears:
            if ear.gate.fileno() >= 0:
                poll.register(ear.gate.fileno(), select.POLLIN)
        near = any(each.due for each in self._workers)
        near = near or any(not each.pid for each in self._workers)
        near = near or any(not ear.gate.attached or ear.account_at for ear in self._ears)
        ready = {fd for fd, _events in poll.poll(int((_TICK_S if near else _IDLE_S) * 1000))}
        if self._woken.fileno() in ready:
            self._signalled(self._woken.recv(4096))
        if self._reading in ready:
            self._came_up()
        for ear in self._ears:
            if ear.gate.fileno() in ready:
                self._hear(ear)

    def _signalled(self, numbers: bytes) -> None:
        for number in numbers:
            if number in {signal.SIGTERM, signal.SIGHUP}:
                self._leave(number)
        for each in self._workers:
            if each.pid:
                self._reap(each)

    def _came_up(self) -> None:
        self._served += len(os.read(self._reading, 4096))
        if self._served >= len(self._workers) and self._ready >= 0:
            with suppress(OSError):
                os.write(self._ready, bytes([1]))
            os.close(self._ready)
            self._ready = -1

    def _leave(self, number: int) -> None:
        """Have the workers end what they have; nothing is started any more."""
        patience_s = DRAIN_S if number == signal.SIGTERM else RELOAD_S
        if self._leaving is not None and number != signal.SIGTERM:
            return
        self._leaving = number
        end = time.monotonic() + patience_s + 1
        for each in self._workers:
            each.again_at = end
            if each.pid:
                os.kill(each.pid, number)

    # --- workers ------------------------------------------------------------------

    def _begin(self, each: _Worker) -> None:
        """Fork a worker."""
        table, fd = FlowTable.create(each.kit.front.limits.connections + _SPARE_ROWS)
        parent, pid = os.getpid(), os.fork()
        if pid == 0:
            status = 1
            try:
                self._libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
                if os.getppid() == parent:
                    self._become(each, table, fd)
                    status = 0
            except BaseException as error:  # noqa: BLE001 - the process's edge: said, and it ends
                sys.stderr.write(f"offswitch gateway: worker {each.number}: {error!r}\n")
            finally:
                os._exit(status)
        table.close()
        each.reader, each.pid = FlowReader(fd), pid
        each.since = time.monotonic()
        each.due.clear()

    def _become(self, each: _Worker, table: FlowTable, fd: int) -> None:
        """Be that worker: let go of what is the supervisor's."""
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        for ear in self._ears:
            ear.gate.end()
        for other in self._workers:
            if other.reader is not None:
                other.reader.close()
        for sock in (self._woken, self._wakes):
            sock.close()
        if self._ready >= 0:
            os.close(self._ready)
        os.close(self._reading)
        table.begin()
        self._serve(self._place, each.kit, each.number, (table, fd), self._writing)

    def _reap(self, each: _Worker) -> None:
        pid, status = os.waitpid(each.pid, os.WNOHANG)
        if not pid:
            return
        lived = time.monotonic() - each.since
        each.pause_s = (
            0.0
            if lived > _OLD_ENOUGH_S
            else min(max(each.pause_s * 2, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)
        )
        if self._leaving is None:
            each.again_at = time.monotonic() + each.pause_s
            self._note(
                each.kit, "restarted", f"worker {each.number} ended: {_how(status)}", pid=pid
            )
        self._forget(each)

    @staticmethod
    def _forget(each: _Worker) -> None:
        if each.reader is not None:
            each.reader.close()
        each.pid, each.reader = 0, None
        each.due.clear()

    # --- turns --------------------------------------------------------------------

    def _listen(self, ear: _Ear, now: float) -> None:
        if ear.gate.fileno() < 0 and now >= ear.again_at:
            ear.again_at = now + _AGAIN_S
            with suppress(OffswitchError):
                ear.gate.begin()

    def _hear(self, ear: _Ear) -> None:
        attached = ear.gate.attached
        try:
            turn = ear.gate.hear()
        except OffswitchError:
            return
        if turn is None or not attached:
            return  # the turn of an attachment is its own; a worker has another
        ear.account_at = time.monotonic() + _ACCOUNT_S
        for each in self._workers:
            if each.kit is ear.kit and each.pid:
                each.due.setdefault(turn, time.monotonic() + SILENT_S)

    def _judge(self, now: float) -> None:
        """Kill each worker that has not swept in time, if anything is to be cut at all."""
        for each in self._workers:
            if not each.pid or each.reader is None:
                continue
            late = False
            with suppress(OSError, OffswitchError):
                swept = each.reader.swept
                each.due = {turn: due for turn, due in each.due.items() if turn > swept}
                late = any(due <= now for due in each.due.values())
            if late:
                self._kill(each)
            elif self._leaving is not None and now > each.again_at:
                os.kill(each.pid, signal.SIGKILL)

    def _kill(self, each: _Worker) -> None:
        ear = next(ear for ear in self._ears if ear.kit is each.kit)
        words = {name: _word(ear.gate.page, slot) for name, slot in ear.gate.slots.items()}
        each.due.clear()
        if not any(word < RUN or word >= _KILL for word in words.values()):
            return  # nothing is to be cut: it may be slow
        flows: list[Flow] = []
        with suppress(OSError, OffswitchError):
            flows = each.reader.flows() if each.reader is not None else []
        os.kill(each.pid, signal.SIGKILL)
        why = f"worker {each.number} did not obey within {SILENT_S * 1000:.0f} ms"
        self._note(each.kit, "killed", why, pid=each.pid, streams=len(flows))
        names = {slot: name for name, slot in ear.gate.slots.items()}
        self._list(
            each.kit,
            [f for f in flows if RUN <= words.get(names.get(f.slot, ""), 0) < _KILL],
            names,
        )

    def _list(self, kit: Kit, spared: list[Flow], names: dict[int, str]) -> None:
        """Write down whose streams died though nothing stopped them."""
        by_target: dict[str, list[Flow]] = {}
        for flow in spared:
            by_target.setdefault(names[flow.slot], []).append(flow)
        for target, flows in by_target.items():
            for first in range(0, min(len(flows), _LISTED * _AT_ONCE), _AT_ONCE):
                clients = ", ".join(_client(flow) for flow in flows[first : first + _AT_ONCE])
                count = len(flows) if not first else 0
                self._note(kit, "collateral", clients, target=target, streams=count)

    # --- what is written down -----------------------------------------------------

    def _account(self, now: float) -> None:
        """Tell what became of the tool calls of what is stopped (ACT-9)."""
        for ear in self._ears:
            if not ear.account_at or now < ear.account_at:
                continue
            ear.account_at = 0.0
            words = {name: _word(ear.gate.page, slot) for name, slot in ear.gate.slots.items()}
            for target, text, more in ear.account.news(lambda name: words.get(name, 0) >= _KILL):  # noqa: B023 - at once
                self._note(ear.kit, "calls", text, target=target, **more)

    def _note(self, kit: Kit, what: str, text: str, **more: object) -> None:
        sys.stderr.write(f"offswitch gateway {kit.front.name}: {what}: {text}\n")
        ear = next(ear for ear in self._ears if ear.kit is kit)
        self._unheard.append((ear, what, {"text": text, **more}))
        del self._unheard[: -_LISTED * 4]

    def _hand_in(self) -> None:
        for one in list(self._unheard):
            ear, what, more = one
            if not ear.gate.note(what, **more):
                return
            self._unheard.remove(one)


def _word(page: int, slot: int) -> int:
    """Read a word of the page as a worker must: 0 where nobody vouches for it."""
    try:
        (lease,) = struct.unpack("=Q", os.pread(page, 8, LEASE * 8))
        if lease <= time.clock_gettime_ns(time.CLOCK_BOOTTIME):
            return 0
        return int(struct.unpack("=Q", os.pread(page, 8, (FIRST_WORD + slot) * 8))[0])
    except (OSError, struct.error):
        return 0


def _client(flow: Flow) -> str:
    if flow.client is None:
        return "unknown"
    size = 4 if flow.client.family == socket.AF_INET else 16
    ident = flow.client.ident
    (port,) = struct.unpack_from("!H", ident, 2)
    with suppress(ValueError, OSError):
        return f"{socket.inet_ntop(flow.client.family, ident[20 : 20 + size])}:{port}"
    return "unknown"


def _how(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"signal {signal.Signals(os.WTERMSIG(status)).name}"
    return f"exit code {os.waitstatus_to_exitcode(status)}"
