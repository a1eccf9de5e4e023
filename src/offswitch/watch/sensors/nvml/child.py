"""A process apart that asks what may hang, and dies of its own clock when it does.

    eye ── one byte: "look" ──► child: alarm on, ask the library, alarm off
        ◄── one line of JSON ──

A driver's library may never return (FACTS: NVML), so it is called in a forked child. An eye may
signal nobody; therefore the child sets a timer of the kernel's before each call, with the default
action, which is death, and it dies with the eye as well. Which way it fails: no answer in time, an
answer that is none, or an end are a failure of the source; the next child is begun after a pause
that doubles. One that hangs in the kernel itself dies when that returns; three such at once are
the most there ever are.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

__all__ = ["Child", "Look"]

_PR_SET_PDEATHSIG = 1
_LONGEST_ANSWER = 1 << 20
_CHUNK = 1 << 16
_FIRST_OTHER = 3
_LAST_OTHER = 4096

Look = Callable[[], dict[str, Any]]
"""Asks once; what it gives is sent as JSON."""


class Child:
    """One such process."""

    def __init__(self, make: Callable[[], Look], limit_s: float) -> None:
        """Fork it; there `make` gives what looks. Each look may take `limit_s`. OSError."""
        asked, self._ask = os.pipe()
        self.answers, told = os.pipe()
        eye = os.getpid()
        try:
            self.pid = os.fork()
        except OSError:
            for fd in (asked, self._ask, self.answers, told):
                os.close(fd)
            raise
        if self.pid == 0:
            _serve(make, asked, told, limit_s, eye)
        os.close(asked)
        os.close(told)
        for fd in (self._ask, self.answers):
            os.set_blocking(fd, False)
        self._heard = b""

    def ask(self) -> None:
        """Have it look; OSError if it is gone."""
        os.write(self._ask, b"?")

    def answer(self) -> dict[str, Any] | None:
        """Give what it found, if that is there; ValueError for nonsense, EOFError for its end."""
        while select.select([self.answers], [], [], 0)[0]:
            data = os.read(self.answers, _CHUNK)
            if not data:
                raise EOFError
            self._heard += data
            if len(self._heard) > _LONGEST_ANSWER:
                raise ValueError("it answers without end")
            line, newline, rest = self._heard.partition(b"\n")
            if newline:
                self._heard = rest
                said = json.loads(line)
                if not isinstance(said, dict):
                    raise ValueError("it answers nonsense")
                return said
        return None

    def close(self) -> None:
        """Let go of it: without us it ends, or its timer ends it."""
        for fd in (self._ask, self.answers):
            if fd >= 0:
                os.close(fd)
        self._ask = self.answers = -1

    def gone(self) -> bool:
        """Tell whether it has ended; reaps it."""
        with suppress(ChildProcessError):
            return os.waitpid(self.pid, os.WNOHANG)[0] != 0
        return True


def _serve(make: Callable[[], Look], asked: int, told: int, limit_s: float, eye: int) -> NoReturn:
    """Be the child: never returns, and never runs a line of the eye's clean-up."""
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
        _close_others({asked, told})
        if os.getppid() != eye:
            os._exit(1)
        signal.setitimer(signal.ITIMER_REAL, limit_s)
        look = make()
        while True:
            signal.setitimer(signal.ITIMER_REAL, 0)
            if not os.read(asked, 1):
                break
            signal.setitimer(signal.ITIMER_REAL, limit_s)
            data = json.dumps(look()).encode() + b"\n"
            while data:
                data = data[os.write(told, data) :]
    finally:
        os._exit(0)


def _close_others(kept: set[int]) -> None:
    """Close what the eye has open: its link must end with it."""
    for fd in range(_FIRST_OTHER, _LAST_OTHER):
        if fd not in kept:
            with suppress(OSError):
                os.close(fd)
