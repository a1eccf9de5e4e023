"""What PostgreSQL's own catalogue says of the tables that are watched, and what is wrong with it.

A table can be followed if it is a plain, logged one that the publication names, whole: every
column, every row, every kind of change. Its old values are sent only with `REPLICA IDENTITY FULL`.
Whoever owns a table can change all of this at any moment and without a trace in the stream, so it
is asked again once a second. Each thing that is wrong comes with the command that puts it right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Catalogued", "CataloguedColumn", "catalogue_query", "kind_of", "read_catalogue"]

_NUMBERS = frozenset({20, 21, 23, 26, 700, 701, 1700})
_TIMES = frozenset({1082, 1114, 1184})
_TEXTS = frozenset({18, 19, 25, 1042, 1043})
_NOT_NAMED = "-"


@dataclass(frozen=True, slots=True)
class CataloguedColumn:
    """A column as the catalogue has it."""

    name: str
    type: int
    """The number of its type."""
    base: int
    """The number of the type below it, where it is a domain."""
    key: int
    """Its place in the primary key, from 1; 0: it is not part of it."""


@dataclass(frozen=True, slots=True)
class Catalogued:
    """One table as the catalogue has it."""

    label: str
    """As the settings name it."""
    number: int
    """Its number in pg_class; 0: there is none."""
    file: str
    """The number of its file, which is another one when the table was written anew."""
    full: bool
    """Whether old rows are sent."""
    columns: tuple[CataloguedColumn, ...]
    problem: str
    """Why it cannot be followed at all, and the command that helps; empty: it can."""

    @property
    def shape(self) -> tuple[object, ...]:
        """What must stay as it is for the stream to be understood by what was read at first."""
        return (self.number, self.file, self.full, self.columns)


def kind_of(number: int) -> str:
    """Give the kind of a built-in type: `n` number, `t` time, `s` text, `o` other."""
    if number in _NUMBERS:
        return "n"
    if number in _TIMES:
        return "t"
    return "s" if number in _TEXTS else "o"


def catalogue_query(tables: Sequence[tuple[str, str]], publication: str, version: int) -> str:
    """Ask for the tables (schema and name); the names are plain words, checked by the settings."""
    wanted = ", ".join(f"({place}, '{schema}', '{name}')" for place, (schema, name) in _all(tables))
    partly = "false"
    if version >= 150_000:  # noqa: PLR2004 - the version that can publish a part of a table
        partly = (
            "EXISTS (SELECT 1 FROM pg_publication_rel r JOIN pg_publication q ON q.oid = r.prpubid"  # noqa: S608
            f" WHERE q.pubname = '{publication}' AND r.prrelid = c.oid"
            " AND (r.prqual IS NOT NULL OR r.prattrs IS NOT NULL))"
        )
    return f"""
SELECT w.place, c.oid, c.relfilenode, c.relkind, c.relpersistence, c.relreplident,
    pg_catalog.has_table_privilege(c.oid, 'SELECT'),
    EXISTS (SELECT 1 FROM pg_publication_tables t WHERE t.pubname = '{publication}'
        AND t.schemaname = n.nspname AND t.tablename = c.relname),
    (SELECT p.pubinsert AND p.pubupdate AND p.pubdelete AND p.pubtruncate FROM pg_publication p
        WHERE p.pubname = '{publication}'),
    {partly},
    a.attname, a.atttypid, CASE WHEN y.typtype = 'd' THEN y.typbasetype ELSE y.oid END,
    COALESCE(pg_catalog.array_position(i.indkey::pg_catalog.int2[], a.attnum) + 1, 0)
FROM (VALUES {wanted}) AS w (place, schema, name)
LEFT JOIN pg_namespace n ON n.nspname = w.schema
LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name
LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    AND a.attgenerated = ''
LEFT JOIN pg_type y ON y.oid = a.atttypid
LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
ORDER BY w.place, a.attnum
"""  # noqa: S608 - the names are plain words


def _all(tables: Sequence[tuple[str, str]]) -> list[tuple[int, tuple[str, str]]]:
    return list(enumerate(tables))


def read_catalogue(
    labels: Sequence[str], rows: Sequence[tuple[str | None, ...]], publication: str
) -> dict[str, Catalogued]:
    """Read the answer; each table that was asked for is in it."""
    grouped: dict[int, list[tuple[str | None, ...]]] = {}
    for row in rows:
        grouped.setdefault(int(row[0] or 0), []).append(row)
    return {
        label: _table(label, grouped.get(place, []), publication)
        for place, label in enumerate(labels)
    }


def _table(label: str, rows: Sequence[tuple[str | None, ...]], publication: str) -> Catalogued:
    if not rows or rows[0][1] is None:
        return Catalogued(label, 0, _NOT_NAMED, full=False, columns=(), problem="it is not there")
    facts = rows[0]
    columns = tuple(
        CataloguedColumn(row[10], int(row[11] or 0), int(row[12] or 0), int(row[13] or 0))
        for row in rows
        if row[10] is not None
    )
    problem = _problem(label, facts, publication)
    return Catalogued(
        label, int(facts[1] or 0), facts[2] or _NOT_NAMED, facts[5] == "f", columns, problem
    )


def _problem(label: str, facts: tuple[str | None, ...], publication: str) -> str:
    kind, persistence, readable = facts[3], facts[4], facts[6]
    named, whole, partly = facts[7], facts[8], facts[9]
    if kind != "r":
        return f"{label} is no plain table; of a partitioned one watch the partitions"
    if persistence != "p":
        return f"{label} is not logged: ALTER TABLE {label} SET LOGGED"
    if readable != "t":
        return f"it may not be read: GRANT SELECT ON {label} TO the sensor's role"
    if whole is None:
        return f"there is no publication: CREATE PUBLICATION {publication} FOR TABLE {label}"
    if named != "t":
        return f"it is not published: ALTER PUBLICATION {publication} ADD TABLE {label}"
    if whole != "t":
        return (
            f"not all is published: ALTER PUBLICATION {publication} "
            "SET (publish = 'insert, update, delete, truncate')"
        )
    if partly == "t":
        return f"only a part of {label} is published: publish it without columns and WHERE"
    return ""
