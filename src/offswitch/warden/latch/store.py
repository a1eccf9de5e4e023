"""Where the latch survives: on tmpfs at once, in `home` as soon as a disk can (SR-16).

    note ─► a line in the copy on tmpfs: survives every crash of ours, waits for nothing
    sync ─► a thread appends to `home/latch` and syncs it: survives a reboot
    load ─► the stops of both, less what the file says is cleared

Which way it fails: a stop counts wherever it is found; a reset counts only once it is in
the file, so one that was lost is a needless stop and never a lost one. What cannot be read
means that everything is latched, by a stop of `/` that names the file and the line and is
reset like any other. A line that was cut off is forgiven only if the copy has it whole.

Only the thread touches the disk, so a hung one hangs nothing else. Before the file's room
is used up it is written anew beside the old one and put in its place; if there is no room
for that, the old one stays, `problem` says so, and the latch is `cramped`: fewer stops that
stand for many are wanted (`stand`), and these fit where the old ones lay. Cleared digests
are forgotten after thirty days (SR-17).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from offswitch.clock import Clock, SystemClock, new_nonce
from offswitch.control.place import Place
from offswitch.errors import OffswitchError
from offswitch.model.latch import Latch
from offswitch.model.level import Level
from offswitch.model.merge import Merged
from offswitch.model.order import Order, Reset, Stop, from_wire
from offswitch.model.scope import EVERYTHING
from offswitch.model.wire import canonical
from offswitch.warden.latch import records
from offswitch.warden.latch.disk import LatchDisk
from offswitch.warden.latch.records import Preallocated, Read

__all__ = ["LatchStore", "Loaded", "glance"]

_MEMORY_SIZE = 2 << 20
_MEMORY_LOW = _MEMORY_SIZE // 4
_REMEMBER_US = 30 * 86_400 * 1_000_000
_FIRST_FILE_S = 5.0
_CHANNEL = "latch"
_NOBODY = "0" * 32


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was latched when the warden came up."""

    latch: Latch
    damage: str | None
    """Why everything is latched: which file, which line; None: all could be read."""


def glance(place: Place) -> Loaded:
    """Give what `load` would, to whoever looks while no warden runs; nothing is written."""
    home, memory = records.read_file(place.latch), records.read_file(place.live_latch)
    latch = Latch()
    damage = _damage(place, home, memory)
    damage = _take_in(latch, memory, place.live_latch, resets=False) or damage
    damage = _take_in(latch, home, place.latch, resets=True) or damage
    return Loaded(latch, damage)


class LatchStore:
    """The latch's two copies. One owner, the warden's loop; only `load` reads a disk."""

    def __init__(self, place: Place, clock: Clock | None = None) -> None:
        """Serve the latch of `place`; `load` comes first."""
        self._place = place
        self._clock = clock or SystemClock()
        self._latch = Latch()
        """What the file will hold once the thread has done all that it was handed."""
        self._held: dict[str, bytes] = {}
        """The stops that the copy on tmpfs holds, or should, in their canonical spelling."""
        self._cleared_by: dict[str, str] = {}
        """Stop → the reset that names it: once that is durable, the copy may forget the stop."""
        self._memory: Preallocated | None = None
        self._queue: list[Order] = []
        self._stood_for: list[str] = []
        """The stops that others stand for since the last time that some were merged."""
        self._trouble: str | None = None
        self._disk = LatchDisk(place.latch)

    # --- coming up ----------------------------------------------------------------

    def load(self) -> Loaded:
        """Give what is latched, and make both copies whole again."""
        home = records.read_file(self._place.latch)
        memory = records.read_file(self._place.live_latch)
        latch = self._latch
        damage = _damage(self._place, home, memory)
        damage = _take_in(latch, memory, self._place.live_latch, resets=False) or damage
        damage = _take_in(latch, home, self._place.latch, resets=True) or damage
        durable = _digests(home)
        if damage is not None:
            self._keep_aside(home)
            self._latch_everything(damage)
        self._held = {live.stop.digest: canonical(live.stop.wire()) for live in latch}
        self._disk.begin(durable)
        if home is None:
            # First of all, or a crash in between would look as if the file had been lost.
            self._disk.rewrite(self._bodies(), list(self._held))
            self._disk.wait(_FIRST_FILE_S)
            self._rewrite_memory()
        else:
            self._rewrite_memory()
            latch.forget(self._clock.wall_us() - _REMEMBER_US)
            self._disk.rewrite(self._bodies(), list(self._held))
        given = Latch()
        given.join(latch)
        return Loaded(given, damage)

    def _keep_aside(self, home: Read | None) -> None:
        """Keep a damaged file for whoever wants to know what happened to it.

        Evidence would be good to have; the latch does not wait for it.
        """
        if home is None:
            return
        aside = f"{self._place.latch}.damaged-{self._clock.wall_us()}"
        try:
            os.link(self._place.latch, aside, follow_symlinks=False)
        except OSError:  # a folder, or a file system without links
            with suppress(OSError):
                os.rename(self._place.latch, aside)

    def _latch_everything(self, damage: str) -> None:
        """Latch `/`, unless the last start did, and nobody has reset it since."""
        if any(live.stop.channel == _CHANNEL for live in self._latch):
            return
        why = f"the latch cannot be trusted, so everything is latched: {damage}"
        now = self._clock.wall_us()
        by = "warden"
        stop = Stop(_NOBODY, EVERYTHING, Level.KILL, by, _CHANNEL, new_nonce(), now, why)
        self._latch.add(stop)

    # --- while serving ------------------------------------------------------------

    def note(self, order: Order) -> None:
        """Keep a stop where no crash of ours can reach it. Takes microseconds, never fails.

        A reset is only queued for the disk, since it counts only once it is there. An order
        that is known already changes nothing.
        """
        digest = order.digest
        if isinstance(order, Reset):
            self._queue.append(order)
            self._cleared_by.update((name, digest) for name in order.clears)
            return
        if digest in self._held or not self._latch.fresh(order):
            return
        self._queue.append(order)
        self._hold(order)

    def _hold(self, stop: Stop) -> None:
        body = self._held[stop.digest] = canonical(stop.wire())
        if self._memory is None or not self._memory.append(body):
            self._rewrite_memory()

    def stand(self, made: Iterable[Merged]) -> None:
        """Let each of `made` stand for others, in both copies; those are durable by it.

        Until the copies are written anew they hold both, which stops more and never less.
        """
        self.sync()
        before, self._stood_for = self._stood_for, []
        for one in made:
            for stop in one.instead_of:
                self._held.pop(stop.digest, None)
                self._stood_for.append(stop.digest)
            self._latch.stand(one)
            self._hold(one.stop)
        self._rewrite_memory()
        self._disk.forget(before)
        self._disk.rewrite(self._bodies(), [*self._held, *self._stood_for])

    def sync(self) -> None:
        """Hand what was noted to the disk's thread; returns at once."""
        if not self._queue:
            return
        orders, self._queue = self._queue, []
        bodies: list[bytes] = []
        for order in orders:
            bodies.append(self._held.get(order.digest) or canonical(order.wire()))
            if isinstance(order, Reset):
                self._latch.clear(order)
            else:
                self._latch.add(order)
        digests = [order.digest for order in orders]
        if not self._disk.append(bodies, digests):
            self._disk.rewrite(self._bodies(), digests)
        if self._memory is None or self._memory.left < _MEMORY_LOW:
            self._rewrite_memory()

    def rest(self) -> bool:
        """Have the disk's thread end, for a hand-over; whether it has. Stops are on tmpfs."""
        return self._disk.rest()

    def go_on(self) -> None:
        """There is no hand-over after all: all that is latched goes to the disk again."""
        self._disk.go_on()
        self._disk.rewrite(self._bodies(), list(self._held))

    def durable(self, digest: str) -> bool:
        """Tell whether the order of that digest is in the file, synced."""
        return self._disk.durable(digest)

    def fileno(self) -> int:
        """Give a descriptor that is readable when durability moved on."""
        return self._disk.fileno()

    @property
    def cramped(self) -> bool:
        """Whether stops wait to be durable, or to survive us, for which there is no room."""
        if self._memory is not None and self._trouble and self._memory.left < _MEMORY_LOW:
            return True
        return self._disk.cramped and not all(map(self._disk.durable, self._held))

    @property
    def problem(self) -> str | None:
        """Why stops are latched and not yet durable; None: all is well."""
        return self._disk.problem or self._trouble

    def close(self) -> None:
        """End the thread once it has written what it was handed."""
        self._disk.close()
        if self._memory is not None:
            self._memory.close()
            self._memory = None

    # --- writing anew -------------------------------------------------------------

    def _bodies(self) -> list[bytes]:
        """Give the whole latch as lines: its stops, then what was cleared."""
        bodies = [
            self._held.get(live.stop.digest) or canonical(live.stop.wire()) for live in self._latch
        ]
        for digest, when in self._latch.cleared.items():
            bodies.append(_cleared(digest, when))
        return bodies

    def _rewrite_memory(self) -> None:
        """Write the copy on tmpfs anew, without the stops whose reset is durable."""
        for name, reset in list(self._cleared_by.items()):
            if self._disk.durable(reset):
                self._held.pop(name, None)
                del self._cleared_by[name]
                self._disk.forget([name])
        size = _MEMORY_SIZE
        needed = 2 * sum(len(body) + 32 for body in self._held.values())
        while size < needed + _MEMORY_LOW:
            size *= 2
        try:
            fresh = Preallocated(self._place.live_latch, size, self._held.values())
        except OSError as error:
            self._trouble = f"{self._place.live_latch}: {error.strerror}"
            return
        if self._memory is not None:
            self._memory.close()
        self._memory, self._trouble = fresh, None


def _cleared(digest: str, when_us: int) -> bytes:
    """Spell the line of a cleared stop; there may be ten thousand of them."""
    if digest.isalnum() and digest.isascii():
        return b'{"digest":"%s","kind":"cleared","time_us":%d}' % (digest.encode(), when_us)
    return canonical({"kind": "cleared", "digest": digest, "time_us": when_us})


def _damage(place: Place, home: Read | None, memory: Read | None) -> str | None:
    """Say what cannot be trusted; None: every line of ours was read."""
    if memory is not None and memory.damage:
        return f"{place.live_latch}: {memory.damage}"
    if home is None:
        used_before = memory is not None or os.path.exists(f"{place.home}/ledger/ledger.db")
        return f"{place.latch} is gone" if used_before else None
    if home.damage:
        return f"{place.latch}: {home.damage}"
    if home.torn:
        bodies = memory.bodies if memory is not None else []
        number = home.number + 1
        if not any(records.line(number, body).startswith(home.torn) for body in bodies):
            return f"{place.latch}: its last line was cut off"
    return None


def _take_in(latch: Latch, read: Read | None, path: str, *, resets: bool) -> str | None:
    """Join what a file holds to `latch`; say what of it is no order of ours."""
    trouble = None
    for body in read.bodies if read is not None else ():
        try:
            if isinstance(body, dict) and body.get("kind") == "cleared":
                when = body["time_us"]
                if resets and isinstance(when, int):
                    latch.remember_cleared([str(body["digest"])], when)
                continue
            order = from_wire(body)
        except (OffswitchError, KeyError) as error:
            trouble = trouble or f"{path}: {error}"
            continue
        if isinstance(order, Stop):
            latch.add(order)
        elif resets:
            latch.clear(order)
    return trouble


def _digests(read: Read | None) -> list[str]:
    """Name the stops in a file: they are durable as they are."""
    found = []
    for body in read.bodies if read is not None else ():
        with suppress(OffswitchError):
            order = from_wire(body)
            found.append(order.digest)
    return found
