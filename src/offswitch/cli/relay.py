"""The relay between a caller and the target that a warden runs for it.

    caller's stdin ──────────────────────────► target      (or by a terminal of its own)
    caller's stdout, stderr ◄── pumps ◄─────── target
    signals to us ──► warden ────────────────► target
    target's end, a stop ──► warden ─────────► exit code, the order's digest

The connection to the warden is the target's lifeline to its caller: when it closes, the
target is hung up. The other way round it is not: should the warden be lost, the target's
keeper has it, the output goes on, signals go by the kernel where our rights allow it, and
the exit code is unknown (125), unless the next warden says that it was stopped.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from offswitch.cli.pump import CappedLog, Pump
from offswitch.cli.terminal import SUSPEND, Terminal
from offswitch.control import frames
from offswitch.control.client import call
from offswitch.control.place import Place
from offswitch.errors import OffswitchError

__all__ = ["REFUSED", "Outcome", "Relay", "say"]

REFUSED = 125
"""The exit code of every refusal and failure of ours."""
_STDOUT = 1
_GRACE_S = 0.2
_LOOK_S = 0.25
_RETURN_S = 5.0
_NOT_FORWARDED = {
    *(signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, signal.SIGPIPE, signal.SIGURG),
    *(signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP),
    *(signal.SIGABRT, signal.SIGSYS, signal.SIGXFSZ, signal.SIGTTIN, signal.SIGTTOU),
}


def say(text: str) -> None:
    """Tell the caller something on stderr; a closed stderr is nobody's loss."""
    try:
        sys.stderr.write(f"offswitch: {text}\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        pass


@dataclass(slots=True)
class Outcome:
    """What is known so far of how the target ended."""

    over: bool = False
    code: int | None = None
    signal: int | None = None
    order: str | None = None
    orders: list[str] = field(default_factory=list)
    """Stops that hit it while we relayed."""

    def exit_code(self) -> int:
        """Give the code that a shell would see: the target's own, or 128+n after a signal."""
        if self.code is not None:
            return self.code
        if self.signal is not None:
            return 128 + self.signal
        return REFUSED


class Relay:
    """Relays one target from its birth to its end. Used once."""

    def __init__(self, place: Place, sock: socket.socket, born: dict[str, Any]) -> None:
        """Take over the connection on which `born` came."""
        self._place = place
        self._sock: socket.socket | None = sock
        self._decoder = frames.Decoder()
        self._target = str(born["target"])
        self._leader = int(born["pid"])
        try:
            self._pidfd = os.pidfd_open(self._leader)
        except OSError:  # it has ended already, or lives where we cannot see it
            self._pidfd = -1
        self._outcome = Outcome()
        self._terminal: Terminal | None = None
        self._typed = bytearray()
        self._pumps: list[Pump] = []
        self._log: CappedLog | None = None
        self._log_fd = -1
        self._done = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._over_since: float | None = None

    # --- what is relayed ----------------------------------------------------------

    def keep_log(self, fd: int) -> None:
        """Tee everything that is pumped from now on into the log at `fd`."""
        self._log_fd = fd
        self._log = CappedLog(fd)

    def pump(self, source: int, sink: int) -> None:
        """Copy the stream `source` to `sink` (-1: to the log only)."""
        self._pumps.append(Pump(source, sink, self._log, self._done))

    def use(self, terminal: Terminal) -> None:
        """Relay keys and size of a terminal; its output is pumped like any stream."""
        self._terminal = terminal

    # --- the loop -----------------------------------------------------------------

    def run(self) -> int:
        """Relay until the target has ended; return the exit code."""
        signals, restore = _listen_to_signals()
        try:
            if self._terminal is not None:
                self._terminal.enter()
            for pump in self._pumps:
                pump.start()
            while not self._finished():
                self._turn(signals)
        finally:
            if self._terminal is not None:
                self._terminal.leave()
            restore()
        return self._end()

    def _finished(self) -> bool:
        """Whether the target has ended and its output is relayed, or others hold its output."""
        if not self._outcome.over:
            return False
        if not any(pump.is_alive() for pump in self._pumps):
            return True
        if self._over_since is None:
            self._over_since = time.monotonic()
        return time.monotonic() - self._over_since > _GRACE_S

    def _turn(self, signals: int) -> None:
        watching = select.poll()
        watching.register(signals, select.POLLIN)
        watching.register(self._done, select.POLLIN)
        if self._sock is not None:
            watching.register(self._sock, select.POLLIN)
        elif self._pidfd >= 0 and not self._outcome.over:
            watching.register(self._pidfd, select.POLLIN)
        terminal = self._terminal
        if terminal is not None and terminal.master >= 0:
            if terminal.raw and len(self._typed) < frames.MAX_FRAME:
                watching.register(terminal.fd, select.POLLIN)
            if self._typed:
                watching.register(terminal.master, select.POLLOUT)
        ready = {fd for fd, _events in watching.poll(self._patience_ms())}
        if signals in ready:
            for number in os.read(signals, 256):
                self._signal(number)
        if self._done in ready:
            os.eventfd_read(self._done)
        if self._sock is not None and self._sock.fileno() in ready:
            self._listen()
        over = self._outcome.over  # an end is told of once, though others still hold its output
        if self._sock is None and not over and (self._pidfd < 0 or self._pidfd in ready):
            self._lost_and_over()
        if terminal is not None and terminal.fd in ready:
            self._keys(terminal)
        if terminal is not None and terminal.master in ready:
            self._type(terminal)
        if terminal is not None and not terminal.raw:
            terminal.enter()

    def _patience_ms(self) -> int | None:
        if self._outcome.over:
            return int(_GRACE_S * 1000 / 4)
        if self._terminal is not None and not self._terminal.raw:
            return int(_LOOK_S * 1000)  # nobody tells a background job that it is in front now
        return None

    # --- the warden ---------------------------------------------------------------

    def _listen(self) -> None:
        if self._sock is None:
            return
        try:
            data = self._sock.recv(65536)
            messages = self._decoder.feed(data)
        except (OSError, OffswitchError):
            data, messages = b"", []
        for message in messages:
            self.hear(message)
        if not data:
            self._sock.close()
            self._sock = None
            if not self._outcome.over:
                say(f"the warden is gone; {self._target} is in its keeper's hands")

    def hear(self, message: dict[str, Any]) -> None:
        """Take in an event: a stop that hit the target, or its end."""
        outcome = self._outcome
        if message.get("event") == "stopped":
            order = str(message.get("order"))
            outcome.orders.append(order)
            self._aside(f"{self._target} was stopped ({message.get('level')}), order {order}")
        elif message.get("event") == "exited":
            code, signum, order_of = (message.get(key) for key in ("code", "signal", "order"))
            outcome.code = code if isinstance(code, int) else None
            outcome.signal = signum if isinstance(signum, int) else None
            outcome.order = order_of if isinstance(order_of, str) else None
            outcome.over = True

    def _aside(self, text: str) -> None:
        """Say something while the terminal may be raw: such a line needs a return of its own."""
        raw = self._terminal is not None and self._terminal.raw
        say(f"{text}\r" if raw else text)

    def _lost_and_over(self) -> None:
        """The target ended while no warden could tell us how: ask the next one."""
        outcome = self._outcome
        outcome.over = True
        deadline = time.monotonic() + _RETURN_S
        while time.monotonic() < deadline:
            try:
                status = call(self._place, {"op": "status", "scope": self._target}, 2.0)
            except OffswitchError:
                time.sleep(_GRACE_S)
                continue
            for row in status.get("targets", []):
                if row.get("target") == self._target and row.get("latched") and row.get("stops"):
                    outcome.signal, outcome.order = int(signal.SIGKILL), str(row["stops"][0])
                    return
            break
        say(f"{self._target} has ended; how is not known, since the warden was lost meanwhile")

    # --- signals and keys ---------------------------------------------------------

    def _signal(self, number: int) -> None:
        if number == signal.SIGWINCH:
            if self._terminal is not None:
                self._terminal.resize()
        elif number == signal.SIGTSTP:
            self._suspend()
        elif self._outcome.over:
            self._over_since = 0.0  # nobody is there to take it: so it ends us
        else:
            self._send(number)

    def _send(self, number: int) -> None:
        if self._sock is not None:
            try:
                frames.send(self._sock, {"op": "signal", "signal": int(number)})
                return
            except OSError:
                pass
        if self._pidfd >= 0:
            try:
                signal.pidfd_send_signal(self._pidfd, number)
            except OSError as error:
                self._aside(f"signal {number} cannot be passed on: {error.strerror}")

    def _suspend(self) -> None:
        """Stop the target's first process group and ourselves, as ^Z does; go on together."""
        self._send(signal.SIGSTOP)
        if self._terminal is not None:
            self._terminal.leave()
        os.kill(os.getpid(), signal.SIGSTOP)
        if self._terminal is not None:
            self._terminal.enter()
            self._terminal.resize()
        self._send(signal.SIGCONT)

    def _keys(self, terminal: Terminal) -> None:
        try:
            keys = os.read(terminal.fd, 65536)
        except OSError:
            keys = b""
        if not keys:  # the person's terminal is gone
            self._send(signal.SIGHUP)
            terminal.leave()
            self._terminal = None
            terminal.hang_up()
            return
        if terminal.wants_suspend(keys, self._leader):
            before, _suspend, after = keys.partition(SUSPEND)
            self._typed += before
            self._type(terminal)
            self._suspend()
            keys = after
        self._typed += keys
        self._type(terminal)

    def _type(self, terminal: Terminal) -> None:
        """Hand on what was typed, as far as the target's terminal takes it now."""
        while self._typed:
            try:
                written = os.write(terminal.master, self._typed)
            except BlockingIOError:
                return
            except OSError:
                self._typed.clear()
                return
            del self._typed[:written]

    # --- the end ------------------------------------------------------------------

    def _end(self) -> int:
        """Leave the streams to a child if others still hold them; tell of the order."""
        outcome = self._outcome
        left = [pump for pump in self._pumps if pump.is_alive()]
        if left:
            self._leave_behind(left)
        elif self._log is not None:
            self._log.close()
        if self._sock is not None:
            self._sock.close()
        if self._terminal is not None:
            if outcome.code is None:
                self._terminal.tidy(_STDOUT)
            self._terminal.hang_up()
        if outcome.order is not None and outcome.order not in outcome.orders:
            say(f"{self._target} is stopped and latched by order {outcome.order}")
        return outcome.exit_code()

    def _leave_behind(self, left: list[Pump]) -> None:
        """Go on relaying in a child what the target left running, as a shell's would go on.

        The pumps are halted between two chunks, so that no byte is lost or doubled; one that
        cannot be (its reader is stalled) is waited for.
        """
        for pump in left:
            while not pump.halt(_LOOK_S):
                pass
        if self._log is not None:
            self._log.close()
        open_still = [pump for pump in left if not pump.ended]
        if not open_still:
            return
        if os.fork() != 0:
            return
        status = 0
        try:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)
            log = CappedLog(self._log_fd) if self._log is not None else None
            again = [Pump(pump.source, pump.sink, log, self._done) for pump in open_still]
            for pump in again:
                pump.start()
            for pump in again:
                pump.join()
            if log is not None:
                log.close()
        except BaseException:  # noqa: BLE001 - the edge of a process
            status = 1
        finally:
            os._exit(status)


def _listen_to_signals() -> tuple[int, Any]:
    """Have every signal that can be passed on arrive as a byte; what was ignored stays ignored."""
    out, into = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    before: dict[int, Any] = {}

    def note(_number: int, _frame: FrameType | None) -> None:
        """Do nothing: the byte in the pipe is what counts."""

    for number in signal.valid_signals() - _NOT_FORWARDED:
        try:
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, note)
        except (OSError, ValueError):
            continue  # two real-time signals belong to the C library
    wakeup = signal.set_wakeup_fd(into, warn_on_full_buffer=False)

    def restore() -> None:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        os.close(out)
        os.close(into)

    return out, restore
