"""The recorder: the ledger's only writer, started with every warden.

    python -I -m offswitch.ledger.recorder --home H --run R --ring PATH --wake FD [--listen FD]

It waits until the recorder before it has drained the journal and let go of the lock. Then
it turns whatever has arrived, in the ring or on its socket, into one commit, and again:
while one commit waits for the disk the next one gathers (group commit). After each it pins
the head, tells the ring how far it got (the warden's *durable*), and answers the peers that
wait. The end of `--wake` means that the warden is gone: what the ring still holds is
entered, then it ends; a disk that refuses is tried for a minute more, and the ring keeps
the rest for the next recorder.

As root it makes its folders, its socket and its hold on the journal, and then becomes a
user of its own that owns the ledger and can do nothing but write there (SR-4, `ownership`).

Nothing is entered twice: the last number of the ring lies in the same row as the entries.
Nothing is missed silently: a number that is missing becomes an entry of kind `gap`. A disk
that is full, hung or locked is tried again with growing pauses while the ring holds; a
ledger that is not what was signed is never signed on, and needs a person.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import socket
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from offswitch.clock import Clock, SystemClock, boot_id
from offswitch.control.ids import User, user_of
from offswitch.control.journal import Ring
from offswitch.control.place import Place
from offswitch.control.shed import complain
from offswitch.errors import Corrupt, OffswitchError, Storage
from offswitch.ledger.drain import Drain
from offswitch.ledger.intake import Intake, Pending, admit_outside_cells, listen
from offswitch.ledger.opening import Opened, open_ledger, origin_of
from offswitch.ledger.ownership import become_recorder
from offswitch.ledger.poll import Poll
from offswitch.ledger.seal import SealedEntry, Stamp, seal
from offswitch.ledger.store import LedgerPaths, Position, lock
from offswitch.model.entry import EntryKind

__all__ = ["Recorder", "main"]

_LOCK_POLL_S = 0.02
_CATCH_UP = 4
_IDLE_S = 5.0
_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 5.0
_LAST_TRY_US = 60_000_000
_LAST_WORD = b'"what":"recorder ends"'


def _say(text: str) -> None:
    """Write a line for people; under a warden that is its log."""
    with suppress(OSError):
        sys.stderr.write(f"offswitch recorder: {text}\n")
        sys.stderr.flush()


@dataclass(frozen=True, slots=True)
class _Batch:
    """What goes into one commit. One that failed stays as it is until it is in the ledger."""

    entries: list[SealedEntry]
    waiting: list[tuple[int, Pending]]
    """Requests, each with the place of its first entry among `entries`."""


class Recorder:
    """One process, one ring, one ledger."""

    def __init__(self, place: Place, ring: Ring, wake: int, clock: Clock) -> None:
        """Record what `ring` holds for the installation at `place`; `wake` ends with its warden."""
        self._place = place
        self._paths = LedgerPaths(place.home)
        self._ring = ring
        self._wake = wake
        self._clock = clock
        self._boot = boot_id()
        self._installation = origin_of(place.home).removeprefix("offswitch/")
        self._poll = Poll()
        self._opened: Opened | None = None
        self._drain: Drain | None = None
        self._intake: Intake | None = None
        self._held: list[SealedEntry] = []
        self._batch: _Batch | None = None
        self._size = 0
        self._pause_s = 0.0
        self._again_us = 0
        self._ends_us: int | None = None
        self._hopeless = False
        self._said: dict[str, str] = {}
        os.set_blocking(wake, False)
        self._poll.add(wake, self._woken)

    def serve(self, listener: socket.socket, owners: frozenset[int]) -> None:
        """Take entries from peers on `listener`, too: those of `owners`."""
        admit = admit_outside_cells(owners, self._place.cgroup)
        self._intake = Intake(self._poll, listener, admit)

    def wait_for_lock(self) -> int | None:
        """Wait until no other recorder writes; None if the warden has gone meanwhile."""
        os.makedirs(self._paths.folder, mode=0o700, exist_ok=True)
        started = self._clock.mono_us()
        while (held := lock(self._paths.lock)) is None:
            self._poll.turn(_LOCK_POLL_S)
            drained = self._ring.durable_seq >= self._ring.next_seq - 1
            if self._too_late() or (self._ends_us is not None and drained):
                return None  # whoever holds the ledger has taken over this ring, too
            if self._clock.mono_us() - started > _IDLE_S * 1e6:
                text = "another recorder holds the ledger; the journal keeps what comes"
                self._once("lock", text)
        return held

    def run(self) -> int:
        """Record until the warden is gone and the ring is empty; return the exit code."""
        while True:
            more = self._record()
            if self._ends_us is not None and not more and not self._pause_s:
                return self._finish()
            if self._too_late():
                _say("gives up; the journal keeps what was not entered")
                return 1
            if self._poll.turn(0.0 if more else self._patience_s()):
                self._catch_up()

    def _catch_up(self) -> None:
        """Take in what came while something was taken in: it all fits into one commit."""
        for _ in range(_CATCH_UP):
            if not self._poll.turn(0.0):
                return

    # --- one turn -----------------------------------------------------------------

    def _woken(self) -> None:
        try:
            ended = not os.read(self._wake, 1 << 16)
        except BlockingIOError:
            return
        if ended:
            self._poll.drop(self._wake)
            self._ends_us = self._clock.mono_us()

    def _too_late(self) -> bool:
        """Tell whether the warden is gone and trying again will not help."""
        if self._ends_us is None:
            return False
        return self._hopeless or self._clock.mono_us() > self._ends_us + _LAST_TRY_US

    def _patience_s(self) -> float:
        if not self._pause_s:
            return _IDLE_S
        return max(0.0, (self._again_us - self._clock.mono_us()) / 1e6)

    # --- recording ----------------------------------------------------------------

    def _record(self) -> bool:
        """Commit what has arrived; tell whether to come again at once."""
        if self._pause_s and self._clock.mono_us() < self._again_us:
            return False
        try:
            opened = self._opened or self._open()
            drain = self._drain or self._start(opened)
            self._batch = self._batch or self._gather(drain)
            if self._batch.entries:
                position = Position(self._ring.id, drain.last)
                self._size = opened.store.commit(self._batch.entries, position).stop
                self._acknowledge(self._batch, opened)
        except OffswitchError as error:
            self._failed(error)
            return False
        self._batch = None
        drain.done()
        opened.store.tidy()
        self._pause_s = 0.0
        self._said.pop("disk", None)
        return self._ring.next_seq - 1 > drain.last

    def _gather(self, drain: Drain) -> _Batch:
        """Take what the ring holds, and every request that waits."""
        entries, self._held = self._held + drain.take(), []
        waiting: list[tuple[int, Pending]] = []
        pending = self._intake.pending if self._intake is not None else []
        for request in pending:
            waiting.append((len(entries), request))
            entries += request.entries
        pending.clear()
        return _Batch(entries, waiting)

    def _acknowledge(self, batch: _Batch, opened: Opened) -> None:
        """Everything in `batch` is durable: pin the head, and tell the peers that wait."""
        try:
            opened.pin.write_head(opened.store.note)
            self._said.pop("pin", None)
        except Storage as error:
            self._once("pin", f"the head is not pinned: {error}")
        first = self._size - len(batch.entries)
        for offset, request in batch.waiting:
            if self._intake is not None:
                self._intake.acknowledge(request, first + offset)

    def _failed(self, error: OffswitchError) -> None:
        """Nothing was entered: the batch is kept as it is and tried again, and peers wait."""
        if self._opened is not None:
            self._opened.store.close()
            self._opened = None
        self._once("disk", str(error))
        self._hopeless = isinstance(error, Corrupt)  # a person is needed
        self._pause_s = min(max(2 * self._pause_s, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)
        self._again_us = self._clock.mono_us() + int(self._pause_s * 1e6)

    def _open(self) -> Opened:
        opened = self._opened = open_ledger(self._place.home)
        if opened.new:
            _say(f"a new ledger; keep its verifying key elsewhere: {opened.vkey}")
        if opened.trouble:
            _say(opened.trouble)
        if self._batch is not None and opened.store.size > self._size:
            # The commit that was said to have failed did not: nothing is entered twice.
            self._size = opened.store.size
            self._acknowledge(self._batch, opened)
            self._batch = _Batch([], [])
        self._size = opened.store.size
        return opened

    def _start(self, opened: Opened) -> Drain:
        """Find the place in the journal, and say that a recorder begins."""
        store = opened.store
        last = store.position_in(self._ring.id)
        self._drain = drain = Drain(self._ring, last, self._stamp)
        self._held = []
        before = store.position.ring
        if before not in {b"", self._ring.id} and _LAST_WORD not in (store.last_body() or b""):
            why = "the journal before this one ended without a last word; it may have held more"
            self._hold(EntryKind.GAP, what="journal", why=why)
        self._hold(
            EntryKind.RESTART,
            process="recorder",
            what="recorder begins",
            channel="process",
            why="there is a journal to be entered",
            prior="no recorder",
            state="records",
            sqlite=sqlite3.sqlite_version,
            python=platform.python_version(),
            vkey=opened.vkey,
        )
        return drain

    def _finish(self) -> int:
        """Say the last word, and close."""
        self._hold(
            EntryKind.RESTART,
            process="recorder",
            what="recorder ends",
            channel="process",
            why="whoever it records for has hung up",
            prior="records",
            state="no recorder",
        )
        self._record()
        if self._batch is not None:
            _say("the last word was not entered")
        if self._intake is not None:
            self._intake.close()
        if self._opened is not None:
            self._opened.store.close()
        return 0

    def _hold(self, kind: EntryKind, **fields: object) -> None:
        self._held.append(
            seal(self._stamp().public(kind, **fields), {"by": "recorder"}, "recorder")
        )

    def _stamp(self) -> Stamp:
        clock = self._clock
        return Stamp(self._installation, self._boot, clock.wall_us(), clock.mono_us())

    def _once(self, about: str, text: str) -> None:
        """Say something, and not again before it has been well meanwhile."""
        if self._said.get(about) != text:
            self._said[about] = text
            _say(text)


def main(argv: Sequence[str] | None = None) -> int:
    """Be the recorder of one warden."""
    parser = argparse.ArgumentParser(prog="offswitch.ledger.recorder", allow_abbrev=False)
    for option in ("--home", "--run", "--ring"):
        parser.add_argument(option, required=True)
    parser.add_argument("--wake", type=int, required=True)
    parser.add_argument("--listen", type=int, help="a listening socket; else one is made")
    options = parser.parse_args(argv)
    for harmless in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(harmless, signal.SIG_IGN)
    os.umask(0o077)
    place = Place(options.home, options.run)
    try:
        ring = Ring.open(options.ring)
        watch = user_of("watch")
        ours = (watch, user_of("station"))
        owners = frozenset({0, os.geteuid(), *(user.uid for user in ours if user is not None)})
        listener = _listener(place, options.listen, watch)
        complain("recorder", become_recorder(place.home))
        recorder = Recorder(place, ring, options.wake, SystemClock())
        if recorder.wait_for_lock() is None:
            return 0
        if listener is not None:
            recorder.serve(listener, owners)
        return recorder.run()
    except OffswitchError as error:
        _say(str(error))
        return 1


def _listener(place: Place, given: int | None, watch: User | None) -> socket.socket | None:
    """Listen for watch and station; None where that cannot be: the journal is still entered.

    One that waits for the recorder before it to let go listens already: who asks waits, too.
    """
    if given is not None:
        listener = socket.socket(fileno=given)
        listener.setblocking(False)
        return listener
    try:
        return listen(place.recorder_socket, None if watch is None else watch.uid)
    except OffswitchError as error:
        _say(f"no socket for watch and station: {error}")
        return None


if __name__ == "__main__":
    sys.exit(main())
