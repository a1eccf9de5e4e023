"""One table of a hostile database, as rows by key or as totals. Runs inside a snapshot.

A table is kept whole if it has a declared primary key, no more rows than asked for, no
value above a megabyte and no more than 64 MiB in all. Names are quoted, never pasted; what
is a view or a virtual table is not read; generated columns, whose expressions the target
wrote, are left out.
"""

from __future__ import annotations

import math
import sqlite3
from itertools import islice

from offswitch.watch.rows.shadow import Column, Key, Layout, Row, Rows, Statistics, Totals
from offswitch.watch.sensors.sqlite.database import Unreadable

__all__ = ["read_table"]

_MOST_BYTES = 64 << 20
_MOST_COLUMNS = 64
_BATCH = 1000
_NOT_NUMBERS = ("CHAR", "CLOB", "TEXT", "BLOB")
_NUMBER = (
    "CASE WHEN typeof({0}) IN ('integer', 'real') "
    "AND {0} BETWEEN -1.7976931348623157e308 AND 1.7976931348623157e308 THEN {0} END"
)


def read_table(connection: sqlite3.Connection, table: str, max_rows: int) -> Rows | Totals | None:
    """Read one table; None if it is not there; `Unreadable` if it is something else."""
    found = connection.execute(
        "SELECT type, rootpage FROM sqlite_master "
        "WHERE name = ? COLLATE NOCASE AND type IN ('table', 'view')",
        (table,),
    ).fetchall()
    if not found:
        return None
    if found[0][0] != "table" or not found[0][1]:
        raise Unreadable(f"{table} is a view or a virtual table, not a table")
    layout = _layout(connection, table)
    if not layout.key:
        return _totals(connection, table, layout, "it has no primary key")
    try:
        rows = _rows(connection, table, layout, max_rows)
    except sqlite3.DataError:
        rows = "it holds a value of more than a megabyte"
    if isinstance(rows, str):
        return _totals(connection, table, layout, rows)
    return Rows(layout, rows)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _layout(connection: sqlite3.Connection, table: str) -> Layout:
    """Read the table's columns."""
    info = connection.execute(f"PRAGMA main.table_info({_quoted(table)})").fetchall()
    if not info:
        raise Unreadable(f"{table} has no columns")
    described = [(name, declared, pk) for _id, name, declared, _null, _default, pk in info]
    key = sorted((pk, place) for place, (_name, _type, pk) in enumerate(described) if pk)
    numeric = (
        place
        for place, (_name, declared, pk) in enumerate(described)
        if not pk and not any(word in declared.upper() for word in _NOT_NUMBERS)
    )
    return Layout(
        tuple(name for name, _type, _pk in described),
        tuple(place for _pk, place in key),
        tuple(islice(numeric, _MOST_COLUMNS)),
    )


def _rows(
    connection: sqlite3.Connection, table: str, layout: Layout, max_rows: int
) -> dict[Key, Row] | str:
    """Read every row by its key, or say why the table cannot be kept whole."""
    columns = ", ".join(_quoted(name) for name in layout.columns)
    cursor = connection.execute(
        f"SELECT {columns} FROM main.{_quoted(table)} NOT INDEXED LIMIT {max_rows + 1}"  # noqa: S608 - names are quoted
    )
    found: list[Row] = []
    size = 0
    while batch := cursor.fetchmany(_BATCH):
        found += batch
        # One row in sixteen is weighed: no row is beyond a megabyte, and the process has
        # a limit of memory besides.
        size += 16 * sum(
            len(value) for row in batch[::16] for value in row if isinstance(value, str | bytes)
        )
        if size > _MOST_BYTES:
            return f"it holds more than {_MOST_BYTES >> 20} MiB"
    if len(found) > max_rows:
        return f"it has more than {max_rows} rows"
    rows: dict[Key, Row]
    if len(layout.key) == 1:
        (place,) = layout.key
        rows = {row[place]: row for row in found}
    else:
        rows = {tuple(row[place] for place in layout.key): row for row in found}
    if len(rows) < len(found):
        return "its primary key is not unique"
    return rows


def _totals(connection: sqlite3.Connection, table: str, layout: Layout, why: str) -> Totals:
    """Count, and measure the numeric columns, without keeping a row."""
    source = f"FROM main.{_quoted(table)} NOT INDEXED"
    numbers = [_NUMBER.format(_quoted(layout.columns[place])) for place in layout.numeric]
    parts = ["count(*)"]
    for place, number in zip(layout.numeric, numbers, strict=True):
        name = _quoted(layout.columns[place])
        parts += [f"count({name})", f"count({number})", f"min({number})", f"max({number})"]
        parts.append(f"avg({number})")
    (count, *cells) = connection.execute(f"SELECT {', '.join(parts)} {source}").fetchone()
    five = [tuple(cells[at : at + 5]) for at in range(0, len(cells), 5)]
    means = [mean if mean is not None else 0.0 for *_, mean in five]
    squares: Row = ()
    if numbers:
        away = (f"avg(({number} - ?) * ({number} - ?))" for number in numbers)
        twice = [mean for mean in means for _ in range(2)]
        squares = connection.execute(f"SELECT {', '.join(away)} {source}", twice).fetchone()
    columns: Statistics = {
        layout.columns[place]: _column(count, cell, square)
        for place, cell, square in zip(layout.numeric, five, squares, strict=True)
    }
    return Totals(layout, count, columns, why)


def _column(count: int, cell: tuple[object, ...], square: object) -> Column:
    present, finite, low, high, mean = cell
    nulls, odd = count - _whole(present), _whole(present) - _whole(finite)
    if not finite:
        return Column(nulls, odd, math.nan, math.nan, math.nan, math.nan)
    return Column(
        nulls, odd, _real(low), _real(high), _real(mean), math.sqrt(max(_real(square), 0))
    )


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0


def _real(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.nan
