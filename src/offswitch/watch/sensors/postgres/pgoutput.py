"""The messages of PostgreSQL's logical decoding, as `pgoutput` in protocol version 1 spells them.

PostgreSQL 15, chapter 55.9 "Logical Replication Message Formats", and 55.4 for what wraps them:

    w  start LSN, end LSN, time, payload      one message of pgoutput
    k  end LSN, time, reply wanted?           the server lives

    B begin  C commit  O origin  R relation  Y type
    I insert   N new
    U update   [K key | O old] N new
    D delete   K key | O old
    T truncate

A tuple is a list of columns: null, *unchanged* (a value kept out of line that the update did not
touch, and that is therefore not sent), or text. Names and values are the target's: nothing here
trusts a length or a number in them, each is bounded by the bytes that are there, and what is not
exactly a message is `Garbled`. Pure.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

__all__ = [
    "UNCHANGED",
    "Alive",
    "Begin",
    "Changed",
    "Commit",
    "Garbled",
    "Message",
    "Payload",
    "Relation",
    "RelationColumn",
    "Skipped",
    "Truncated",
    "Tuple",
    "Unchanged",
    "Word",
    "read_envelope",
    "read_message",
    "status_update",
]

_MOST_COLUMNS = 1600
"""PostgreSQL's own limit for a table."""
_MOST_RELATIONS = 100_000
_TEXT, _NULL, _UNTOUCHED = ord("t"), ord("n"), ord("u")
_EPOCH_US = 946_684_800_000_000
"""PostgreSQL counts microseconds from 2000-01-01."""


class Garbled(ValueError):
    """These bytes are no message of the protocol."""


class Unchanged:
    """Stands for a value that an update did not touch and that was not sent."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "unchanged"


UNCHANGED: Final = Unchanged()

Tuple: TypeAlias = "tuple[str | Unchanged | None, ...]"
"""A row as it was sent, column by column."""


class Word(StrEnum):
    """What was done to a row."""

    INSERTED = "inserted"
    CHANGED = "changed"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Payload:
    """A message of pgoutput with where it stands in the log."""

    start: int
    end: int
    """The server's end of the log as it sent this."""
    time_us: int
    """The server's clock, UTC in microseconds."""
    data: memoryview


@dataclass(frozen=True, slots=True)
class Alive:
    """The server says that it lives."""

    end: int
    time_us: int
    reply: bool
    """Whether it wants to hear from us at once."""


@dataclass(frozen=True, slots=True)
class Begin:
    """A transaction that was committed begins to be told."""

    final: int
    """Where its commit stands in the log."""
    time_us: int
    """When it was committed, UTC in microseconds."""
    xid: int


@dataclass(frozen=True, slots=True)
class Commit:
    """It has been told whole."""

    end: int
    """From where to go on."""
    time_us: int


@dataclass(frozen=True, slots=True)
class RelationColumn:
    """A column of a table."""

    name: str
    key: bool
    """Whether it is part of the replica identity."""
    type: int
    """The type's number in pg_type."""


@dataclass(frozen=True, slots=True)
class Relation:
    """What a table looks like from here on."""

    number: int
    schema: str
    name: str
    identity: str
    """`d` key, `n` nothing, `f` the full row, `i` an index."""
    columns: tuple[RelationColumn, ...]


@dataclass(frozen=True, slots=True)
class Changed:
    """One row was inserted, changed or deleted."""

    word: Word
    relation: int
    old: Tuple | None
    """The row as it was, or only its key with `None` for the rest; None: it was not sent."""
    full: bool
    """Whether `old` is the whole row."""
    new: Tuple | None


@dataclass(frozen=True, slots=True)
class Truncated:
    """Tables were emptied."""

    relations: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Skipped:
    """A message that says nothing of rows: an origin, a type."""

    kind: str


Message: TypeAlias = "Begin | Commit | Relation | Changed | Truncated | Skipped"


class _Bytes:
    """Bytes that are read from the front, each read checked against what is left."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._at = 0

    def numbers(self, form: str) -> tuple[int, ...]:
        packed = struct.Struct(form)
        found: tuple[int, ...] = packed.unpack(self.take(packed.size))
        return found

    def take(self, size: int) -> memoryview:
        if size < 0 or self._at + size > len(self._data):
            raise Garbled("a message ends too early")
        part = self._data[self._at : self._at + size]
        self._at += size
        return part

    def letter(self) -> str:
        return chr(self.take(1)[0])

    def text(self) -> str:
        """Read up to a zero byte."""
        rest = self._data[self._at :]
        # A name has 63 bytes at the most; more is never looked through.
        size = bytes(rest[:1024]).find(b"\0")
        if size < 0:
            raise Garbled("a name does not end")
        self._at += size + 1
        return bytes(rest[:size]).decode("utf-8", "backslashreplace")

    def rest(self) -> tuple[memoryview, int, int]:
        """Give the bytes, where we are in them, and where they end."""
        return self._data, self._at, len(self._data)

    def go(self, at: int) -> None:
        """Go on from there, which was found to be within."""
        self._at = at

    def end(self) -> None:
        if self._at != len(self._data):
            raise Garbled(f"{len(self._data) - self._at} bytes too many")


def read_envelope(data: bytes) -> Payload | Alive:
    """Read what the server sent in its copy stream."""
    source = _Bytes(memoryview(data))
    kind = source.letter()
    if kind == "w":
        start, end, time_us = source.numbers("!QQq")
        return Payload(start, end, time_us + _EPOCH_US, memoryview(data)[25:])
    if kind == "k":
        end, time_us, reply = source.numbers("!QqB")
        source.end()
        return Alive(end, time_us + _EPOCH_US, bool(reply))
    raise Garbled(f"a message of the unknown kind {kind!a}")


def status_update(place: int, time_us: int, *, reply: bool = False) -> bytes:
    """Spell what we tell the server: all up to `place` was taken in; maybe have it answer."""
    return struct.pack("!cQQQqB", b"r", place, place, place, time_us - _EPOCH_US, reply)


def read_message(data: memoryview) -> Message:
    """Read one message of pgoutput; `Garbled` if it is none."""
    source = _Bytes(data)
    kind = source.letter()
    message = _read(kind, source)
    if not isinstance(message, Skipped):
        source.end()
    return message


def _read(kind: str, source: _Bytes) -> Message:
    if kind == "B":
        final, time_us, xid = source.numbers("!QqI")
        return Begin(final, time_us + _EPOCH_US, xid)
    if kind == "C":
        _flags, _place, end, time_us = source.numbers("!BQQq")
        return Commit(end, time_us + _EPOCH_US)
    if kind == "R":
        return _relation(source)
    if kind in "IUD":
        return _changed(kind, source)
    if kind == "T":
        count, _options = source.numbers("!IB")
        if count > _MOST_RELATIONS:
            raise Garbled(f"{count} tables emptied at once")
        return Truncated(source.numbers(f"!{count}I"))
    if kind in "OYM":
        return Skipped(kind)
    raise Garbled(f"a message of the unknown kind {kind!a}")


def _relation(source: _Bytes) -> Relation:
    (number,) = source.numbers("!I")
    schema, name, identity = source.text(), source.text(), source.letter()
    (count,) = source.numbers("!H")
    if count > _MOST_COLUMNS:
        raise Garbled(f"a table of {count} columns")
    columns = []
    for _ in range(count):
        (flags,) = source.numbers("!B")
        column = source.text()
        kind, _modifier = source.numbers("!Ii")
        columns.append(RelationColumn(column, bool(flags & 1), kind))
    # An empty name of a schema is pg_catalog's: the protocol says so.
    return Relation(number, schema or "pg_catalog", name, identity, tuple(columns))


def _changed(kind: str, source: _Bytes) -> Changed:
    (number,) = source.numbers("!I")
    part = source.letter()
    old: Tuple | None = None
    full = part == "O"
    if kind != "I" and part in "KO":
        old = _tuple(source)
        if kind == "D":
            return Changed(Word.DELETED, number, old, full, None)
        part = source.letter()
    if kind == "D" or part != "N":
        raise Garbled(f"a row of the unknown part {part!a}")
    word = Word.INSERTED if kind == "I" else Word.CHANGED
    return Changed(word, number, old, full and old is not None, _tuple(source))


def _tuple(source: _Bytes) -> Tuple:
    (count,) = source.numbers("!H")
    if count > _MOST_COLUMNS:
        raise Garbled(f"a row of {count} columns")
    # The one loop that is gone through for each value of each row: no calls in it but two.
    data, at, end = source.rest()
    values: list[str | Unchanged | None] = []
    for _ in range(count):
        if at >= end:
            raise Garbled("a row ends too early")
        kind = data[at]
        at += 1
        if kind == _TEXT:
            stop = at + 4
            size = int.from_bytes(data[at:stop])
            at = stop + size
            if stop > end or at > end:
                raise Garbled("a value ends too early")
            values.append(str(data[stop:at], "utf-8", "surrogateescape"))
        elif kind == _NULL:
            values.append(None)
        elif kind == _UNTOUCHED:
            values.append(UNCHANGED)
        else:
            raise Garbled(f"a value of the unknown kind {chr(kind)!a}")
    source.go(at)
    return tuple(values)
