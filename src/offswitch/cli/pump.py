"""One stream of a target: read here, copied there unchanged, teed into a capped log.

Each stream has a thread of its own that blocks where the stream blocks, so that a slow
reader slows down the target and nothing else, and the order of bytes cannot change. When
whoever reads our output is gone, the target's pipe is closed too: it learns of it by
SIGPIPE, as it would have without us. The log is fed by another thread through a bounded
queue, since a disk may be full or hang: then the log has a gap, and says so; the stream
has none.
"""

from __future__ import annotations

import os
import select
import threading
from collections import deque

__all__ = ["LOG_LIMIT", "CappedLog", "Pump"]

LOG_LIMIT = 8 << 20
"""A log that has grown to this is begun again at zero."""
_QUEUED = 4 << 20
_CHUNK = 65536


class CappedLog:
    """The log of a target's output. Never blocks and never fails its caller."""

    def __init__(self, fd: int, limit: int = LOG_LIMIT) -> None:
        """Write to `fd`, opened for appending; it stays open."""
        self._fd = fd
        self._limit = limit
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._missing = 0
        self._ends = False
        self._news = threading.Condition()
        """Protects all of the above but the descriptor, which only the thread uses."""
        self._thread = threading.Thread(target=self._write_all, name="log", daemon=True)
        self._thread.start()

    def put(self, data: bytes) -> None:
        """Have `data` logged soon, or counted as missing if the disk is too far behind."""
        with self._news:
            if self._queued + len(data) > _QUEUED:
                self._missing += len(data)
                return
            self._queue.append(data)
            self._queued += len(data)
            self._news.notify()

    def close(self, patience_s: float = 1.0) -> None:
        """Finish what is queued, as far as the disk lets us in that time."""
        with self._news:
            self._ends = True
            self._news.notify()
        self._thread.join(patience_s)

    def _write_all(self) -> None:
        while True:
            with self._news:
                while not self._queue and not self._ends:
                    self._news.wait()
                if not self._queue:
                    break
                data = b"".join(self._queue)
                self._queue.clear()
                missing, self._missing = self._missing, 0
            if missing:
                self._write(b"\n[offswitch: %d bytes of output are missing here]\n" % missing)
            lost = len(data) - self._write(data)
            with self._news:
                self._queued -= len(data)
                self._missing += lost

    def _write(self, data: bytes) -> int:
        """Append what fits; return how much of it was written."""
        written = 0
        try:
            while written < len(data):
                if os.fstat(self._fd).st_size >= self._limit:
                    os.ftruncate(self._fd, 0)
                room = max(self._limit - os.fstat(self._fd).st_size, 1)
                written += os.write(self._fd, data[written : written + room])
        except OSError:
            pass  # a full disk makes a gap in the log, never in the stream
        return written


class Pump(threading.Thread):
    """Copies `source` to `sink` until one of them ends."""

    def __init__(self, source: int, sink: int, log: CappedLog | None, done: int) -> None:
        """`sink` -1: nowhere but the log; `done`: an eventfd told when this one has ended."""
        super().__init__(name=f"pump-{source}", daemon=True)
        self.source = source
        self.sink = sink
        self.ended = False
        """Whether the stream itself ended (and not only this thread)."""
        self._log = log
        self._done = done
        self._halt = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def run(self) -> None:
        """Copy. At the end the source is closed, so that a writer to it hears of it."""
        self.ended = self._copy()
        if self.ended:
            os.close(self.source)
        os.eventfd_write(self._done, 1)

    def halt(self, patience_s: float) -> bool:
        """Stop copying between two chunks; return whether it has stopped."""
        os.eventfd_write(self._halt, 1)
        self.join(patience_s)
        return not self.is_alive()

    def _copy(self) -> bool:
        """Return True when the stream has ended, False when copying was halted."""
        watching = select.poll()
        watching.register(self.source, select.POLLIN)
        watching.register(self._halt, select.POLLIN)
        while True:
            ready = dict(watching.poll())
            if self._halt in ready:
                return False
            try:
                data = os.read(self.source, _CHUNK)
            except BlockingIOError:
                continue
            except OSError:
                return True  # a terminal that is hung up reads as EIO
            if not data:
                return True
            if self._log is not None:
                self._log.put(data)
            if self.sink >= 0 and not _write_all(self.sink, data):
                return True


def _write_all(fd: int, data: bytes) -> bool:
    """Write all of it, waiting as long as it takes; False when nobody will ever read it."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:  # somebody else made our caller's stdout non-blocking
            waiting = select.poll()
            waiting.register(fd, select.POLLOUT)
            waiting.poll()
        except OSError:
            return False
    return True
