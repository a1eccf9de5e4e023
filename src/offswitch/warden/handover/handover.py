"""The hand-over: the warden becomes its next code, in place (SR-23).

    pre-flight   a process of the new code says that it can; a no changes nothing
    hold         what takes a while waits for the next code; stops and looks are served on
    rest         nothing half done is left, no thread, nothing that may wait for a disk
    exec         the same process, its children and peers, in the new code

So nobody loses their parent or their peer, and the keeper sees no loss. From the last stop
that this code obeys to the first of the next one some tenths of a second go by; what is
pressed then waits in the sockets, which stay open, and the keeper, which is asked at the same
time, does it after its five milliseconds, as whenever the warden is slow. The lease is renewed
last of all: should the next code not come up within it, that is a loss of the warden.

An exec waits for every other thread, and one that waits for a disk cannot be ended. So the
threads end first, and where one does not, there is no hand-over, and why is said.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable

from offswitch.errors import Busy, Internal, OffswitchError, Storage, Timeout, Unsupported
from offswitch.warden.children import launch
from offswitch.warden.door.server import Connection
from offswitch.warden.handover.parts import Parts, gather
from offswitch.warden.handover.preflight import verdict
from offswitch.warden.loop import Timer
from offswitch.warden.supervisor import Supervisor

__all__ = ["DEFERRED", "HandOver"]

DEFERRED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Signals that wait from the exec until the next code listens to them."""
_CHECK_S = 60.0
_HALF_DONE_S = 20.0
_DISK_S = 2.0
_POLL_S = 0.005
_AGAIN = "nothing has changed; try again in a while"


class HandOver:
    """Renews one warden. `ask` again and again: one at a time, and all are told."""

    def __init__(
        self,
        parts: Parts,
        supervisor: Supervisor,
        options: list[str],
        let_go: Callable[[], None],
        hold_on: Callable[[], None],
    ) -> None:
        """`options` start the next code; `let_go` comes just before, `hold_on` if it fails."""
        self._parts = parts
        self._core = parts.core
        self._supervisor = supervisor
        self._options = options
        self._let_go = let_go
        self._hold_on = hold_on
        self._asked: list[Connection] = []
        self._busy = False
        self._version = ""

    def ask(self, asker: Connection | None) -> None:
        """Begin, or join the one that is under way; `asker` is answered by the next code."""
        if asker is not None:
            self._asked.append(asker)
        if self._busy:
            return
        self._busy = True
        self._supervisor.reloading()
        if self._core.page.sealed_fd >= 0 and any(row.cell for row in self._core.table):
            why = "without root the page of what runs cannot be handed over: its guards would stop"
            self._refuse(Unsupported(why, "renew the warden while nothing runs, or as root"))
            return
        try:
            self._check()
        except OSError as error:
            self._refuse(Busy(f"the new code cannot be started: {error.strerror}", _AGAIN))

    # --- the pre-flight -----------------------------------------------------------

    def _check(self) -> None:
        core = self._core
        fd = gather(self._parts, []).seal()
        reader, writer = os.pipe2(os.O_CLOEXEC)
        try:
            args = [*self._options, "--check", str(fd)]
            pid = launch("offswitch.warden", args, [fd], writer)
        except OSError:
            os.close(reader)
            raise
        finally:
            os.close(writer)
            os.close(fd)
        said = bytearray()
        late = core.loop.later(_CHECK_S, lambda: self._too_slow(pid, reader))

        def heard(_events: int) -> None:
            data = os.read(reader, 65536)
            said.extend(data)
            if not data:
                core.loop.forget(reader)
                os.close(reader)
                self._checked(late, bytes(said))

        core.loop.watch(reader, heard)
        core.children.expect(pid, lambda _status: None)

    def _too_slow(self, pid: int, reader: int) -> None:
        """End it; it may wait for a disk, and we do not."""
        self._core.loop.forget(reader)
        os.close(reader)
        os.kill(pid, signal.SIGKILL)
        self._refuse(Timeout(f"the new code said nothing for {_CHECK_S:g} s", _AGAIN))

    def _checked(self, late: Timer, said: bytes) -> None:
        if late.cancelled:
            return
        late.cancel()
        try:
            self._version = verdict(said)
        except OffswitchError as error:
            self._refuse(error)
            return
        self._parts.server.hold(on=True)
        now = time.monotonic()
        self._wait(now + _HALF_DONE_S, now + _DISK_S)

    # --- coming to rest -----------------------------------------------------------

    def _wait(self, half_done_until: float, disk_until: float) -> None:
        """Wait until nothing is left that could not be handed over, but not for ever."""
        core, now = self._core, time.monotonic()
        parts = self._parts
        half_done = parts.starter.busy or parts.resetter.busy or parts.adopter.busy
        half_done = half_done or parts.operations.busy
        if half_done and now > half_done_until:
            self._refuse(Busy(f"{half_done} is under way and does not end", _AGAIN))
            return
        waits_for = "" if half_done else self._awake()
        if not half_done and not waits_for:
            self._go()
            return
        if half_done:
            disk_until = now + _DISK_S
        elif now > disk_until:
            why = f"{waits_for} does not answer, and the next code would have to wait for it"
            self._refuse(Storage(why, "see: offswitch doctor; nothing has changed"))
            return
        core.loop.later(_POLL_S, lambda: self._wait(half_done_until, disk_until))

    def _awake(self) -> str:
        """Have every thread end, the latch's last; say for what one still waits."""
        core = self._core
        resting = {
            "the disk": core.errands.rest(on=True),
            "the name service": core.names.rest(on=True),
            "a descriptor that somebody handed in": self._parts.server.closer.rest(on=True),
        }
        waiting = next((name for name, rests in resting.items() if not rests), "")
        return waiting or ("" if core.store.rest() else "the latch's disk")

    # --- the exec -----------------------------------------------------------------

    def _go(self) -> None:
        core = self._core
        passed = gather(self._parts, self._asked)
        kept: list[int] = []
        try:
            fd = passed.seal()
            kept = [*passed.fds(), fd]
            for each in kept:
                os.set_inheritable(each, True)
            command = [sys.executable, "-I", "-m", "offswitch.warden", *self._options]
            command += ["--handed-over", str(fd)]
            core.recording.note(
                "restart",
                {"by": self._by()},
                process="warden",
                what="hands over",
                channel="socket" if self._asked else "signal",
                why="its code is renewed",
                prior="serves",
                state="its next code comes up",
                version=self._version,
            )
            core.recording.sum_up()
            signal.pthread_sigmask(signal.SIG_BLOCK, DEFERRED)
            core.page.renew()
            self._let_go()
            os.execve(sys.executable, command, os.environ)  # noqa: S606 - a shell is not wanted
        except OSError as error:
            for each in kept:
                os.set_inheritable(each, False)
            os.close(kept[-1])
            self._hold_on()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, DEFERRED)
            self._refuse(Internal(f"the new code cannot be run: {error.strerror}", _AGAIN))

    def _by(self) -> str:
        return f"uid:{self._asked[0].peer.uid}" if self._asked else f"uid:{os.geteuid()}"

    def _refuse(self, error: OffswitchError) -> None:
        """Go on as before, and say why to all who asked, and to everybody."""
        core = self._core
        self._busy = False
        core.store.go_on()
        core.errands.rest(on=False)
        core.names.rest(on=False)
        self._parts.server.closer.rest(on=False)
        self._parts.server.hold(on=False)
        self._supervisor.ready()
        core.notes["handover"] = f"not renewed, and goes on as it is: {error.message}"
        core.recording.note(
            "refused",
            {"by": self._by()},
            what="handover",
            channel="socket" if self._asked else "signal",
            error=error.kind,
            why=error.message,
            prior="serves",
            state="serves",
        )
        asked, self._asked = self._asked, []
        for asker in asked:
            asker.error(error)
