"""Where eyes are born: a process with their rights and nothing to do but to fork (SR-4).

    watch, as root:  imports everything ─► forks the nursery ─► becomes a user without rights
    nursery:         watch's user, keeps what sensors need, never runs a program
    an eye:          forked there, keeps what its own sensors need, watch's child

So the loop itself, which speaks with the warden, holds no right at all and may run no program;
and an eye needs no code that its user could read, where root's project lies below a closed
folder. An eye is forked twice, so that it becomes the child of watch, which is its subreaper.
If the nursery is lost watch ends, and whoever keeps it alive starts both again.
"""

from __future__ import annotations

import array
import ctypes
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Collection
from contextlib import suppress
from typing import NoReturn, Protocol

from offswitch.control.shed import complain
from offswitch.watch import eye
from offswitch.watch.confine import confine
from offswitch.watch.readings import writer
from offswitch.watch.readings.writer import WRITER
from offswitch.watch.sensors.contract import Need

__all__ = ["Child", "Nursery", "launched"]

_PR_SET_NAME, _PR_SET_CHILD_SUBREAPER = 15, 36
_PATIENCE_S = 2.0
_ADOPTED_S = 2.0
_LONGEST_NEEDS = 256
_STDIN = 0


class Child(Protocol):
    """A process that was started: `subprocess.Popen`, or one of the nursery's."""

    pid: int

    def kill(self) -> None:
        """Kill it."""
        ...

    def poll(self) -> int | None:
        """Give its exit code; None: it lives."""
        ...

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; raises `subprocess.TimeoutExpired`."""
        ...


def launched(link: int, needs: str, imports: Collection[str] = ()) -> Child:
    """Start an eye, or the writer of readings, as a program; for whoever has no nursery.

    It imports `imports` first, which a nursery's eyes have from watch.
    """
    module = "offswitch.watch.readings.writer" if needs == WRITER else "offswitch.watch.eye"
    command = [sys.executable, "-I", "-m", module]
    command += ["--link", str(link), "--needs", needs]
    command += ["--imports", ",".join(imports)] if imports else []
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, pass_fds=(link,), start_new_session=True
    )


class _Born:
    """An eye that the nursery bore and that is our child now."""

    __slots__ = ("_code", "_pidfd", "pid")

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._pidfd = os.pidfd_open(pid)
        self._code: int | None = None

    def kill(self) -> None:
        if self._code is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)  # it is not reaped: the pid is nobody else's

    def poll(self) -> int | None:
        if self._code is None and select.select([self._pidfd], [], [], 0)[0]:
            with suppress(ChildProcessError):  # not ours yet: asked again
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                if pid:
                    self._code = os.waitstatus_to_exitcode(status)
                    os.close(self._pidfd)
        return self._code

    def wait(self, timeout: float | None = None) -> int:
        end = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if end is not None and time.monotonic() > end:
                raise subprocess.TimeoutExpired("an eye", timeout or 0)
            time.sleep(0.002)
        return code


class Nursery:
    """Watch's end of the link to the nursery."""

    def __init__(self, link: socket.socket, pid: int) -> None:
        """Hold the link, and the nursery's pid."""
        link.settimeout(_PATIENCE_S)
        self._link = link
        self.pid = pid

    @classmethod
    def start(cls, needs: Collection[Need]) -> Nursery:
        """Fork it, with the rights that `needs` takes; we adopt what it bears."""
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        watch = os.getpid()
        pid = os.fork()
        if pid == 0:
            ours.close()
            _serve(theirs, needs, watch)
        theirs.close()
        return cls(ours, pid)

    def bear(self, link: int, needs: str) -> Child:
        """Have an eye born that serves `link`; OSError where none can be."""
        rights = array.array("i", [link])
        self._link.sendmsg([needs.encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        said = self._link.recv(64)
        if not said.isdigit():
            raise OSError(0, "the nursery bears nothing" if said else "the nursery is lost")
        return _Born(int(said))

    def lost(self) -> bool:
        """Tell whether it has ended; then watch must be started again."""
        return os.waitpid(self.pid, os.WNOHANG)[0] != 0

    def close(self) -> None:
        """End it."""
        self._link.close()
        with suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


def _named(name: bytes) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_NAME, name, 0, 0, 0)


def _serve(link: socket.socket, needs: Collection[Need], watch: int) -> NoReturn:
    """Be the nursery: never returns, and never runs a line of watch's clean-up."""
    code = 1
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # it ends with watch's end of the link
        _named(b"offswitch-eyes")
        complain("nursery", confine(needs))
        while True:
            asked, fds, _flags, _from = socket.recv_fds(link, _LONGEST_NEEDS, 1)
            if not asked:
                break
            for fd in fds:
                _bear(link, fd, asked.decode(), watch)
                os.close(fd)
        code = 0
    finally:
        os._exit(code)


def _bear(link: socket.socket, fd: int, needs: str, watch: int) -> None:
    """Fork an eye that is an orphan at once; tell its pid, or nothing that is one."""
    try:
        between = os.fork()
    except OSError:
        link.send(b"-")
        return
    if between == 0:
        try:
            pid = os.fork()
            if pid == 0:
                _be_eye(link, fd, needs, watch)
            link.send(str(pid).encode())
        except OSError:
            link.send(b"-")
        finally:
            os._exit(0)
    os.waitpid(between, 0)


def _be_eye(nursery: socket.socket, fd: int, needs: str, watch: int) -> NoReturn:
    code = 1
    try:
        nursery.close()
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        _named(b"offswitch-past" if needs == WRITER else b"offswitch-eye")
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, _STDIN)
        end = time.monotonic() + _ADOPTED_S
        while os.getppid() != watch and time.monotonic() < end:
            time.sleep(0.001)  # it dies with its parent, and that must be watch
        code = writer.serve(fd) if needs == WRITER else eye.serve(fd, needs)
    finally:
        os._exit(code)
