"""The gateway's first process: reads files and binds addresses, and lets others do the rest.

    read, bind, import ─► fork ─► a supervisor without rights ─► its workers          (a generation)
    SIGHUP: read again ─► fork the next one on the same sockets ─► it serves ─► the old one drains

It hears nobody: no client, no server, no socket of ours; all that reaches it are signals, and the
ends of its children. So the keys can be read again for a reload, and yet nothing that a client
sends is ever near a process that could. What cannot be read leaves everything as it was.
"""

from __future__ import annotations

import gc
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from offswitch.control.place import Place
from offswitch.control.shed import complain
from offswitch.errors import OffswitchError
from offswitch.gateway.kit import Kit, Sockets, import_ours, prepare
from offswitch.gateway.plan.front import Front
from offswitch.gateway.settle import settle
from offswitch.gateway.supervisor import Supervisor

__all__ = ["Generations"]

_READY_S = 20.0
_END_S = 7.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S, _OLD_ENOUGH_S = 0.1, 10.0, 10.0
_LOOK_S = 0.2

Read = Callable[[], tuple[Front, ...]]


@dataclass(slots=True)
class _Generation:
    """One supervisor."""

    pid: int
    ready: int
    """Becomes readable when it serves, or has ended."""
    since: float
    serves: bool = False


class Generations:
    """The generations of one gateway process."""

    def __init__(self, place: Place, read: Read) -> None:
        """`read` gives the fronts; it is called again at each reload."""
        self._place = place
        self._read = read
        self._sockets = Sockets()
        self._living: list[_Generation] = []
        self._signals: set[int] = set()
        self._pause_s = 0.0
        self._again_at = 0.0

    def run(self) -> int:
        """Serve until told to end; raises what is wrong with the first configuration."""
        if not self._read():
            sys.stderr.write("offswitch gateway: no gateway is declared, so nothing is served\n")
            return 0
        import_ours()
        _more_descriptors()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._signalled)
        self._begin()
        while not self._signals & {signal.SIGTERM, signal.SIGINT}:
            if signal.SIGHUP in self._signals:
                self._signals.discard(signal.SIGHUP)
                self._reload()
            self._look()
            self._reap()
            if not self._living and time.monotonic() >= self._again_at:
                self._begin()
        return self._end()

    def _signalled(self, number: int, _frame: object) -> None:
        self._signals.add(number)

    # --- a generation -------------------------------------------------------------

    def _kits(self) -> list[Kit]:
        fronts = self._read()
        kits = [prepare(self._place, front, self._sockets) for front in fronts]
        for kit in kits:
            complain(f"gateway {kit.front.name}", kit.problems)
        self._sockets.keep_only(fronts)
        return kits

    def _begin(self) -> None:
        kits = self._kits()
        reading, writing = os.pipe2(os.O_CLOEXEC)
        gc.freeze()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                os.close(reading)
                for each in self._living:
                    os.close(each.ready)
                status = self._supervise(kits, writing)
            except OffswitchError as error:
                sys.stderr.write(f"offswitch gateway: {error}\n")
            except BaseException as error:  # noqa: BLE001 - the process's edge: said, and it ends
                sys.stderr.write(f"offswitch gateway: {error!r}\n")
            finally:
                os._exit(status)
        os.close(writing)
        self._living.append(_Generation(pid, reading, time.monotonic()))

    def _supervise(self, kits: list[Kit], ready: int) -> int:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        settled, refused = settle(self._place)
        complain("gateway", refused)
        return Supervisor(settled, kits, ready).run()

    def _reload(self) -> None:
        """Start the next generation; the one before drains when that serves."""
        try:
            self._begin()
        except OffswitchError as error:
            sys.stderr.write(f"offswitch gateway: not reloaded, it goes on as it was: {error}\n")

    def _look(self) -> None:
        """Wait a little; a generation that serves relieves those before it."""
        waiting = {each.ready: each for each in self._living if not each.serves}
        ready, _, _ = select.select(list(waiting), [], [], _LOOK_S)
        for fd in ready:
            each = waiting[fd]
            each.serves = bool(os.read(fd, 1))
            if each.serves:
                before = self._living[: self._living.index(each)]
                for old in before:
                    _tell(old.pid, signal.SIGHUP)
        now = time.monotonic()
        for each in self._living[1:]:
            if not each.serves and now - each.since > _READY_S:
                sys.stderr.write("offswitch gateway: the new workers do not serve: ended again\n")
                _tell(each.pid, signal.SIGKILL)

    def _reap(self) -> None:
        for each in list(self._living):
            pid, status = os.waitpid(each.pid, os.WNOHANG)
            if not pid:
                continue
            self._living.remove(each)
            os.close(each.ready)
            young = time.monotonic() - each.since < _OLD_ENOUGH_S
            pause = min(max(self._pause_s * 2, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)
            self._pause_s = pause if young else 0.0
            self._again_at = time.monotonic() + self._pause_s
            if status:
                how = os.waitstatus_to_exitcode(status)
                sys.stderr.write(f"offswitch gateway: supervisor {pid} ended: {how}\n")

    def _end(self) -> int:
        """Have what is in flight end, then end."""
        for each in self._living:
            _tell(each.pid, signal.SIGTERM)
        deadline = time.monotonic() + _END_S
        while self._living and time.monotonic() < deadline:
            self._reap()
            time.sleep(0.01)
        for each in self._living:
            _tell(each.pid, signal.SIGKILL)
            os.waitpid(each.pid, 0)
        return 0


def _more_descriptors() -> None:
    """Let a worker hold two sockets for each of its clients, as far as that is granted."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _tell(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return  # it has ended, and is reaped in a moment
