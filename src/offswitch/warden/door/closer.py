"""Closing what strangers handed in, where it holds nobody up.

`close` may wait: for the peer of a TCP socket that lingers (SO_LINGER, non-blocking or
not), or for a FUSE file system that answers when it likes. Whoever may connect could so
hold up the loop, and with it the lease, for hours. So descriptors that came over a socket,
and sockets in which such may still lie unread, are closed in threads. They are few: who
fills them all with what never ends keeps what it handed in counted against its user.
"""

from __future__ import annotations

import os
import threading
from collections import Counter, deque
from collections.abc import Iterable

from offswitch.warden.loop import as_urgent_as_the_loop

__all__ = ["Closer"]

_THREADS = 8
_IDLE_S = 5.0


class Closer:
    """Closes descriptors in threads of its own. Never waits, never fails."""

    __slots__ = ("_changed", "_idle", "_left", "_patience_s", "_threads", "_waiting")

    def __init__(self) -> None:
        """Start with nothing to close, and no thread."""
        self._changed = threading.Condition()
        """Protects all below."""
        self._waiting: deque[tuple[int, int]] = deque()
        self._left: Counter[int] = Counter()
        self._threads = 0
        self._idle = 0
        self._patience_s = _IDLE_S

    def close(self, fds: Iterable[int], uid: int) -> None:
        """Close `fds`, which user `uid` handed in; they are nobody else's from now on."""
        given = [(fd, uid) for fd in fds]
        if not given:
            return
        with self._changed:
            self._waiting.extend(given)
            self._left[uid] += len(given)
            wanted = len(self._waiting) - self._idle
            self._changed.notify(len(given))
            for _ in range(min(wanted, _THREADS - self._threads)):
                try:
                    threading.Thread(target=self._serve, name="closer", daemon=True).start()
                except RuntimeError:
                    return  # no thread to be had: the next call tries again
                self._threads += 1

    def rest(self, *, on: bool) -> bool:
        """Let threads end as soon as they have nothing to do; whether there is nothing left."""
        with self._changed:
            self._patience_s = 0.0 if on else _IDLE_S
            self._changed.notify_all()
            return not self._left and not self._threads

    def left(self, uid: int) -> int:
        """Count what user `uid` handed in and what is not closed yet."""
        with self._changed:
            return self._left[uid]

    def _serve(self) -> None:
        as_urgent_as_the_loop()
        while True:
            with self._changed:
                self._idle += 1
                self._changed.wait_for(
                    lambda: self._waiting or not self._patience_s, self._patience_s
                )
                self._idle -= 1
                if not self._waiting:
                    self._threads -= 1
                    return
                fd, uid = self._waiting.popleft()
            try:
                os.close(fd)
            except OSError:
                pass  # closed all the same: that is what Linux promises
            with self._changed:
                self._left[uid] -= 1
                if not self._left[uid]:
                    del self._left[uid]
