"""Templates: what is alike is one, what is not is not, and no line can make it slow or large."""

from __future__ import annotations

import random
import time
import tracemalloc

import pytest

from offswitch.watch.logs.drain import Drain


def _texts(drain: Drain) -> list[str]:
    return sorted(template.text for template in drain.templates.values())


def test_lines_that_differ_in_numbers_addresses_and_digests_are_one_template() -> None:
    drain = Drain()
    lines = [
        b"2026-11-28T06:00:%02d.%03dZ INFO GET /api/users/%d from 10.0.%d.9:%d took %d.%d ms"
        % (n % 60, n, n * 7, n % 256, 1024 + n, n, n)
        for n in range(500)
    ]
    lines += [b"job 3f%08x-aa%02x-4bcd-8ef0-1234567890ab done" % (n, n) for n in range(200)]
    counts, fresh = drain.feed(lines)
    assert _texts(drain) == [
        "<*> INFO GET /api/users/<*> from <*> took <*> ms",
        "job <*> done",
    ]
    assert sorted(counts.values()) == [200, 500]
    assert len(fresh) == 2
    again, fresh = drain.feed(lines)
    assert (again, fresh) == (counts, [])


def test_a_word_that_differs_becomes_a_variable_and_another_message_a_template() -> None:
    drain = Drain()
    names = (b"alice", b"bob", b"carol", b"dave")
    drain.feed([b"user session opened for account " + name for name in names])
    assert _texts(drain) == ["user session opened for account <*>"]
    _counts, [fresh] = drain.feed([b"deleting all the backups now"])
    assert fresh.text == "deleting all the backups now"
    _counts, fresh2 = drain.feed([b"status ok", b"status corrupted"])
    assert len(fresh2) == 2, "a short line is told by its first words"


def test_a_templates_name_is_that_of_its_first_line_in_every_life() -> None:
    one, other = Drain(), Drain()
    _c, [first] = one.feed([b"connection 17 refused by peer"])
    _c, fresh = other.feed([b"something else", b"connection 99 refused by peer"])
    assert first.name == fresh[1].name


def test_it_keeps_so_many_and_says_how_many_had_to_make_room() -> None:
    drain = Drain(most=100)
    kept = b"the line that comes in every chunk"
    for n in range(300):
        word = "".join(random.Random(n).choices("abcdefghij", k=9)).encode()
        drain.feed([kept, word + b" one two " + word])
    assert len(drain.templates) <= 100
    assert drain.evicted > 150
    assert kept.decode() in _texts(drain), "what is met goes on being known"


@pytest.mark.parametrize(
    "lines",
    [
        [b"a" * 8192] * 500,
        [b"1a" * 4096, b"-" * 8192, b"0-" * 4096, b"." * 8192] * 100,
        [b"a " * 4096] * 100,
        [bytes([n % 256]) * 100 for n in range(3000)],
        [b"", b" ", b"\xff\xfe \x00", b"<*> <*>"] * 100,
        [bytes(random.Random(n).choices(range(256), k=200)) for n in range(3000)],
    ],
)
def test_hostile_lines_are_bounded_in_time_and_memory(lines: list[bytes]) -> None:
    drain = Drain(most=200)
    drain.feed(lines)
    tracemalloc.start()
    begin = time.monotonic()
    counts, _fresh = drain.feed(lines)
    took = time.monotonic() - begin
    grown, _peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert counts.total() == len(lines)
    assert took < 2
    assert grown < 8 << 20
    assert len(drain.templates) <= 200
    assert all(template.text.isascii() for template in drain.templates.values())
