"""The book of calls: it outlives its writer, and never says less than happened (ACT-9)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from offswitch.clock import SimulatedClock
from offswitch.control.place import Place
from offswitch.errors import Busy, Corrupt, NotFound, Storage
from offswitch.gateway.tools.book import CallBook, State, counts, read_book
from offswitch.gateway.tools.shelf import all_calls, make_books
from offswitch.model.scope import parse_scope

WRITER = """
import os, sys
from offswitch.gateway.tools.book import CallBook, State
book = CallBook.take(sys.argv[1])
for number in range(4):
    row = book.begin("shop/a", "pay", f"i:{number}", {"n": number}, "s")
    if number:
        book.sent(row)
    if number == 2:
        book.end(row, State.DONE)
print(os.getpid(), flush=True)
sys.stdin.read()
"""


def test_ACT_9_a_killed_writer_leaves_what_it_sent_as_unknown(tmp_path: Path) -> None:
    path = str(tmp_path / "calls")
    writer = subprocess.Popen(
        [sys.executable, "-I", "-c", WRITER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert writer.stdout is not None
    writer.stdout.readline()
    states = [row.state for row in read_book(path)[0]]
    assert states == [State.HELD, State.SENT, State.DONE, State.SENT]
    writer.kill()
    writer.communicate()
    after = [State.UNSENT, State.UNKNOWN, State.DONE, State.UNKNOWN]
    assert [row.state for row in read_book(path)[0]] == after
    book = CallBook.take(path)
    row = book.begin("shop/a", "next", "i:9", {}, "")
    rows, _ = read_book(path)
    assert [one.state for one in rows] == [*after, State.HELD]
    assert rows[-1].number == 5
    book.end(row, State.REFUSED)
    assert counts(read_book(path)[0])["unknown"] == 2
    book.close()


def test_ACT_9_what_is_open_is_never_written_over(tmp_path: Path) -> None:
    path = str(tmp_path / "calls")
    book = CallBook.take(path, 8, SimulatedClock(5))
    first = [book.begin("t", f"tool{n}", f"i:{n}", {}, "") for n in range(8)]
    assert book.begin("t", "more", "i:8", {}, "") == -1
    for row in first[2:4]:
        book.sent(row)
        book.end(row, State.DONE)
    again = book.begin("t", "more", "i:8", {}, "")
    assert again == first[2]
    rows, forgotten = read_book(path)
    assert (len(rows), forgotten) == (8, 1)
    assert [row.tool for row in rows if row.state is State.DONE] == ["tool3"]
    book.close()


def test_a_book_takes_any_text_and_keeps_a_bounded_piece(tmp_path: Path) -> None:
    path = str(tmp_path / "calls")
    book = CallBook.take(path, 8)
    book.begin("t" * 999, "ü" * 999, "\ud800" * 99, {"a": "\ud800", "b": [1.5, None]}, "\ud800")
    [row], _ = read_book(path)
    assert (len(row.target), len(row.tool)) == (176, 88)
    book.close()


def test_what_is_no_book_is_said_to_be_none(tmp_path: Path) -> None:
    path = tmp_path / "calls"
    with pytest.raises(NotFound):
        read_book(str(path))
    path.write_bytes(b"x" * 5000)
    with pytest.raises(Corrupt):
        read_book(str(path))
    CallBook.take(str(path), 8).close()
    assert read_book(str(path))[0] == []
    os.symlink(path, tmp_path / "link")
    with pytest.raises(Exception, match="link"):
        CallBook.take(str(tmp_path / "link"))


def test_ACT_9_two_generations_of_a_worker_never_write_in_one_book(tmp_path: Path) -> None:
    place = Place(str(tmp_path), str(tmp_path / "run"))
    place._memory = str(tmp_path / "run")
    [old] = make_books(place, "tools", 1)
    old.sent(old.begin("shop/a", "pay", "i:1", {}, ""))
    [new] = make_books(place, "tools", 1)
    assert (old.path, new.path) == (f"{place.calls}/tools.0", f"{place.calls}/tools.0.1")
    new.sent(new.begin("shop/a", "pay", "i:2", {}, ""))
    with pytest.raises(Busy):
        CallBook.take(old.path)
    calls, _, problems = all_calls(place, parse_scope("shop"))
    assert [(row.ident, row.state) for _, row in calls] == [
        ("i:1", State.SENT), ("i:2", State.SENT),
    ]  # fmt: skip
    assert problems == []
    old.close()
    [third] = make_books(place, "tools", 1)
    assert third.path == old.path
    assert [row.state for row in third.rows()] == [State.UNKNOWN]
    for book in (new, third):
        book.close()
    Path(place.calls).chmod(0o777)
    with pytest.raises(Storage, match="others"):
        make_books(place, "tools", 1)
