"""The warden's loop: descriptors and timers in one thread, nothing else.

One pass takes what is ready, then what is due. A callback that raises is recorded and
never ends the loop: a warden that dies of a bad message stops nobody. The lease is
renewed by a timer of this very loop, so a fresh lease proves that orders are served
(SR-21).
"""

from __future__ import annotations

import functools
import heapq
import itertools
import os
import select
import threading
import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["Loop", "Timer", "as_urgent_as_the_loop"]

EPOLLIN = select.EPOLLIN
T = TypeVar("T")


def as_urgent_as_the_loop() -> None:
    """Give the calling thread the loop's priority.

    A thread that is put aside while it holds the interpreter's lock would hold up the stop
    that comes next.
    """
    policy = os.sched_getscheduler(os.getpid()) & ~os.SCHED_RESET_ON_FORK
    if policy in {os.SCHED_FIFO, os.SCHED_RR}:
        try:
            os.sched_setscheduler(0, policy, os.sched_getparam(os.getpid()))
        except OSError:
            pass  # not granted: then the loop has no priority to lose


class Timer:
    """One thing that is due at a time; `cancel` makes it do nothing."""

    __slots__ = ("action", "cancelled")

    def __init__(self, action: Callable[[], None]) -> None:
        """Hold what is to be done."""
        self.action = action
        self.cancelled = False

    def cancel(self) -> None:
        """Never do it."""
        self.cancelled = True


class Loop:
    """Waits for descriptors and timers; calls back, one at a time."""

    __slots__ = ("_count", "_epoll", "_on_error", "_ready", "_running", "_timers", "after")

    def __init__(self, on_error: Callable[[BaseException], None]) -> None:
        """`on_error` hears of every exception that a callback let out."""
        self._epoll = select.epoll()
        self._ready: dict[int, Callable[[int], None]] = {}
        self._timers: list[tuple[int, int, Timer]] = []
        self._count = itertools.count()
        self._on_error = on_error
        self._running = False
        self.after: Callable[[], None] | None = None
        """Asked at the end of every pass, when what was ready and due is done; takes no time."""

    def watch(self, fd: int, callback: Callable[[int], None], events: int = EPOLLIN) -> None:
        """Call `callback(events)` when `fd` is ready; replaces an earlier watch of it."""
        if fd in self._ready:
            self._epoll.modify(fd, events)
        else:
            self._epoll.register(fd, events)
        self._ready[fd] = callback

    def forget(self, fd: int) -> None:
        """Watch `fd` no longer; harmless if it was not watched."""
        if self._ready.pop(fd, None) is not None:
            try:
                self._epoll.unregister(fd)
            except (OSError, ValueError):
                pass  # closed already: the kernel forgot it by itself

    def later(self, seconds: float, action: Callable[[], None]) -> Timer:
        """Do `action` once, `seconds` from now (CLOCK_MONOTONIC)."""
        timer = Timer(action)
        due = time.monotonic_ns() + int(seconds * 1e9)
        heapq.heappush(self._timers, (due, next(self._count), timer))
        return timer

    def every(self, seconds: float, action: Callable[[], None]) -> None:
        """Do `action` again and again, the first time now; one that raises goes on all the same."""

        def again() -> None:
            self.later(seconds, again)
            action()

        again()

    def in_thread(self, work: Callable[[], T], then: Callable[[T], None]) -> None:
        """Do `work` in a thread and hand what it gives to `then`, back in this loop.

        `work` does not raise: what it raises all the same is recorded, and `then` not called.
        """
        reader, writer = os.pipe2(os.O_CLOEXEC)
        result: list[T] = []
        raised: list[BaseException] = []

        def labour() -> None:
            try:
                result.append(work())
            except BaseException as error:  # noqa: BLE001 - handed to the loop, which records it
                raised.append(error)
            finally:
                os.close(writer)

        def done(_events: int) -> None:
            self.forget(reader)
            os.close(reader)
            for error in raised:
                self._on_error(error)
            if result:
                then(result[0])

        try:
            threading.Thread(target=labour, daemon=True).start()
        except RuntimeError:
            os.close(reader)
            os.close(writer)
            raise
        self.watch(reader, done, EPOLLIN | select.EPOLLHUP)

    def defect(self, error: BaseException) -> None:
        """Hear of an exception that somebody below has caught, as of one that got here."""
        self._on_error(error)

    def stop(self) -> None:
        """Leave `run` after this pass."""
        self._running = False

    def run(self) -> None:
        """Serve until `stop`."""
        self._running = True
        while self._running:
            self.turn(self._patience())

    def _patience(self) -> float:
        if not self._timers:
            return -1
        return max(0.0, (self._timers[0][0] - time.monotonic_ns()) / 1e9)

    def turn(self, patience_s: float) -> None:
        """Do one pass, waiting at most `patience_s` seconds (-1: until something happens)."""
        for fd, events in self._epoll.poll(patience_s):
            callback = self._ready.get(fd)
            if callback is not None:
                self._guarded(functools.partial(callback, events))
        now = time.monotonic_ns()
        while self._timers and self._timers[0][0] <= now:
            _due, _order, timer = heapq.heappop(self._timers)
            if not timer.cancelled:
                self._guarded(timer.action)
        if self.after is not None:
            self._guarded(self.after)

    def _guarded(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:  # noqa: BLE001 - the supervised edge: recorded, and the loop goes on
            self._on_error(error)
