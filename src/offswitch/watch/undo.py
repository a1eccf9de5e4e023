"""What puts a PostgreSQL table back as it was: statements made of the rows that were kept.

    python -I -m offswitch.watch.undo $OFFSWITCH_HOME/evidence/NAME.jsonl [--since TIME] > undo.sql

The last change is undone first. A row is found by its primary key, where it has one, else by all
its values; each statement is quoted, so that nothing in a row can be anything but a value; all of
them are one transaction, which changes nothing if it does not reach its end. Nothing is executed
here: whoever owns the data reads it, and runs it. What a `TRUNCATE` took is not in the stream, and
so not here; and of more changes than the evidence keeps the oldest are missing, which it says.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from offswitch.watch.evidence import KEPT, read_changes
from offswitch.watch.rows.shadow import Change, Row

__all__ = ["main", "undo"]

_BEGIN = (
    "BEGIN;",
    "SET LOCAL standard_conforming_strings = on;",
    "SET LOCAL datestyle = 'ISO';",
    "SET LOCAL timezone = 'UTC';",
)


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _table(label: str) -> str:
    schema, _, table = label.rpartition(".")
    return f"{_name(schema or 'public')}.{_name(table)}"


def _value(value: object) -> str:
    if value is None:
        return "NULL"
    return "'" + str(value).replace("'", "''") + "'"


def _where(change: Change, row: Row) -> str:
    values = dict(zip(change.columns, row, strict=True))
    named = change.key_columns or change.columns
    parts = [
        f"{_name(name)} IS NULL"
        if values.get(name) is None
        else f"{_name(name)} = {_value(values[name])}"
        if change.key_columns
        else f"{_name(name)}::text = {_value(values[name])}"
        for name in named
    ]
    return " AND ".join(parts)


def _statement(change: Change) -> str:
    """Spell what undoes one change."""
    table = _table(change.table)
    if change.kind == "inserted" and change.after is not None:
        return f"DELETE FROM {table} WHERE {_where(change, change.after)};"  # noqa: S608 - all is quoted
    if change.before is None:
        return f"-- {change.key!a} of {table}: what it was is not known"
    columns = ", ".join(_name(name) for name in change.columns)
    values = ", ".join(_value(value) for value in change.before)
    if change.kind == "deleted" or change.after is None:
        return f"INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE VALUES ({values});"  # noqa: S608
    pairs = zip(change.columns, change.before, change.after, strict=True)
    altered = ", ".join(f"{_name(name)} = {_value(old)}" for name, old, new in pairs if old != new)
    return f"UPDATE {table} SET {altered} WHERE {_where(change, change.after)};"  # noqa: S608 - all is quoted


def undo(changes: Sequence[Change]) -> Iterator[str]:
    """Give the statements that undo `changes`, which are oldest first."""
    yield from _BEGIN
    for change in reversed(changes):
        yield _statement(change)
    yield "COMMIT;"


def main(argv: Sequence[str] | None = None) -> int:
    """Print the statements that undo what an evidence file holds."""
    parser = argparse.ArgumentParser(prog="offswitch.watch.undo", description="undo changes")
    parser.add_argument("file")
    parser.add_argument("--since", help="only changes from this time on, such as 2026-11-28T07:00")
    given = parser.parse_args(argv)
    since_us = 0
    if given.since:
        since = datetime.fromisoformat(given.since)
        since = since if since.tzinfo is not None else since.replace(tzinfo=UTC)
        since_us = int(since.timestamp() * 1_000_000)
    with open(given.file, "rb") as file:
        kept = read_changes(file.read())
    if len(kept) >= KEPT:
        sys.stderr.write(f"{KEPT} changes are kept: older ones may be missing\n")
    for statement in undo([change for when_us, change in kept if when_us >= since_us]):
        sys.stdout.write(statement + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
