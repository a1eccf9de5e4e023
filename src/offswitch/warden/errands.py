"""What touches a disk beside the latch: done by one thread, in order, and never waited for.

A disk that hangs (a frozen file system, a dead network share) must not hold up the loop,
which renews the lease and obeys stops. So whatever must be written, read or even looked for
in `home` while the warden serves is an errand: the thread does it, the loop hears how it
went, and after a while that it has not answered. What comes back later than that is thrown
away. Names of users have a thread of their own: their service may hang while the disk is
well. Where more waits than could ever be done in time, the answer comes at once.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from offswitch.errors import OffswitchError
from offswitch.warden.loop import Loop, as_urgent_as_the_loop

__all__ = ["Errands", "tried"]

T = TypeVar("T")
_PATIENCE_S = 1.0
_MOST_SAID = 64
_MOST_WAITING = 1024


def tried(work: Callable[[], T]) -> Callable[[], T | OffswitchError]:
    """Have what `work` refuses handed to `then`, as what it gives is."""

    def trying() -> T | OffswitchError:
        try:
            return work()
        except OffswitchError as error:
            return error

    return trying


class Errands:
    """One thread for what may hang, behind the loop's back."""

    def __init__(self, loop: Loop, whom: str = "the disk") -> None:
        """Start the thread now: when the machine has no room for one it would be too late.

        `whom` it asks is named when there is no answer.
        """
        self._loop = loop
        self._whom = whom
        self._given = threading.Condition()
        """Protects the next three; never held while anything waits for a disk."""
        self._jobs: deque[tuple[Callable[[], Any], Callable[[Any], None]]] = deque()
        self._resting = False
        self._serving = False
        self._back: deque[tuple[Callable[[Any], None], Any]] = deque()
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        loop.watch(self._event, self._heard)
        self._thread = self._begin()

    def _begin(self) -> threading.Thread:
        self._serving = True
        thread = threading.Thread(target=self._serve, name="errands", daemon=True)
        thread.start()
        return thread

    def send(
        self,
        work: Callable[[], T],
        then: Callable[[T | OSError], None],
        late: Callable[[T], None] = lambda _value: None,
        patience_s: float = _PATIENCE_S,
    ) -> None:
        """Have `work` done; `then` gets what it gives or raises (OSError), or a time-out.

        `then` is called once, in the loop. What `work` gives after the time-out goes to `late`.
        """
        open_ = [True]

        def over() -> None:
            if open_:
                open_.clear()
                then(TimeoutError(errno.ETIMEDOUT, f"{self._whom} does not answer"))

        def back(value: T | OSError) -> None:
            if open_:
                open_.clear()
                timer.cancel()
                then(value)
            elif not isinstance(value, OSError):
                late(value)

        if len(self._jobs) >= _MOST_WAITING:
            self._loop.later(0, over)
            return
        timer = self._loop.later(patience_s, over)
        with self._given:
            self._jobs.append((work, back))
            self._given.notify()

    def rest(self, *, on: bool) -> bool:
        """Let the thread end when it has nothing to do; whether nothing is left to hear of.

        While it rests nothing may be sent but what may be lost.
        """
        with self._given:
            self._resting = on
            self._given.notify()
            if not self._serving and (self._jobs or not on):
                self._thread = self._begin()
        return not (self._thread.is_alive() or self._back or self._jobs)

    def say(self, text: str) -> None:
        """Write to stderr, which may be a file on that disk; too much of it is dropped."""
        if len(self._jobs) < _MOST_SAID:
            self.send(lambda: _say(text), lambda _outcome: None)

    def _heard(self, _events: int) -> None:
        os.eventfd_read(self._event)
        while self._back:
            back, value = self._back.popleft()
            back(value)

    def _serve(self) -> None:
        as_urgent_as_the_loop()
        while True:
            with self._given:
                self._given.wait_for(lambda: self._jobs or self._resting)
                if not self._jobs:
                    self._serving = False
                    return
                work, back = self._jobs.popleft()
            try:
                value = work()
            except OSError as error:
                value = error
            except Exception as error:  # noqa: BLE001 - the thread outlives a defect in a job
                value = OSError(errno.EIO, f"{type(error).__name__}: {error}")
            self._back.append((back, value))
            os.eventfd_write(self._event, 1)


def _say(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
