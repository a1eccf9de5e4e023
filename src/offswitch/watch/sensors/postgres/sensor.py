"""A critical data set: tables of a PostgreSQL database, by logical decoding.

    rows_inserted, rows_changed, rows_deleted, truncated {table}  since the last look
    transactions; transaction_rows                       {table}  how many; rows of the largest
    rows, keyed                                          {table}  how many; 1 if known row by row
    nulls, odd, min, max, mean, spread, shift    {table, column}  of each numeric column
    batch                                                {table}  rows touched at once, with all
                                                    that a data-set band judges as its detail
    lag_bytes                                                     of the log that is not yet read

The server pushes what was committed (its manual, chapter 49); a commit is told at once, nothing of
it before. It costs the writers nothing but a longer log with `REPLICA IDENTITY FULL`, which is what
makes the server tell old values; without it each thing that cannot be known is not a number, and
says which command helps. `opening` has how a stream begins, `following` what is known of a table,
`catalog` what can go wrong with one, `sessions` who wrote.

When a table changes its shape or its file, a second stream is begun beside the first and takes over
at the very place in the log where its snapshot was taken: nothing is missed. When a stream is lost
it is begun anew, and what was written meanwhile is told by a digest, never passed over.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from offswitch.clock import new_nonce
from offswitch.config.section import SensorSection
from offswitch.watch.rows.batches import BatchFacts, spell_batch
from offswitch.watch.rows.telling import column_samples, example, place_of, time_of_day
from offswitch.watch.sensors.contract import Glance, Need, Sample, SensorContext, Signal
from offswitch.watch.sensors.postgres.aside import Aside
from offswitch.watch.sensors.postgres.decoding import Decoding
from offswitch.watch.sensors.postgres.following import Following
from offswitch.watch.sensors.postgres.libpq import Lost, Steps, conninfo
from offswitch.watch.sensors.postgres.opening import Opened, Wanted, opened

__all__ = ["Postgres", "PostgresSection"]

_LOOK_US = 50_000
_OPENING_LOOK_US = 100_000
_STARTING_US = 5_000_000
"""How long the first reading may take before that is a problem."""
_FIRST_PAUSE_US, _LONGEST_PAUSE_US = 250_000, 5_000_000
_UNASKED_US = 5_000_000
"""How long the catalogue may be unknown before that is a problem."""
_WHO_US = 100_000
"""How long a row waits for who wrote it before it is kept without."""
_COLUMNS_US = 10_000
"""How often statistics are told at the most."""
_NOTED_US = 3_600_000_000
_LOOKED, _SECRET, _LONGEST_SECRET = "looked_us", "secret", 40
_SHOWN, _NEWEST = 3, 50
_COLUMN_SERIES = ("nulls", "odd", "min", "max", "mean", "spread", "shift")
_ROW_SERIES = ("rows_inserted", "rows_changed", "rows_deleted", "truncated")
_TABLE_SERIES = (*_ROW_SERIES, "transaction_rows", "rows", "keyed", "batch")
_PLAIN_SERIES = ("transactions", "lag_bytes")


def _no_password(dsn: str) -> str:
    if re.search(r"password\s*=|://[^/@]*:[^/@]*@", dsn, re.IGNORECASE):
        raise ValueError("no password here: write it into a file, and its path as password_file")
    return dsn


class PostgresSection(SensorSection):
    """The keys of a PostgreSQL sensor."""

    kind: Literal["postgres"]
    dsn: Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_no_password)]
    """How to connect, as libpq spells it, without a password: `host=… dbname=… user=…`."""
    password_file: Annotated[str, Field(pattern=r"^/", max_length=1000)] | None = None
    """The file with the role's password, which only its owner may read."""
    publication: Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]{0,62}$")] = "offswitch"
    """The publication that names the tables."""
    tables: Annotated[
        list[Annotated[str, Field(pattern=r"^([A-Za-z_]\w{0,62}\.)?[A-Za-z_]\w{0,62}$")]],
        Field(min_length=1, max_length=32),
    ]
    """The tables to watch; one without a schema is in `public`."""
    max_rows: Annotated[int, Field(ge=1, le=1_000_000)] = 100_000
    """Up to how many rows a table is followed row by row."""

    SERIES: ClassVar[frozenset[str]] = frozenset(
        (*_TABLE_SERIES, *_COLUMN_SERIES, *_PLAIN_SERIES),
    )
    SECRETS: ClassVar[frozenset[str]] = frozenset({"password_file"})

    def problem(self, what: str, labels: Mapping[str, str]) -> str | None:
        """Say why there is no such series: most bear their table, some their column."""
        if what in _PLAIN_SERIES:
            return f"{what} bears no labels" if labels else None
        if what in self.SERIES and labels.get("table") not in self.tables:
            known = ", ".join(self.tables)
            return f"sensor {self.name} reads no table {labels.get('table')!r}; it reads: {known}"
        wanted = {"table", "column"} if what in _COLUMN_SERIES else {"table"}
        if what in self.SERIES and set(labels) != wanted:
            return f"{what} bears the labels {', '.join(sorted(wanted))}"
        return super().problem(what, labels)


class Postgres:
    """Follows a few tables of one database."""

    Settings: ClassVar[type[PostgresSection]] = PostgresSection
    SIGNAL: ClassVar[Signal] = Signal.DATA
    ISOLATED: ClassVar[bool] = True
    NEEDS: ClassVar[frozenset[Need]] = frozenset({Need.NETWORK})
    IMPLICIT: ClassVar[str] = ""
    IMPORTS: ClassVar[tuple[str, ...]] = ("psycopg", "psycopg.pq", "psycopg.conninfo")

    def __init__(self, settings: PostgresSection, context: SensorContext) -> None:
        """Follow `settings.tables`; the first reading is the baseline."""
        self._settings = settings
        self._clock = context.clock
        self._evidence = context.evidence
        password = context.secrets.get("password_file", "")
        named = [name if "." in name else f"public.{name}" for name in settings.tables]
        self._wanted = Wanted(
            conninfo(settings.dsn, password, replication=True),
            tuple(settings.tables),
            tuple((schema, table) for schema, _, table in (name.partition(".") for name in named)),
            settings.publication,
            settings.max_rows,
            (context.memory.get(_SECRET) or new_nonce())[:_LONGEST_SECRET].encode(),
        )
        plain = conninfo(settings.dsn, password, replication=False)
        self._aside = Aside(plain, self._wanted, context.clock)
        self._stream: Decoding | None = None
        self._opening: Steps[Opened] | None = None
        """A stream that is being begun, the first or one to take over."""
        self._next: Opened | None = None
        """One that waits to take over."""
        self._began_us = context.clock.mono_us()
        self._pause_us, self._not_before_us = _FIRST_PAUSE_US, 0
        self._problem = ""
        self._before = dict(context.memory)
        """What is known of each table from before this stream, by its place in the settings."""
        self._inherited = context.memory
        self._baseline: dict[str, dict[str, tuple[float, float]]] = {}
        self._begun: dict[str, str] = {}
        """The baseline as the next life is told of it."""
        self._unseen: dict[str, str] = {}
        self._note, self._noted_us = "", 0
        self._told_us, self._columns_us, self._kept_us = -settings.every, 0, 0
        self._columns_due = False

    def wake(self) -> Sequence[int]:
        """What the server sends wakes it."""
        found = [self._stream.fd] if self._stream is not None else []
        if self._opening is not None and self._opening.fd is not None:
            found.append(self._opening.fd)
        return [*found, *self._aside.fds]

    def look(self) -> Glance:
        """Take in what was sent; tell what changed at once."""
        now_us = self._clock.mono_us()
        if self._noted_us and now_us - self._noted_us > _NOTED_US:
            self._note, self._noted_us = "", 0
        try:
            glance = self._look(now_us)
        except Lost as error:
            glance = self._lose(now_us, f"{error.message}; {error.hint}")
        return replace(glance, note=self._notes(), memory=self._memory())

    def _look(self, now_us: int) -> Glance:
        if self._stream is not None and (rows := self._aside.go(now_us)) is not None:
            self._check(rows)
        if self._stream is not None and now_us - self._aside.checked_us > _UNASKED_US:
            raise Lost("its catalogue cannot be asked", "is the server overloaded?")
        self._open(now_us)
        stream = self._stream
        if stream is None:
            starting = now_us - self._began_us < _STARTING_US
            problem = self._problem or ("" if starting else "it is still being connected or read")
            wait_us = max(self._not_before_us - now_us, 0)
            return Glance(problem=problem, again_us=wait_us if self._opening is None else None)
        more = stream.read(now_us + _LOOK_US)
        if stream.reshaped and self._opening is None and self._next is None:
            self._begin_anew(now_us)
        if stream.arrived and self._next is not None:
            self._take_over(stream, self._next)
            return Glance(list(self._told(now_us, {})), again_us=0)
        return self._tell(stream, now_us, more=more)

    # --- opening ------------------------------------------------------------------

    def _begin_anew(self, now_us: int) -> None:
        if now_us >= self._not_before_us:
            self._not_before_us = now_us + self._pause_us
            self._opening = Steps(opened(self._wanted, self._clock), self._clock)

    def _open(self, now_us: int) -> None:
        """Go on with beginning a stream, if there is one to begin."""
        if self._opening is None:
            if self._stream is None:
                self._begin_anew(now_us)
            if self._opening is None:
                return
        try:
            done = self._opening.go(_OPENING_LOOK_US if self._stream is None else _LOOK_US)
        except Lost as error:
            self._opening = None
            if self._stream is None:
                raise
            # The old stream still tells what it can; the new one is tried again.
            self._not_before_us = now_us + _LONGEST_PAUSE_US
            self._remark(f"it cannot be read anew: {error.message}")
            return
        if done is None:
            return
        (fresh,) = done
        self._opening = None
        if self._stream is None:
            self._start(fresh)
        else:
            self._next = fresh
            self._stream.limit = fresh.place
            self._stream.hurry()

    def _start(self, fresh: Opened) -> None:
        """Follow a first stream, or one after one that was lost."""
        for place, (label, table) in enumerate(fresh.tables.items()):
            known = self._before.get(str(place))
            if known is not None and (known != table.digest or known.endswith("?")):
                was = known.partition(" ")[0]
                self._unseen[label] = (
                    f"{label} was changed {self._between()}: {was} rows before, "
                    f"{table.rows} after; which of them is unknown"
                    if known != table.digest
                    else f"whether {label} was changed {self._between()} is unknown"
                )
                more = table.rows - (int(was) if was.isdecimal() else 0)
                table.inserted, table.deleted = max(more, 0), max(-more, 0)
        self._follow(fresh)

    def _take_over(self, stream: Decoding, fresh: Opened) -> None:
        """Go on with another stream, from where both know the same."""
        self._next = None
        self._keep(stream)
        for label, table in fresh.tables.items():
            old = stream.tables[label]
            if old.digest != table.digest and not _alike(old, table):
                self._unseen[label] = f"{label} was written anew, and is not what it was"
            elif old.columns != table.columns:
                self._remark(f"{label} has another shape since {time_of_day(self._now())}")
            told = old.since()
            table.inserted, table.changed, table.deleted, table.truncated, table.largest = told
        fresh_batches = stream.told()
        transactions = stream.transactions
        stream.close()
        self._follow(fresh)
        assert self._stream is not None  # noqa: S101 - it was just begun
        self._stream.batches = [*fresh_batches, *self._stream.batches]
        self._stream.transactions = transactions

    def _follow(self, fresh: Opened) -> None:
        self._stream = Decoding(fresh, self._clock)
        self._stream.batches = list(fresh.first.items())
        self._before = {}
        self._problem, self._pause_us = "", _FIRST_PAUSE_US
        self._aside.checked_us = self._clock.mono_us()
        self._columns_due = True
        for place, (label, table) in enumerate(fresh.tables.items()):
            if label not in self._baseline:
                self._baseline[label] = self._first_found(place, table)
        if self._unseen:
            self._remark("; ".join(self._unseen.values()))

    def _lose(self, now_us: int, why: str) -> Glance:
        """The stream is gone: keep what is known, and begin anew after a pause."""
        self._problem = why
        samples: list[Sample] = []
        stream, self._stream = self._stream, None
        if stream is not None:
            samples = [*self._batches(stream.told()), *self._told(now_us, stream.tables)]
            self._keep(stream)
            digests = enumerate(one.digest for one in stream.tables.values())
            self._before = {str(place): digest for place, digest in digests}
            self._before[_LOOKED] = str(self._now())
            stream.close()
        if self._opening is not None:
            self._opening.close()
        if self._next is not None:
            self._next.close()
        self._opening = self._next = None
        self._aside.leave(now_us)
        self._not_before_us = now_us + self._pause_us
        wait_us, self._pause_us = self._pause_us, min(2 * self._pause_us, _LONGEST_PAUSE_US)
        return Glance(samples, again_us=wait_us, problem=why)

    def _check(self, rows: Sequence[tuple[str | None, ...]]) -> None:
        """Compare the catalogue with what the stream was begun with."""
        if self._stream is None:
            return
        known = self._wanted.read(rows)
        unfit = [f"{one.label}: {one.problem}" for one in known.values() if one.problem]
        if unfit:
            # What is not published any more comes no more, and nothing else would say so.
            self._stream.unfit = "; ".join(unfit)
        shapes = {label: one.known.shape for label, one in self._stream.tables.items()}
        if any(known[label].shape != shape for label, shape in shapes.items()):
            self._stream.reshaped = True

    # --- telling ------------------------------------------------------------------

    def _tell(self, stream: Decoding, now_us: int, *, more: bool) -> Glance:
        samples: list[Sample] = []
        again_us = 0 if more else None
        batches = stream.told()
        if batches or stream.transactions:
            self._aside.sample_wanted = True
        due = now_us - self._told_us >= self._settings.every * 9 // 10
        samples += self._batches(batches)
        if batches or stream.transactions or self._unseen or due:
            samples += self._told(now_us, stream.tables)
            spoken = {label for label, _ in batches}
            quiet = [label for label in stream.tables if label not in spoken]
            # Nothing was done is a reading, too: a series that is silent is taken for lost.
            samples += [_quiet(stream.tables[label]) for label in quiet]
        self._columns_due = self._columns_due or bool(batches)
        if due or (self._columns_due and now_us - self._columns_us >= _COLUMNS_US):
            self._columns_us, self._columns_due = now_us, False
            for table in stream.tables.values():
                samples += self._columns(table)
        elif self._columns_due and again_us is None:
            again_us = _COLUMNS_US
        if stream.due and now_us - self._kept_us >= _WHO_US:
            self._keep(stream)
        elif stream.due and again_us is None:
            again_us = _WHO_US
        if stream.unfit:
            raise Lost(stream.unfit, "then it is begun anew")
        return Glance(samples, again_us=again_us)

    def _batches(self, batches: Sequence[tuple[str, BatchFacts]]) -> Iterator[Sample]:
        for label, facts in batches:
            table = self._stream.tables[label] if self._stream is not None else None
            rows = 0.0 if facts.first else float(facts.touched)
            detail = spell_batch(facts)
            if table is not None and table.unknown:
                rows, detail = math.nan, {"why": table.unknown}
            yield Sample("batch", rows, {"table": label}, detail)

    def _told(self, now_us: int, tables: Mapping[str, Following]) -> Iterator[Sample]:
        """Tell the counts since the last look."""
        stream = self._stream
        self._told_us = now_us
        for label, table in tables.items():
            labels = {"table": label}
            inserted, changed, deleted, truncated, largest = table.since()
            shown = self._shown(label, stream) if inserted or changed or deleted else {}
            unseen = self._unseen.pop(label, "")
            if unseen:
                shown = {"why": unseen}
            for what, count in (("rows_inserted", inserted), ("rows_deleted", deleted)):
                yield Sample(
                    what, math.nan if unseen and not count else float(count), labels, shown
                )
            yield Sample("rows_changed", math.nan if unseen else float(changed), labels, shown)
            yield Sample("truncated", float(truncated), labels)
            yield Sample("transaction_rows", float(largest), labels, shown)
            yield Sample("rows", float(table.rows), labels)
            why = table.why or table.unknown
            yield Sample("keyed", float(not why), labels, {"why": why} if why else {})
        if stream is not None:
            count, stream.transactions = stream.transactions, 0
            yield Sample("transactions", float(count))
            yield Sample("lag_bytes", float(max(stream.end - stream.place, 0)))

    def _shown(self, label: str, stream: Decoding | None) -> dict[str, str]:
        """Show the first few changes that wait for the evidence, and who did the last."""
        if stream is None or not stream.pending:
            return {}
        ours = [one for one in stream.newest(_NEWEST) if one.change.table == label]
        shown = {
            f"row_{number}": example(one.change) for number, one in enumerate(ours[:_SHOWN], 1)
        }
        if ours:
            shown["who"] = self._aside.sessions.who(ours[-1].xid, ours[-1].time_us)
        return shown

    def _columns(self, table: Following) -> Iterator[Sample]:
        baseline = self._baseline.get(table.label, {})
        for name, column in table.statistics().items():
            labels = {"table": table.label, "column": name}
            if column is None:
                why = {"why": table.unknown}
                for what in _COLUMN_SERIES:
                    yield Sample(what, math.nan, labels, why)
                continue
            yield from column_samples(table.label, name, column, baseline)

    # --- keeping ------------------------------------------------------------------

    def _keep(self, stream: Decoding) -> None:
        """Give the rows as they were to the evidence, each with who wrote it."""
        self._kept_us = self._clock.mono_us()
        pending = stream.take_pending()
        if not pending or self._evidence is None:
            return
        who = {one.xid: "" for one in pending}
        times = {one.xid: one.time_us for one in pending}
        for xid in who:
            who[xid] = self._aside.sessions.who(xid, times[xid])
        changes = [replace(one.change, by=who[one.xid]) for one in pending]
        self._evidence.keep(self._now(), changes)

    def _first_found(self, place: int, table: Following) -> dict[str, tuple[float, float]]:
        """Give the baseline of a table: what an earlier life began with, else what is there."""
        found = {}
        for name, column in table.statistics().items():
            if column is None:
                continue
            key = place_of(place, name)
            words = self._inherited.get(key, "").split(" ")
            try:
                found[name] = (float(words[0]), float(words[1]))
            except (ValueError, IndexError):
                found[name] = (column.mean, column.spread)
            self._begun[key] = "{!r} {!r}".format(*found[name])
        return found

    def _memory(self) -> dict[str, str]:
        """Give what the next life must know; empty until every table is known."""
        secret = {_SECRET: self._wanted.secret.decode()}
        if self._stream is None:
            return {**self._before, **self._begun, **secret} if self._begun else {}
        digests = {str(at): one.digest for at, one in enumerate(self._stream.tables.values())}
        return {_LOOKED: str(self._now()), **digests, **self._begun, **secret}

    def _now(self) -> int:
        return self._clock.wall_us()

    def _between(self) -> str:
        looked = self._before.get(_LOOKED, "")
        since = time_of_day(int(looked)) if looked.isdecimal() else "its last look"
        return f"while nobody looked, between {since} and {time_of_day(self._now())}"

    def _remark(self, text: str) -> None:
        self._note, self._noted_us = text[:500], self._clock.mono_us()

    def _notes(self) -> str:
        lacking = []
        if self._stream is not None:
            lacking = [f"{one.label}: {one.why}" for one in self._stream.tables.values() if one.why]
        return "; ".join([self._note, *lacking] if self._note else lacking)

    def close(self) -> None:
        """Let go of the sessions."""
        self._lose(self._clock.mono_us(), "it is closed")


def _quiet(table: Following) -> Sample:
    why = table.unknown
    labels = {"table": table.label}
    return Sample("batch", math.nan if why else 0.0, labels, {"why": why} if why else {})


def _alike(old: Following, new: Following) -> bool:
    """Tell whether a table that was written anew holds the same, as far as statistics tell."""
    before, after = old.statistics(), new.statistics()
    if old.rows != new.rows or old.untold:
        return False
    return all(
        (one := before.get(name)) is not None
        and column is not None
        and _close(one.mean, column.mean)
        and _close(one.spread, column.spread)
        and one.nulls == column.nulls
        for name, column in after.items()
        if name in before
    )


def _close(one: float, other: float) -> bool:
    both_unknown = math.isnan(one) and math.isnan(other)
    return both_unknown or math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-9)
