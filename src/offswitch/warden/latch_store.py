"""Where the latch lives on when its warden does not.

Two files hold the same records, one a line: a checksum, then an order in canonical JSON.
The copy on tmpfs is written at once and survives every crash of ours; the file in the
state folder is written and synced by a thread, after every actuator was commanded, and
survives a reboot (SR-16). Both are preallocated, so that a full disk refuses nothing.
Loading takes the union of both. Whatever cannot be read means: everything is latched.

A stop is latched at once and durable later. A reset is the other way round: it goes to
the disk first and counts only when it is there, so no crash and no full disk releases.
"""

from __future__ import annotations

import mmap
import os
import queue
import threading
import zlib
from dataclasses import dataclass

from offswitch.clock import SystemClock, new_nonce
from offswitch.control.place import Place
from offswitch.errors import OffswitchError, Storage
from offswitch.model.latch import Latch
from offswitch.model.level import Level
from offswitch.model.order import Reset, Stop, from_wire
from offswitch.model.scope import EVERYTHING
from offswitch.model.wire import Canonical, canonical, parse

__all__ = ["LatchStore", "Loaded"]

_SIZE = 1 << 20
_REMEMBER_US = 30 * 24 * 3600 * 1_000_000
_RETRY_S = 0.5
_CLEARED_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was found at a start."""

    latch: Latch
    damage: str | None
    """What could not be read, for people; everything is latched then."""


def _line(body: dict[str, Canonical]) -> bytes:
    data = canonical(body)
    return b"%08x %s\n" % (zlib.crc32(data), data)


def _fold(latch: Latch, data: bytes, path: str) -> None:
    """Take the records of a file into `latch`; ValueError names the first that is not whole."""
    text, _nul, rest = data.partition(b"\0")
    if rest.strip(b"\0"):
        raise ValueError(f"{path}: records behind a hole")
    lines = text.split(b"\n")
    if lines.pop() != b"":
        raise ValueError(f"{path}: line {len(lines) + 1} is torn")
    for number, line in enumerate(lines, 1):
        checksum, _blank, body = line.partition(b" ")
        if checksum != b"%08x" % zlib.crc32(body):
            raise ValueError(f"{path}: line {number} is damaged")
        try:
            _take(latch, parse(body))
        except OffswitchError as error:
            raise ValueError(f"{path}: line {number}: {error.message}") from None


def _take(latch: Latch, body: Canonical) -> None:
    if isinstance(body, dict) and body.get("kind") == "cleared":
        digests, when = body.get("digests"), body.get("time_us")
        if isinstance(digests, list) and isinstance(when, int):
            latch.remember_cleared([str(digest) for digest in digests], when)
        return
    order = from_wire(body)
    if isinstance(order, Stop):
        latch.add(order)
    else:
        latch.clear(order)


def _records(latch: Latch) -> bytes:
    """Spell a latch as few records as it takes."""
    parts = [_line(live.stop.wire()) for live in latch]
    by_time: dict[int, list[Canonical]] = {}
    for digest, when in latch.cleared.items():
        by_time.setdefault(when, []).append(digest)
    for when, digests in sorted(by_time.items()):
        for start in range(0, len(digests), _CLEARED_AT_ONCE):
            some = digests[start : start + _CLEARED_AT_ONCE]
            parts.append(_line({"kind": "cleared", "digests": some, "time_us": when}))
    return b"".join(parts)


def _read(path: str) -> bytes | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    with os.fdopen(fd, "rb") as file:
        return file.read()


class _Log:
    """One preallocated file of records. Used by one thread."""

    __slots__ = ("_mapping", "_path", "_size", "fd", "used")

    def __init__(self, path: str, latch: Latch, *, mapped: bool) -> None:
        """Write `latch` to a fresh file at `path`; raises OSError if there is no room."""
        self._path = path
        self._mapping: mmap.mmap | None = None
        self.fd = -1
        self.used = 0
        self._size = _SIZE
        self._begin(latch, mapped=mapped)

    def _begin(self, latch: Latch, *, mapped: bool) -> None:
        records = _records(latch)
        size = max(_SIZE, 2 * len(records))
        temporary = self._path + ".new"
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(temporary, flags, 0o600)
        try:
            os.posix_fallocate(fd, 0, size)
            if os.pwrite(fd, records, 0) != len(records):
                raise OSError(28, "No space left on device")
            mapping = mmap.mmap(fd, size) if mapped else None
            if not mapped:
                os.fsync(fd)
            os.rename(temporary, self._path)
            if not mapped:
                _sync_folder(os.path.dirname(self._path))
        except OSError:
            os.close(fd)
            raise
        if self.fd >= 0:
            os.close(self.fd)
        self.fd, self._mapping, self._size, self.used = fd, mapping, size, len(records)

    def append(self, line: bytes, latch: Latch) -> None:
        """Add a record; `latch` (with the record in it) is written anew when the room is used up."""
        if self.used + len(line) > self._size:
            self._begin(latch, mapped=self._mapping is not None)
            return
        if self._mapping is not None:
            self._mapping[self.used : self.used + len(line)] = line
        elif os.pwrite(self.fd, line, self.used) != len(line):
            raise OSError(28, "No space left on device")
        self.used += len(line)


def _sync_folder(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class LatchStore:
    """Keeps the latch beyond this process. One owner; `sync` and `durable` never wait."""

    def __init__(self, place: Place) -> None:
        """Name the files; nothing is read or written until `load`."""
        self._place = place
        self._made = f"{place.latch}.made"
        self._memory: _Log | None = None
        self._copy = Latch()
        self._known: set[str] = set()
        self._pending: list[Stop | Reset] = []
        self._queue: queue.SimpleQueue[list[Stop | Reset]] = queue.SimpleQueue()
        self._durable: set[str] = set()
        self._arrived: queue.SimpleQueue[Reset] = queue.SimpleQueue()
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.problem: str | None = None
        """Why the file in the state folder is behind, for people; None: it is not."""

    # --- at the start -------------------------------------------------------------

    def load(self) -> Loaded:
        """Read both files, join them, and begin both anew with what they hold."""
        latch, damage = Latch(), []
        for path in (self._place.latch, self._place.live_latch):
            found = Latch()
            try:
                data = _read(path)
                if data is not None:
                    _fold(found, data, path)
                elif path == self._place.latch and os.path.lexists(self._made):
                    raise ValueError(f"{path} is gone")
            except (OSError, ValueError) as error:
                damage.append(str(error))
                self._keep_damaged(path)
            latch.join(found)
        if damage:
            latch.add(self._everything("; ".join(damage)))
        now = SystemClock().wall_us()
        latch.forget(now - _REMEMBER_US)
        self._begin(latch)
        return Loaded(latch, "; ".join(damage) or None)

    def _everything(self, why: str) -> Stop:
        """Make the stop that stands for a latch that cannot be read."""
        with open(f"{self._place.home}/installation", encoding="ascii") as file:
            name = file.read().strip()
        now = SystemClock().wall_us()
        return Stop(
            name, EVERYTHING, Level.KILL, "warden", "warden", new_nonce(), now, f"latch unreadable: {why}"
        )

    @staticmethod
    def _keep_damaged(path: str) -> None:
        try:
            os.rename(path, f"{path}.damaged-{SystemClock().wall_us()}")
        except OSError:
            return

    def _begin(self, latch: Latch) -> None:
        try:
            self._memory = _Log(self._place.live_latch, latch, mapped=True)
        except OSError as error:
            hint = "free space on the tmpfs of the run folder"
            raise Storage(f"{self._place.live_latch}: {error.strerror}", hint) from None
        self._copy.join(latch)
        self._known = {live.stop.digest for live in latch} | set(latch.cleared)
        replica = Latch()
        replica.join(latch)
        threading.Thread(target=self._write, args=(replica,), daemon=True, name="latch").start()

    # --- in the loop --------------------------------------------------------------

    def note(self, order: Stop | Reset) -> None:
        """Keep `order`: a stop at once in memory, and both in the next `sync`."""
        if isinstance(order, Stop):
            if order.digest in self._known:
                return
            self._known.add(order.digest)
            self._remember(order)
        self._pending.append(order)

    def _remember(self, order: Stop | Reset) -> None:
        if isinstance(order, Stop):
            self._copy.add(order)
        else:
            self._copy.clear(order)
        if self._memory is None:
            return
        try:
            self._memory.append(_line(order.wire()), self._copy)
        except OSError as error:
            self.problem = f"{self._place.live_latch}: {error.strerror}"

    def sync(self) -> None:
        """Hand what was noted to the disk's thread. Called after the last command of a stop."""
        if self._pending:
            self._queue.put(self._pending)
            self._pending = []

    def durable(self, digest: str) -> bool:
        """Tell whether the order of that digest would survive a power loss now."""
        return digest in self._durable

    def settle(self) -> None:
        """Take into the copy in memory what resets have become durable; called by the loop."""
        while True:
            try:
                reset = self._arrived.get_nowait()
            except queue.Empty:
                return
            self._known.update(reset.clears)
            self._remember(reset)

    def fileno(self) -> int:
        """Readable (an eventfd) when durability moved on."""
        return self._event

    # --- in the thread ------------------------------------------------------------

    def _write(self, replica: Latch) -> None:
        """Write what comes to the file in the state folder, for ever; only this thread waits."""
        log: _Log | None = None
        backlog: list[Stop | Reset] = []
        waiting = threading.Event()
        while True:
            try:
                if log is None:
                    log = _Log(self._place.latch, replica, mapped=False)
                    _mark(self._made)
                    self._done([live.stop for live in replica])
                if not backlog:
                    backlog = self._queue.get()
                for order in backlog:
                    if isinstance(order, Stop):
                        replica.add(order)
                    else:
                        replica.clear(order)
                for order in backlog:
                    log.append(_line(order.wire()), replica)
                os.fdatasync(log.fd)
            except OSError as error:
                # Nothing is known of what reached the disk: the file is begun anew.
                self.problem = f"{self._place.latch}: {error.strerror}"
                log = None
                waiting.wait(_RETRY_S)
            else:
                self._done(backlog)
                backlog = []

    def _done(self, orders: list[Stop | Reset] | list[Stop]) -> None:
        self.problem = None
        for order in orders:
            if isinstance(order, Reset):
                self._arrived.put(order)
            self._durable.add(order.digest)
        os.eventfd_write(self._event, 1)


def _mark(path: str) -> None:
    """Note that a latch file was made, so that its absence is known as a loss."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
