"""One table that is followed in a stream of changes: what it holds, and what was done to it.

It begins with the rows as a snapshot shows them and goes on change by change; both fit together
exactly, since the stream begins where the snapshot was taken. Beyond `most` rows, and where the
server does not send old rows, less is known, and `why` says what helps.

A digest of all rows, the sum of one number for each, is kept along: two lives of a sensor, or two
snapshots, agree on it if the table is the same. The numbers depend on a secret of the sensor's, so
that nobody can choose rows whose sum is that of others.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Generator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

from offswitch.watch.rows.batches import BatchFacts, ColumnFacts
from offswitch.watch.rows.shadow import Change, Column
from offswitch.watch.sensors.postgres.catalog import Catalogued, kind_of
from offswitch.watch.sensors.postgres.pgoutput import Changed, Relation, Unchanged, Word
from offswitch.watch.sensors.postgres.standing import Standing, Value, as_number
from offswitch.watch.sensors.postgres.tally import Tally

__all__ = ["Following", "Reshaped"]

_MOST_COLUMNS = 64
_A_PART = 1000
_SUMS = (1 << 64) - 1
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_ESCAPES = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}

Text = str | None
Row = tuple[Text, ...]


class Reshaped(Exception):
    """The table is no longer what was read: it must be read anew."""


class Following:
    """One table."""

    def __init__(self, known: Catalogued, schema: str, name: str, most: int, secret: bytes) -> None:
        """Follow the table that the catalogue describes, up to `most` rows one by one."""
        self._secret = secret
        self.known = known
        self.label = known.label
        self.schema, self.name = schema, name
        self.columns = [column.name for column in known.columns]
        self._types = [column.type for column in known.columns]
        self.kinds = [kind_of(column.base) for column in known.columns]
        for place in range(_MOST_COLUMNS, len(self.kinds)):
            self.kinds[place] = "o"
        ordered = sorted((column.key, at) for at, column in enumerate(known.columns) if column.key)
        self.key = tuple(place for _, place in ordered)
        self.rows = 0
        self.why = ""
        """Why it is not known row by row; empty: it is."""
        self._most = most
        self._digest: int | None = 0
        self._standing: list[Standing | None] = []
        self._foreign: list[str] | None = None
        """The columns as the stream has them, while they are not those that were read."""
        self.untold = False
        """Whether rows were changed of which the old values were not sent."""
        self._tally = Tally(list(zip(self.columns, self.kinds, strict=True)))
        self._transaction_rows = 0
        self.inserted = self.changed = self.deleted = self.truncated = self.largest = 0
        if not known.full:
            self.why = f"old rows are not sent: ALTER TABLE {self.label} REPLICA IDENTITY FULL"

    # --- beginning ----------------------------------------------------------------

    def begin(self, lines: Sequence[bytes], time_us: int) -> Generator[None, None, BatchFacts]:
        """Take in the rows of a snapshot, a part at a time; gives them as a first batch."""
        whole = len(lines) <= self._most
        if not whole:
            self.why = self.why or f"it has more than {self._most} rows"
            self._digest = None
        self._standing = [
            Standing(kind in {"n", "t"}, counting=whole) if place < _MOST_COLUMNS else None
            for place, kind in enumerate(self.kinds)
        ]
        rows: list[tuple[Value, ...]] = []
        for at, line in enumerate(lines[: self._most]):
            row = _line(line)
            if len(row) != len(self.columns):
                raise Reshaped(f"{self.label} changed while it was read")
            self._sum(row, 1)
            values = self._values(row)
            self._tally.insert(values)
            rows.append(values)
            if at % _A_PART == 0:
                yield
        for place, standing in enumerate(self._standing):
            if standing is not None:
                standing.begin(values[place] for values in rows)
                yield
        self.rows = len(rows)
        facts = self._tally.told(self._standing, self.rows, time_us, first=True)
        ordered = tuple(self._ordered(rows, column) for column in facts.columns)
        self._tally = Tally(list(zip(self.columns, self.kinds, strict=True)))
        return replace(facts, columns=ordered)

    def _ordered(self, rows: Sequence[tuple[Value, ...]], facts: ColumnFacts) -> ColumnFacts:
        """Add how well the order by key is the order by this time."""
        if facts.kind != "t":
            return facts
        place = self.columns.index(facts.name)
        # Without a number that grows as key, the order in which the rows lie must do.
        numbered = len(self.key) == 1 and self.kinds[self.key[0]] == "n"
        keys = [row[self.key[0]] if numbered else float(at) for at, row in enumerate(rows)]
        pairs = sorted(
            (key, value)
            for key, row in zip(keys, rows, strict=True)
            if isinstance(key, float) and isinstance(value := row[place], float)
        )
        steps = list(pairwise(pairs))
        if not steps:
            return facts
        forward = sum(one[1] <= other[1] for one, other in steps) / len(steps)
        return replace(facts, ordered=forward)

    def counted(self, count: int, cells: Sequence[Text]) -> None:
        """Take in what the server counted where it holds more rows than are followed.

        `cells`: for each column of numbers how many, least, greatest, mean and spread.
        """
        self.rows = count
        parts = iter([cells[at : at + 5] for at in range(0, len(cells), 5)])
        for kind, standing in zip(self.kinds, self._standing, strict=True):
            if kind != "n" or standing is None:
                continue
            present, *four = next(parts)
            standing.set(count, int(present or 0), [as_number(one) for one in four])

    def numeric(self) -> list[str]:
        """List the columns of numbers."""
        return [
            name
            for name, kind, standing in zip(self.columns, self.kinds, self._standing, strict=True)
            if kind == "n" and standing is not None
        ]

    # --- going on -----------------------------------------------------------------

    def reshape(self, relation: Relation) -> bool:
        """Take in how the stream now spells its rows; false: it must be read anew.

        Until that is done rows are counted, and kept as they are spelt now.
        """
        told = [(column.name, column.type) for column in relation.columns]
        mine = list(zip(self.columns, self._types, strict=True))
        fits = relation.number == self.known.number and told[: len(mine)] == mine
        if not fits or (relation.identity == "f") != self.known.full:
            self._foreign = [name for name, _ in told]
            self._blinded()
            return False
        self._foreign = None
        for name, number in told[len(mine) :]:
            # What stands in it already was never sent: no statistics of the whole of it.
            self.columns.append(name)
            self._types.append(number)
            self.kinds.append(kind_of(number))
            self._standing.append(None)
        if len(told) > len(mine):
            self._digest = None
            self._tally.widen([*zip(self.columns, self.kinds, strict=True)])
        return True

    def apply(self, changed: Changed) -> Change | None:
        """Take in one change; gives it for the evidence, None where nothing is another."""
        if self._foreign is not None:
            return self._counted(changed, self._foreign)
        new = self._whole(changed.new, changed.old if changed.full else None)
        old = self._whole(changed.old, None) if changed.full else None
        if changed.word is Word.INSERTED and new is not None:
            self._sum(new, 1)
            self.rows += 1
            self.inserted += 1
            values = self._values(new)
            self._stand(None, values)
            self._tally.insert(values)
        elif changed.word is Word.DELETED:
            self.rows -= 1
            self.deleted += 1
            if old is not None:
                self._sum(old, -1)
                values = self._values(old)
                self._stand(values, None)
                self._tally.delete(values)
        elif old is not None and new is not None:
            if old == new:
                return None
            self._sum(old, -1)
            self._sum(new, 1)
            self.changed += 1
            before, after = self._values(old), self._values(new)
            self._stand(before, after)
            self._tally.change(before, after)
        else:
            self.changed += 1
        if changed.word is not Word.INSERTED and old is None:
            self._tally.unknown(deleted=changed.word is Word.DELETED)
            self._blinded()
        self._transaction_rows += 1
        return self._change(changed, old, new)

    def _counted(self, changed: Changed, columns: Sequence[str]) -> Change:
        """Take in a change of a row whose shape was not read yet."""
        self._transaction_rows += 1
        if changed.word is Word.INSERTED:
            self.rows, self.inserted = self.rows + 1, self.inserted + 1
        elif changed.word is Word.DELETED:
            self.rows, self.deleted = self.rows - 1, self.deleted + 1
        else:
            self.changed += 1
        old = self._whole(changed.old, None) if changed.full else None
        new = self._whole(changed.new, old)
        return Change(self.label, changed.word.value, tuple(columns), (), old, new)

    def truncate(self) -> None:
        """All rows went at once; what they were is not sent."""
        self.deleted += self.rows
        self._tally.deleted += self.rows
        self._transaction_rows += self.rows
        self.truncated += 1
        self.rows = 0
        self._digest = 0 if self._digest is not None else None
        for standing in self._standing:
            if standing is not None:
                standing.clear()

    def end(self, time_us: int, large: int) -> tuple[int, BatchFacts | None]:
        """A transaction ended: how many rows it touched, and the batch if that alone is one."""
        rows, self._transaction_rows = self._transaction_rows, 0
        if not rows:
            return 0, None
        self._tally.end(rows)
        self.largest = max(self.largest, rows)
        return rows, self.batch(time_us) if rows >= large else None

    def batch(self, time_us: int) -> BatchFacts | None:
        """Tell what was done since the last batch; None: nothing."""
        if not self._tally.rows:
            return None
        facts = self._tally.told(self._standing, self.rows, time_us)
        self._tally = Tally(list(zip(self.columns, self.kinds, strict=True)))
        return facts

    def since(self) -> tuple[int, int, int, int, int]:
        """Give inserted, changed, deleted, truncated, and the largest transaction; begin anew."""
        told = (self.inserted, self.changed, self.deleted, self.truncated, self.largest)
        self.inserted = self.changed = self.deleted = self.truncated = self.largest = 0
        return told

    def statistics(self) -> dict[str, Column | None]:
        """Give the statistics of each column of numbers; None: they cannot be known."""
        return {
            name: None if self.untold else standing.statistics()
            for name, kind, standing in zip(self.columns, self.kinds, self._standing, strict=True)
            if kind == "n" and standing is not None
        }

    @property
    def unknown(self) -> str:
        """Say why what is done to it cannot be judged, and what helps; empty: it can."""
        if not self.known.full:
            return self.why
        return "its shape is not known yet" if self.untold else ""

    @property
    def digest(self) -> str:
        """Name what it holds; ends in `?` where that is not known row by row."""
        return f"{self.rows} " + ("?" if self._digest is None else f"{self._digest:x}")

    # --- rows ---------------------------------------------------------------------

    def _blinded(self) -> None:
        self.untold = True
        self._digest = None

    def _whole(
        self, row: tuple[str | Unchanged | None, ...] | None, old: Row | object
    ) -> Row | None:
        if row is None:
            return None
        before = old if isinstance(old, tuple) else ()
        return tuple(
            (before[at] if at < len(before) else None) if isinstance(value, Unchanged) else value
            for at, value in enumerate(row)
        )

    def _values(self, row: Row) -> tuple[Value, ...]:
        return tuple(
            value if value is None or kind in {"s", "o"} else _measured(value, kind)
            for value, kind in zip(row, self.kinds, strict=True)
        )

    def _stand(self, old: Sequence[Value] | None, new: Sequence[Value] | None) -> None:
        for at, standing in enumerate(self._standing):
            if standing is None:
                continue
            before = old[at] if old is not None else None
            after = new[at] if new is not None else None
            if old is not None and new is not None and before == after:
                continue
            if old is not None:
                standing.remove(before)
            if new is not None:
                standing.add(after)

    def _sum(self, row: Row, sign: int) -> None:
        if self._digest is None:
            return
        spelt = repr(row).encode("utf-8", "surrogatepass")
        number = int.from_bytes(hashlib.blake2b(spelt, digest_size=8, key=self._secret).digest())
        self._digest = (self._digest + sign * number) & _SUMS

    def _change(self, changed: Changed, old: Row | None, new: Row | None) -> Change:
        columns = tuple(self.columns)
        known = new
        if new is not None and changed.new is not None and old is None:
            # What was not sent because it did not change is left out, never guessed.
            kept = [at for at, one in enumerate(changed.new) if not isinstance(one, Unchanged)]
            columns = tuple(self.columns[at] for at in kept)
            known = tuple(new[at] for at in kept)
        named = old or self._whole(changed.old, None) or new or ()
        key = tuple(named[at] for at in self.key)
        names = tuple(self.columns[at] for at in self.key)
        single = key[0] if len(key) == 1 else key
        return Change(self.label, changed.word.value, columns, single, old, known, names)


def _measured(text: str, kind: str) -> float:
    if kind == "n":
        return as_number(text)
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        return math.nan  # infinity, or before the year 1
    return (read if read.tzinfo is not None else read.replace(tzinfo=UTC)).timestamp()


def _line(line: bytes) -> Row:
    """Read one line of COPY's text form."""
    values: list[Text] = []
    for part in line.rstrip(b"\n").split(b"\t"):
        if part == rb"\N":
            values.append(None)
            continue
        plain = part
        if b"\\" in part:
            plain = _ESCAPED.sub(lambda found: _ESCAPES.get(found[1], found[1]), part)
        values.append(plain.decode("utf-8", "surrogateescape"))
    return tuple(values)
