"""How a stream of changes is begun so that nothing lies between what was read and what comes.

    a temporary slot  ─►  the snapshot that belongs to it  ─►  the rows  ─►  the stream from there

The slot is temporary: it ends with our session, so that a watcher that died never makes the
server keep its log until its disk is full. What is written between two sessions is then not
streamed; whether something was is told by the digest of each table.

The rows are read under the weakest lock there is, which keeps nobody from reading or writing;
only a change of the table's shape waits for it, and waits for seconds at most.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from offswitch.clock import Clock
from offswitch.errors import OffswitchError
from offswitch.watch.rows.batches import BatchFacts
from offswitch.watch.sensors.postgres.catalog import Catalogued, catalogue_query, read_catalogue
from offswitch.watch.sensors.postgres.following import Following, Reshaped
from offswitch.watch.sensors.postgres.libpq import Lost, Wait, Waiting, asked, connected, copied

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn

__all__ = ["Opened", "Wanted", "opened", "stream_error"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be followed."""

    info: str
    """How to connect for replication."""
    labels: tuple[str, ...]
    """The tables as the settings name them."""
    tables: tuple[tuple[str, str], ...]
    """Schema and name of each."""
    publication: str
    most: int
    """Up to how many rows a table is followed row by row."""
    secret: bytes
    """What the digests of tables depend on."""

    def catalogue(self, version: int) -> str:
        """Give the question that the catalogue is asked."""
        return catalogue_query(self.tables, self.publication, version)

    def read(self, rows: Sequence[tuple[str | None, ...]]) -> dict[str, Catalogued]:
        """Read its answer."""
        return read_catalogue(self.labels, rows, self.publication)


@dataclass(slots=True)
class Opened:
    """A stream that has begun."""

    connection: PGconn
    place: int
    """Where in the log it begins."""
    tables: dict[str, Following]
    first: dict[str, BatchFacts] = field(default_factory=dict)
    """What each table held there."""

    def close(self) -> None:
        """End the session, and the slot with it."""
        self.connection.finish()


def _place(text: str | None) -> int:
    high, _, low = (text or "").partition("/")
    return (int(high, 16) << 32) + int(low, 16)


def opened(wanted: Wanted, clock: Clock) -> Waiting[Opened]:
    """Begin a stream; `Lost` says why there is none."""
    connection = yield from connected(wanted.info)
    try:
        return (yield from _begun(connection, wanted, clock))
    except (Reshaped, ValueError) as error:
        connection.finish()
        raise Lost(str(error), "it is tried again") from None
    except BaseException:
        connection.finish()
        raise


def _begun(connection: PGconn, wanted: Wanted, clock: Clock) -> Waiting[Opened]:
    yield from asked(connection, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    slot = f"offswitch_{os.getpid()}_{clock.mono_us() % 10**9}"
    make = f'CREATE_REPLICATION_SLOT "{slot}" TEMPORARY LOGICAL pgoutput USE_SNAPSHOT'
    [made] = yield from asked(connection, make)
    place = _place(made[1])
    rows = yield from asked(connection, wanted.catalogue(connection.server_version))
    known = wanted.read(rows)
    unfit = [f"{one.label}: {one.problem}" for one in known.values() if one.problem]
    if unfit:
        raise Lost("; ".join(unfit), "then it is tried again by itself")
    result = Opened(connection, place, {})
    for label, (schema, name) in zip(wanted.labels, wanted.tables, strict=True):
        table = Following(known[label], schema, name, wanted.most, wanted.secret)
        result.tables[label] = table
        result.first[label] = yield from _read(connection, table, wanted.most, clock)
    yield from asked(connection, "COMMIT")
    start = f'START_REPLICATION SLOT "{slot}" LOGICAL {made[1]}'
    start += f" (proto_version '1', publication_names '\"{wanted.publication}\"')"
    yield from asked(connection, start)
    return result


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _read(connection: PGconn, table: Following, most: int, clock: Clock) -> Waiting[BatchFacts]:
    source = f"ONLY {_quoted(table.schema)}.{_quoted(table.name)}"
    columns = ", ".join(_quoted(name) for name in table.columns)
    query = f"COPY (SELECT {columns} FROM {source} LIMIT {most + 1}) TO STDOUT"  # noqa: S608
    lines = yield from copied(connection, query)
    steps = table.begin(lines, clock.wall_us())
    while True:
        try:
            next(steps)
        except StopIteration as done:
            facts: BatchFacts = done.value
            break
        # A socket is nearly always ready to be written to: the look may end here if it must.
        yield Wait(connection.socket, write=True)
    if len(lines) > most:
        parts = ["count(*)"]
        for name in map(_quoted, table.numeric()):
            parts += [f"count({name})", f"min({name})", f"max({name})"]
            parts += [f"avg({name}::float8)", f"stddev_pop({name}::float8)"]
        [(count, *cells)] = yield from asked(
            connection,
            f"SELECT {', '.join(parts)} FROM {source}",  # noqa: S608
        )
        table.counted(int(count or 0), cells)
    return facts


def stream_error(connection: PGconn) -> OffswitchError:
    """Say why a stream has ended."""
    result = connection.get_result()
    said = bytes(result.error_message) if result is not None else b""
    text = (said or bytes(connection.error_message)).decode("utf-8", "backslashreplace")
    return Lost(" ".join(text.split())[:300] or "the server ended the stream", "it is begun anew")
