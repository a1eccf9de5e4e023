"""A critical data set: tables of a SQLite database that the target may write.

    rows_inserted, rows_changed, rows_deleted {table}          since the last look
    rows, keyed                               {table}          how many; 1 if known row by row
    nulls, odd, min, max, mean, spread, shift {table, column}  of each numeric column

`shift` is how far the mean has moved from the baseline, in spreads of the baseline: what
the column held when the sensor began. One statement is one commit and is seen after it.
A commit is heard of by inotify on the database and its log, confirmed by `data_version`
(or, without a log, the file's change counter), and taken apart by a keyed diff against
the rows as they were. Beyond `max_rows`, or without a primary key, only counts and
statistics are known; `keyed` then says 0 and why, and `rows_changed` is no number, so
that a rule on it fails loudly instead of seeing nothing.

Should its eye die, the next life is told when it last looked, the baseline, and a digest of each
table. Where
a table is another one by then, nobody knows what was done to which row: `rows_changed` is no
number once, at least as many rows as are more or fewer are told, and a note says so for an hour.

What hides from inotify and the counters, such as a page written into the file by hand, is
found by a whole reading every five seconds. What the file is, `database` does not believe.
"""

from __future__ import annotations

import math
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from offswitch.config.section import SensorSection, Text
from offswitch.control.inotify import CREATED, DELETED, MODIFIED, MOVED, Inotify
from offswitch.watch.rows.shadow import Change, Diff, Rows, Statistics, Totals, diff, digest
from offswitch.watch.rows.telling import column_samples, example, place_of, time_of_day
from offswitch.watch.sensors.contract import Glance, Need, Sample, SensorContext, Signal
from offswitch.watch.sensors.sqlite.database import Database, Missing, Unreadable, Unsteady
from offswitch.watch.sensors.sqlite.tables import read_table

__all__ = ["Sqlite", "SqliteSection"]

_WHOLE_EVERY_US = 5_000_000
_QUIET_US = 100_000
_BUDGET_US = 1_000_000
_STEPS_US = (100, 200, 300, 500, 1_000, 1_000, 2_000, 2_000, 3_000, 5_000, 5_000, 10_000, 20_000)
"""When to look again after a write was heard of whose commit is not there yet."""
_LATER_US = 10_000
_PATIENCE_US = 2_000_000
"""How long a commit may take after its last write was heard of: a disk may be slow."""
_REST_US = 1_000_000
"""How long a file may be in the middle of something before that is a problem."""
_NOTED_US = 3_600_000_000
_LOOKED = "looked_us"
_SHOWN = 3
_COLUMN_SERIES = ("nulls", "odd", "min", "max", "mean", "spread", "shift")
_ROW_SERIES = ("rows_inserted", "rows_changed", "rows_deleted", "rows", "keyed")


class SqliteSection(SensorSection):
    """The keys of a SQLite sensor."""

    kind: Literal["sqlite"]
    path: Annotated[str, Field(pattern=r"^/", max_length=1000)]
    """The database file, as an absolute path."""
    tables: Annotated[list[Text], Field(min_length=1, max_length=32)]
    """The tables to watch; views are not read."""
    max_rows: Annotated[int, Field(ge=1, le=200_000)] = 20_000
    """Up to how many rows a table is followed row by row."""

    SERIES: ClassVar[frozenset[str]] = frozenset((*_ROW_SERIES, *_COLUMN_SERIES))

    def problem(self, what: str, labels: Mapping[str, str]) -> str | None:
        """Say why there is no such series: each bears its table, some their column."""
        if what in self.SERIES and labels.get("table") not in self.tables:
            known = ", ".join(self.tables)
            return f"sensor {self.name} reads no table {labels.get('table')!r}; it reads: {known}"
        wanted = {"table", "column"} if what in _COLUMN_SERIES else {"table"}
        if what in self.SERIES and set(labels) != wanted:
            return f"{what} bears the labels {', '.join(sorted(wanted))}"
        return super().problem(what, labels)


class Sqlite:
    """Follows a few tables of one database."""

    Settings: ClassVar[type[SqliteSection]] = SqliteSection
    SIGNAL: ClassVar[Signal] = Signal.DATA
    ISOLATED: ClassVar[bool] = True
    NEEDS: ClassVar[frozenset[Need]] = frozenset({Need.FILES})
    IMPLICIT: ClassVar[str] = ""

    def __init__(self, settings: SqliteSection, context: SensorContext) -> None:
        """Follow `settings.tables` of `settings.path`; the first look is the baseline."""
        self._settings = settings
        self._clock = context.clock
        self._evidence = context.evidence
        self._database = Database(settings.path, settings.tables, context.clock)
        self._before = dict(context.memory)
        """What the life before knew of each table, by its place in the settings."""
        self._inherited = context.memory
        self._begun: dict[str, str] = {}
        """The baseline as the next life is told of it."""
        self._digests: dict[str, str] = {}
        self._unseen: dict[str, str] = {}
        """Table → why it is not known what was done to it just now."""
        self._note, self._noted_us = "", 0
        self._known: dict[str, Rows | Totals | None] = {}
        self._baseline: dict[str, dict[str, tuple[float, float]]] = {}
        """Table → column → mean and spread as the first life found them."""
        self._statistics: dict[str, Statistics] = {}
        self._pending: list[Change] = []
        self._unmeasured = False
        self._step = len(_STEPS_US)
        self._not_before_us = 0
        self._told_us = -settings.every
        self._whole_us = 0
        self._read_us = 0
        self._heard_us = 0
        self._unsteady_us: int | None = None
        self._watched: dict[str, tuple[tuple[int, int], int]] = {}
        try:
            self._inotify: Inotify | None = Inotify()
        except OSError:
            # None left on this machine: the interval alone must do.
            self._inotify = None

    def wake(self) -> Sequence[int]:
        """A write to the database or its log wakes it."""
        return (self._inotify.fileno(),) if self._inotify else ()

    def look(self) -> Glance:
        """Look once: what changed first, and at once; evidence and statistics right after."""
        glance = self._look()
        if self._noted_us and self._clock.mono_us() - self._noted_us > _NOTED_US:
            self._note, self._noted_us = "", 0
        return replace(glance, note=self._note, memory=self._memory())

    def _look(self) -> Glance:
        now_us = self._clock.mono_us()
        self._hear()
        if self._unmeasured:
            return self._measure(now_us)
        if now_us < self._not_before_us:
            return Glance(again_us=self._not_before_us - now_us)
        try:
            whole = now_us - self._whole_us >= _WHOLE_EVERY_US
            if whole:
                self._database.forget()
            if whole or self._database.changed():
                return self._compare(now_us, whole=whole)
        except Missing:
            return self._gone(now_us)
        except Unsteady as error:
            return self._unsteady(now_us, str(error))
        except Unreadable as error:
            self._whole_us = 0
            return Glance(problem=str(error))
        return self._nothing_new(now_us)

    # --- hearing ------------------------------------------------------------------

    def _hear(self) -> None:
        """Take in what inotify says, and keep its watches on the files that are there now."""
        if self._inotify is None:
            return
        name = os.path.basename(self._settings.path).encode()
        ours = {name, name + b"-wal", name + b"-journal"}
        events = self._inotify.read()
        folder = self._watched.get("folder")
        heard = any(
            event.watch == -1 or folder is None or event.watch != folder[1] or event.name in ours
            for event in events
        )
        if heard or not self._watched:
            self._step, self._heard_us = 0, self._clock.mono_us()
            self._watch_files()

    def _watch_files(self) -> None:
        assert self._inotify is not None  # noqa: S101 - only called where there is one
        path = self._settings.path
        wanted = {"folder": os.path.dirname(path), "main": path, "wal": path + "-wal"}
        for role, file in wanted.items():
            try:
                facts = os.stat(file, follow_symlinks=role == "folder")
                identity = (facts.st_dev, facts.st_ino)
                known = self._watched.get(role)
                if known is not None and known[0] == identity:
                    continue
                if role == "folder":
                    number = self._inotify.add_folder(file, CREATED | DELETED | MOVED)
                else:
                    number = self._inotify.add_file(file, MODIFIED)
                if known is not None and known[1] != number:
                    self._inotify.remove(known[1])
                self._watched[role] = (identity, number)
            except OSError:
                self._watched.pop(role, None)

    # --- looking ------------------------------------------------------------------

    def _compare(self, now_us: int, *, whole: bool) -> Glance:
        """Read the tables and say what is not as it was."""
        first = not self._known
        settings = self._settings

        def read(connection: sqlite3.Connection) -> dict[str, Rows | Totals | None]:
            return {
                table: read_table(connection, table, settings.max_rows) for table in settings.tables
            }

        fresh = self._database.snapshot(read, _BUDGET_US)
        diffs = {
            table: self._since_before(table, now)
            if first
            else diff(table, self._known.get(table), now)
            for table, now in fresh.items()
        }
        self._known = fresh
        self._before = {}
        for table, one in diffs.items():
            if one.changed is None or one.inserted or one.changed or one.deleted:
                self._digests.pop(table, None)
        for one in diffs.values():
            self._pending.extend(one.changes)
        self._unsteady_us = None
        took_us = self._clock.mono_us() - now_us
        # No more than half of the time is spent on reading, however fast somebody writes.
        self._not_before_us = now_us + 2 * took_us
        self._unmeasured = True
        if whole or first:
            self._whole_us = now_us
        self._read_us = now_us
        self._told_us = now_us
        told = list(self._told(diffs))
        self._unseen = {}
        return Glance(told, again_us=0)

    # --- another life -------------------------------------------------------------

    def _since_before(self, table: str, now: Rows | Totals | None) -> Diff:
        """Compare with what the life before knew; the first look of all is the baseline."""
        known = self._before.get(str(self._settings.tables.index(table)))
        fresh = self._digests[table] = digest(now)
        if known is None or known == fresh:
            return Diff()
        words = known.split(" ")
        count = int(words[0]) if words[0].isdecimal() else 0
        more = (now.count if now is not None else 0) - count
        self._unseen[table] = f"{table} was changed {self._between()}: {count} rows before,"
        self._unseen[table] += f" {count + more} after; which of them is unknown"
        self._note, self._noted_us = "; ".join(self._unseen.values()), self._clock.mono_us()
        return Diff(max(more, 0), None, max(-more, 0))

    def _first_found(self, table: str, now: Statistics) -> dict[str, tuple[float, float]]:
        """Give the baseline of a table: what an earlier life began with, else what is there now."""
        place = self._settings.tables.index(table)
        found = {}
        for name, column in now.items():
            key = place_of(place, name)
            words = self._inherited.get(key, "").split(" ")
            try:
                found[name] = (float(words[0]), float(words[1]))
            except (ValueError, IndexError):
                found[name] = (column.mean, column.spread)
            self._begun[key] = "{!r} {!r}".format(*found[name])
        return found

    def _between(self) -> str:
        looked = self._before.get(_LOOKED, "")
        since = time_of_day(int(looked)) if looked.isdecimal() else "its last look"
        return f"while nobody looked, between {since} and {time_of_day(self._clock.wall_us())}"

    def _memory(self) -> dict[str, str]:
        """Give what the next life must know; empty until every table is known."""
        tables = self._settings.tables
        if self._before or not self._digests.keys() >= set(tables):
            return {}
        digests = {str(place): self._digests[table] for place, table in enumerate(tables)}
        return {_LOOKED: str(self._clock.wall_us()), **digests, **self._begun}

    # --- telling ------------------------------------------------------------------

    def _told(self, diffs: Mapping[str, Diff]) -> Iterator[Sample]:
        for table, one in diffs.items():
            labels = {"table": table}
            now = self._known.get(table)
            shown = _examples(one.changes)
            whole = isinstance(now, Rows) or now is None
            why = {} if now is None or isinstance(now, Rows) else {"why": now.why}
            unknown = why
            if table in self._unseen:
                whole, shown = False, {"why": self._unseen[table]}
                unknown = shown
            for what, count in (("rows_inserted", one.inserted), ("rows_deleted", one.deleted)):
                seen = math.nan if table in self._unseen and not count else float(count)
                yield Sample(what, seen, labels, shown)
            changed = float(one.changed or 0) if whole else math.nan
            yield Sample("rows_changed", changed, labels, shown if whole else unknown)
            yield Sample("rows", float(now.count if now else 0), labels)
            yield Sample("keyed", float(isinstance(now, Rows)), labels, why)

    def _measure(self, now_us: int) -> Glance:
        """The second half of a look: keep the evidence, give the statistics."""
        self._unmeasured = False
        if self._pending and self._evidence is not None:
            self._evidence.keep(self._clock.wall_us(), self._pending)
        self._pending = []
        for table, now in self._known.items():
            self._statistics[table] = now.statistics() if now is not None else {}
            if table not in self._baseline:
                self._baseline[table] = self._first_found(table, self._statistics[table])
            if table not in self._digests:
                self._digests[table] = digest(now)
        wait_us, again_us = max(self._not_before_us - now_us, 0), self._again(now_us)
        if again_us is not None or wait_us:
            again_us = max(wait_us, again_us or 0)
        return Glance(list(self._columns()), again_us=again_us)

    def _columns(self) -> Iterator[Sample]:
        for table, columns in self._statistics.items():
            for name, column in columns.items():
                yield from column_samples(table, name, column, self._baseline.get(table, {}))

    def _nothing_new(self, now_us: int) -> Glance:
        """No commit since the last look: look again soon after a write, else tell of the quiet."""
        again_us = self._again(now_us)
        if now_us - self._read_us > _QUIET_US:
            self._database.rest()
        if now_us - self._told_us < self._settings.every * 9 // 10:
            return Glance(again_us=again_us)
        self._told_us = now_us
        quiet = {table: Diff() for table in self._known}
        return Glance([*self._told(quiet), *self._columns()], again_us=again_us)

    def _unsteady(self, now_us: int, why: str) -> Glance:
        """Somebody is writing just now: look again; what does not come to rest is a problem."""
        if self._unsteady_us is None:
            self._unsteady_us = now_us
        lasting = now_us - self._unsteady_us > _REST_US
        return Glance(again_us=1_000 if not lasting else _LATER_US, problem=why if lasting else "")

    def _again(self, now_us: int) -> int | None:
        """Say how soon to look again: in small steps, then patiently, then at the interval.

        What was heard of last may not be committed yet, even if something was read since.
        """
        if self._step < len(_STEPS_US):
            self._step += 1
            return _STEPS_US[self._step - 1]
        return _LATER_US if now_us - self._heard_us < _PATIENCE_US else None

    def _gone(self, now_us: int) -> Glance:
        """The file is not there: all known rows are deleted; before the first look, wait."""
        if self._before:
            diffs = {table: self._since_before(table, None) for table in self._settings.tables}
            self._known = dict.fromkeys(diffs)
            self._before = {}
        elif self._known:
            diffs = {table: diff(table, before, None) for table, before in self._known.items()}
        else:
            return Glance(absent=True)
        if any(one.deleted for one in diffs.values()):
            for one in diffs.values():
                self._pending.extend(one.changes)
            self._known = dict.fromkeys(diffs)
            self._digests = {}
            self._unmeasured = True
            self._told_us = now_us
            told = list(self._told(diffs))
            self._unseen = {}
            return Glance(told, again_us=0)
        return Glance(problem=f"{self._settings.path} is gone")

    def close(self) -> None:
        """Close the database and the watches."""
        self._database.release()
        if self._inotify is not None:
            self._inotify.close()
            self._inotify = None


def _examples(changes: Sequence[Change]) -> dict[str, str]:
    return {f"row_{number}": example(one) for number, one in enumerate(changes[:_SHOWN], 1)}
