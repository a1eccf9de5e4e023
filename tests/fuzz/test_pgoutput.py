"""Fuzzing what a server sends: each is a message, exactly, or garbled; nothing else comes of it."""

from __future__ import annotations

import contextlib
import struct

from hypothesis import example, given
from hypothesis import strategies as st

from fuzz.mutations import JSON, JUNK, broken, budget
from offswitch.watch.rows.batches import read_batch
from offswitch.watch.sensors.postgres.pgoutput import (
    UNCHANGED,
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

RELATION = b"R" + struct.pack("!I", 0x4001) + b"public\0prices\0f" + struct.pack("!H", 2)
RELATION += b"\x01id\0" + struct.pack("!Ii", 20, -1) + b"\x01price\0" + struct.pack("!Ii", 1700, -1)
ROW = b"\0\x03t\0\0\0\x017nu"
UPDATE = b"U\0\0\x40\x01O" + ROW + b"N" + ROW
BEGIN = b"B" + struct.pack("!QqI", 77, 5, 9)
COMMIT = b"C" + struct.pack("!BQQq", 0, 77, 78, 5)
TRUNCATE = b"T\0\0\0\x01\x01\0\0\x40\x01"
GOOD = (RELATION, UPDATE, BEGIN, COMMIT, TRUNCATE, b"I\0\0\x40\x01N" + ROW, b"D\0\0\0\x01K" + ROW)


def test_each_message_is_read_as_it_is_meant() -> None:
    relation = read_message(memoryview(RELATION))
    assert isinstance(relation, Relation)
    assert [column.name for column in relation.columns] == ["id", "price"]
    changed = read_message(memoryview(UPDATE))
    assert isinstance(changed, Changed)
    assert changed.full
    assert changed.new == ("7", None, UNCHANGED)
    assert read_message(memoryview(BEGIN)) == Begin(77, 946_684_800_000_005, 9)
    assert isinstance(read_message(memoryview(COMMIT)), Commit)
    assert read_message(memoryview(TRUNCATE)) == Truncated((0x4001,))
    alive = read_envelope(b"k" + struct.pack("!QqB", 9, 0, 1))
    assert alive == Alive(9, 946_684_800_000_000, reply=True)
    assert len(status_update(9, 0)) == 34


@budget(4_000)
@given(st.sampled_from(GOOD).flatmap(broken) | JUNK)
@example(b"R\0\0\0\1" + b"x" * 5000)
@example(b"T\xff\xff\xff\xff\0")
@example(b"I\0\0\0\1N\xff\xff")
@example(b"I\0\0\0\1N\0\1t\x80\0\0\0")
def test_a_message_is_one_or_is_garbled(data: bytes) -> None:
    for read in (lambda: read_message(memoryview(data)), lambda: read_envelope(data)):
        with contextlib.suppress(Garbled):
            read()


@budget(2_000)
@given(
    st.dictionaries(st.sampled_from(["batch", "columns_0"]), st.text(max_size=80) | JSON.map(str))
)
@example({"batch": "[1]"})
def test_a_batch_is_one_or_an_error(detail: dict[str, str]) -> None:
    with contextlib.suppress(ValueError):
        read_batch(detail)
