"""From the journal to entries: each record once, each missing number said.

Records carry numbers without gaps, so what is lost (the ring was full) or damaged shows as
a jump, and becomes an entry of kind `gap` in its place. A record whose number is in the
ledger already was entered before a crash and is passed over.
"""

from __future__ import annotations

from collections.abc import Callable

from offswitch.control.journal import Ring
from offswitch.ledger.seal import SealedEntry, Stamp, seal, seal_record
from offswitch.model.entry import EntryKind

__all__ = ["Drain"]

_BATCH = 2048


class Drain:
    """The consumer's side of one ring."""

    __slots__ = ("_garbled", "_ring", "_stamp", "last")

    def __init__(self, ring: Ring, last: int, stamp: Callable[[], Stamp]) -> None:
        """Go on after the record `last`, the last one of this ring that is in the ledger."""
        self._ring = ring
        self._stamp = stamp
        self._garbled = 0
        self.last = last
        """The last number that was taken, or is known to be lost."""

    def take(self) -> list[SealedEntry]:
        """Give the entries of what has arrived since, in order; empty: nothing has."""
        appended = self._ring.next_seq - 1
        records = self._ring.read(_BATCH)
        entries = []
        for seq, payload in records:
            if seq <= self.last:
                continue
            if seq > self.last + 1:
                entries.append(self._gap(seq - 1))
            entries.append(seal_record(payload, self._stamp(), "journal"))
            self.last = seq
        if len(records) < _BATCH and appended > self.last:
            entries.append(self._gap(appended))
            self.last = appended
        return entries

    def done(self) -> None:
        """What was taken is in the ledger: tell the producer, and give the room back."""
        self._ring.set_durable(self.last)
        self._ring.release(self.last)

    def _gap(self, upto: int) -> SealedEntry:
        damaged = self._ring.garbled > self._garbled
        self._garbled = self._ring.garbled
        public = self._stamp().public(
            EntryKind.GAP,
            what="journal",
            why="records were damaged" if damaged else "the ring was full",
            lost=upto - self.last,
            first=self.last + 1,
            last=upto,
        )
        return seal(public, {}, "recorder")
