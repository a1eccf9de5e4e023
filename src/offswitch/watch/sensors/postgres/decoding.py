"""Takes the messages of one stream in, transaction by transaction.

What the server sends is bounded by looks, not by transactions: a large one is taken in over
several, and told at its commit. Rows as they were wait here for the evidence, the last ten
thousand or as many as fit into memory; a transaction that is larger has lost its oldest.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import islice

from offswitch.clock import Clock
from offswitch.watch.evidence import KEPT, KEPT_BYTES
from offswitch.watch.rows.batches import BatchFacts
from offswitch.watch.rows.shadow import Change
from offswitch.watch.sensors.postgres.following import Following
from offswitch.watch.sensors.postgres.libpq import Lost
from offswitch.watch.sensors.postgres.opening import Opened, stream_error
from offswitch.watch.sensors.postgres.pgoutput import (
    Alive,
    Begin,
    Changed,
    Commit,
    Garbled,
    Relation,
    Truncated,
    read_envelope,
    read_message,
    status_update,
)

__all__ = ["Decoding", "Pending"]

_LARGE = 16
"""From so many rows on a transaction is a batch of its own; shorter ones are told together."""
_CHECKED_EVERY = 8
_SOON_US = 1_000
_CONFIRM_US = 1_000_000


@dataclass(frozen=True, slots=True)
class Pending:
    """A change that waits for the evidence."""

    xid: int
    time_us: int
    change: Change
    size: int


class Decoding:
    """One stream at work."""

    def __init__(self, opened: Opened, clock: Clock) -> None:
        """Read `opened`; its tables are kept up to date by it."""
        self._opened = opened
        self._clock = clock
        self.tables = opened.tables
        self._of: dict[int, Following | None] = {}
        self._by_name = {(one.schema, one.name): one for one in opened.tables.values()}
        self._begin: Begin | None = None
        self.place = opened.place
        """Up to where in the log all was taken in."""
        self.end = opened.place
        """The server's end of it, as it last said."""
        self.limit: int | None = None
        """Where another stream takes over; what was committed from there on is its business."""
        self.arrived = False
        """Whether it has come to there."""
        self.reshaped = False
        """Whether a table no longer has the shape in which it was read."""
        self.unfit = ""
        """Why it must not be gone on with, and the command that helps."""
        self._ends = 0
        self.transactions = 0
        self.batches: list[tuple[str, BatchFacts]] = []
        self.pending: deque[Pending] = deque()
        self._pending_bytes = 0
        self._confirmed_us = 0
        self._reply = False

    @property
    def fd(self) -> int:
        """Readable when the server sent something."""
        return self._opened.connection.socket

    def read(self, until_us: int) -> bool:
        """Take in what is there until then; true: there is more. `Lost`: the stream has ended."""
        from psycopg import Error  # noqa: PLC0415 - an extra, imported by IMPORTS

        connection = self._opened.connection
        fresh = False
        count, ended = 0, self._ends
        soon_us = self._clock.mono_us() + _SOON_US
        try:
            while not self.arrived:
                size, data = connection.get_copy_data(1)
                if size > 0:
                    self._take(bytes(data))
                    count += 1
                    if count % _CHECKED_EVERY == 0:
                        now_us = self._clock.mono_us()
                        # What has ended is told before more is read, however fast it comes.
                        if now_us > until_us or (now_us > soon_us and self._ends != ended):
                            return True
                elif size < 0:
                    raise stream_error(connection)
                elif fresh:
                    break
                else:
                    connection.consume_input()
                    fresh = True
            self._confirm()
        except Error as error:
            raise Lost(" ".join(str(error).split())[:300], "it is begun anew") from None
        except ValueError as error:
            raise Lost(f"the stream is garbled: {error}", "it is begun anew") from None
        return False

    def _take(self, data: bytes) -> None:
        envelope = read_envelope(data)
        self.end = max(self.end, envelope.end)
        if isinstance(envelope, Alive):
            self._reply = self._reply or envelope.reply
            if self._begin is None:
                self.place = max(self.place, envelope.end)
                self.arrived = self.limit is not None and self.place >= self.limit
            return
        message = read_message(envelope.data)
        if isinstance(message, Begin):
            if self.limit is not None and message.final >= self.limit:
                self.arrived = True
            self._begin = message
        elif isinstance(message, Commit):
            self._ended(message)
        elif isinstance(message, Relation):
            table = self._by_name.get((message.schema, message.name))
            self._of[message.number] = table
            if table is not None and not table.reshape(message):
                self.reshaped = True
        elif isinstance(message, Changed):
            table = self._of.get(message.relation)
            change = table.apply(message) if table is not None else None
            if change is not None:
                self._keep(change, envelope_size=len(data))
        elif isinstance(message, Truncated):
            for number in message.relations:
                table = self._of.get(number)
                if table is not None:
                    table.truncate()

    def _ended(self, commit: Commit) -> None:
        begin, self._begin = self._begin, None
        if begin is None:
            raise Garbled("a transaction ends that has not begun")
        self._ends += 1
        self.place = max(self.place, commit.end)
        touched = False
        for label, table in self.tables.items():
            rows, batch = table.end(begin.time_us, _LARGE)
            touched = touched or rows > 0
            if batch is not None:
                self.batches.append((label, batch))
        self.transactions += touched

    def _keep(self, change: Change, envelope_size: int) -> None:
        begin = self._begin
        xid, time_us = (begin.xid, begin.time_us) if begin is not None else (0, 0)
        self.pending.append(Pending(xid, time_us, change, envelope_size))
        self._pending_bytes += envelope_size
        while len(self.pending) > KEPT or self._pending_bytes > KEPT_BYTES:
            self._pending_bytes -= self.pending.popleft().size

    @property
    def due(self) -> bool:
        """Whether what waits for the evidence may go there: whole transactions, or too much."""
        much = len(self.pending) > KEPT // 2 or self._pending_bytes > KEPT_BYTES // 2
        return bool(self.pending) and (much or self._begin is None)

    def newest(self, most: int) -> list[Pending]:
        """Give the last changes that wait for the evidence, oldest first."""
        return list(islice(self.pending, max(len(self.pending) - most, 0), None))

    def take_pending(self) -> list[Pending]:
        """Hand over what waits for the evidence."""
        taken = list(self.pending)
        self.pending.clear()
        self._pending_bytes = 0
        return taken

    def told(self) -> list[tuple[str, BatchFacts]]:
        """Hand over the batches that have ended, the short transactions' together as the last."""
        told, self.batches = self.batches, []
        if self._begin is None:
            for label, table in self.tables.items():
                batch = table.batch(self._clock.wall_us())
                if batch is not None:
                    told.append((label, batch))
        return told

    def hurry(self) -> None:
        """Have the server say at once where its log ends."""
        self._confirmed_us = 0

    def _confirm(self) -> None:
        """Tell the server up to where its log is not needed any more by us."""
        now_us = self._clock.mono_us()
        if not self._reply and now_us - self._confirmed_us < _CONFIRM_US:
            return
        self._reply, self._confirmed_us = False, now_us
        connection = self._opened.connection
        asking = self.limit is not None
        connection.put_copy_data(status_update(self.place, self._clock.wall_us(), reply=asking))
        connection.flush()

    def close(self) -> None:
        """End the stream, and the slot with it."""
        self._opened.close()
