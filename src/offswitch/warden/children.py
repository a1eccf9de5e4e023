"""Starting our own processes, and reaping all that end.

Each of ours is `python -I -m offswitch.…` in a session of its own (SR-1: isolated, so
that nothing planted in a working directory is ever imported), with its errors in
`warden.log`. There is one reaper for everything: SIGCHLD wakes the loop, which asks for
every child that ended and tells whoever waits for that pid. On the lower rung orphans of
the targets arrive here too, and are reaped like any other.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence

from offswitch.warden.loop import Loop

__all__ = ["Children", "launch"]

_STRANGERS = 1024
_GATHER_S = 0.002
"""A cell that falls ends a hundred children in a moment: they are reaped together."""


def launch(module: str, args: Sequence[str], fds: Sequence[int], log: str | int) -> int:
    """Start `python -I -m MODULE ARGS` with `fds` kept at their numbers; return its pid.

    `log` takes its errors. A warden that serves gives a descriptor: even to open a file may
    hang, where its disk does.
    """
    argv = [sys.executable, "-I", "-m", module, *args]
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    out = os.dup(log) if isinstance(log, int) else os.open(log, flags, 0o600)
    try:
        actions = [(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, null, 1)]
        actions += [(os.POSIX_SPAWN_DUP2, out, 2)]
        # A descriptor duplicated onto itself by posix_spawn loses its close-on-exec flag.
        actions += [(os.POSIX_SPAWN_DUP2, fd, fd) for fd in fds]
        env = {key: os.environ[key] for key in ("LANG", "LC_ALL", "PATH") if key in os.environ}
        env["HOME"] = "/"  # without one, Python asks the name service for it, which may hang
        return os.posix_spawn(
            sys.executable,
            argv,
            env,
            file_actions=actions,
            setsid=True,
            setsigmask=[],
            setsigdef=[signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGCHLD],
        )
    finally:
        os.close(null)
        os.close(out)


class Children:
    """The one reaper."""

    __slots__ = ("_loop", "_read", "_unclaimed", "_waiting", "_write", "log")

    def __init__(self, loop: Loop, log: str | int) -> None:
        """Hear SIGCHLD through `loop`; `log` takes the errors of those that are ours."""
        self.log = log
        self._loop = loop
        self._waiting: dict[int, Callable[[int], None]] = {}
        self._unclaimed: dict[int, int] = {}
        self._read, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        loop.watch(self._read, self._woken)

    def expect(self, pid: int, callback: Callable[[int], None]) -> None:
        """Call `callback(status)` (a wait status) when `pid` has ended, or at once if it has."""
        if pid in self._unclaimed:
            callback(self._unclaimed.pop(pid))
            return
        self._waiting[pid] = callback

    def catch_up(self) -> None:
        """Reap what ended before we listened: children of our code before (SR-23)."""
        self._loop.later(0, self._reap)

    def _woken(self, _events: int) -> None:
        self._loop.forget(self._read)
        self._loop.later(_GATHER_S, self._reap)

    def _reap(self) -> None:
        self._loop.watch(self._read, self._woken)
        try:
            while os.read(self._read, 4096):
                pass
        except BlockingIOError:
            pass
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            callback = self._waiting.pop(pid, None)
            if callback is not None:
                callback(status)
            else:
                self._unclaimed[pid] = status
                while len(self._unclaimed) > _STRANGERS:  # strangers' orphans: nobody will ask
                    del self._unclaimed[next(iter(self._unclaimed))]
