"""Fuzzing what lies on disk and in memory: page, ring, latch, records of cells, ledger."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fuzz.mutations import JSON, JUNK, broken, budget
from installation import Installation
from latch_bench import Bench, reset, stop
from offswitch.control.journal import Ring
from offswitch.control.page import FIRST_WORD, MAGIC, PAGE_SIZE, PageReader
from offswitch.errors import OffswitchError
from offswitch.guard import Guard, Stopped
from offswitch.ledger.verifier import Verdict, verify
from offswitch.model.wire import canonical
from offswitch.warden.keeper.left import left_orders
from offswitch.warden.latch import records
from recordings import Home

BODIES = [stop("shop/eu").wire(), stop("lab").wire(), reset("lab", stop("lab")).wire()]
LINES = records.HEAD + b"".join(records.line(n, body) for n, body in enumerate(BODIES, 1))
JSON_FILE = JUNK | JSON.map(lambda value: json.dumps(value).encode())


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="offswitch-test-", dir="/dev/shm"))
    yield path
    shutil.rmtree(path)


# --- the page ---------------------------------------------------------------------


@budget(1_000)
@given(
    head=st.binary(max_size=200),
    size=st.sampled_from([0, 7, 4096, PAGE_SIZE - 1, PAGE_SIZE]),
    word=st.text(max_size=8) | st.integers(-3, 1 << 20).map(str),
)
@example(head=MAGIC, size=PAGE_SIZE, word="0")
@example(head=MAGIC + b"\xff" * 190, size=PAGE_SIZE, word="3")
@example(head=MAGIC + b"\0" * 56 + b"\0\0\0\0\0\0\xf8\x7f" * 8, size=PAGE_SIZE, word="0")
def test_SR_21_any_page_but_a_fresh_one_of_this_boot_says_stop(
    folder: Path, head: bytes, size: int, word: str
) -> None:
    path = folder / "page"
    path.write_bytes(head[:size].ljust(size, b"\0"))
    guard = Guard.from_page(str(path), word)
    assert not guard.allowed()
    with pytest.raises(Stopped):
        guard.check()
    with contextlib.suppress(OSError, ValueError):
        reader = PageReader(str(path))
        reader.lease_left_ns()
        assert reader.word(-1) == reader.word(1 << 40) == 0
        assert len(reader.words) > FIRST_WORD
        reader.close()


# --- the ring ---------------------------------------------------------------------


def ring_bytes(folder: Path, payloads: list[bytes]) -> bytes:
    path = folder / "good"
    ring = Ring.take(str(path), 1 << 12)
    for payload in payloads:
        ring.append(payload)
    ring.close()
    data = path.read_bytes()
    path.unlink()
    return data


@budget(600)
@given(data=st.data())
def test_REC_3_a_garbled_ring_gives_nothing_that_was_not_written(
    folder: Path, data: st.DataObject
) -> None:
    payloads = [b"entry %d " % number * (number % 9 + 1) for number in range(12)]
    bad = bytearray(ring_bytes(folder, payloads))
    places = st.integers(0, 300) | st.integers(2048, 2100) | st.integers(4096, len(bad) - 1)
    for at in data.draw(st.lists(places, min_size=1, max_size=6)):
        bad[at] = data.draw(st.integers(0, 255))
    path = folder / "journal"
    path.write_bytes(bad[: data.draw(st.sampled_from([len(bad)] * 9 + [4000, 0]))])
    with contextlib.suppress(OffswitchError):
        consumer = Ring.open(str(path))
        assert {payload for _seq, payload in consumer.read()} <= set(payloads)
        consumer.close()
    producer = Ring.take(str(path), 1 << 12)
    number = producer.append(b"after")
    consumer = Ring.open(str(path))
    assert (number, b"after") in consumer.read(), "and the next record is read"
    consumer.close()
    producer.close()


# --- the latch --------------------------------------------------------------------


@budget(400)
@given(data=broken(LINES) | JUNK, block=st.booleans())
@example(data=LINES.replace(b"kill", b"rest", 1), block=True)
@example(data=records.HEAD + records.line(1, []) + records.line(2, {"kind": "cleared"}), block=True)
def test_SR_16_a_damaged_latch_latches_everything_or_was_not_damaged(
    tmp_path: Path,
    data: bytes,
    block: bool,  # noqa: FBT001 - drawn
) -> None:
    bench = Bench(tmp_path / "home")
    try:
        whole = data.ljust(records.BLOCK, b"\0") if block else data
        Path(bench.place.latch).write_bytes(whole)
        latched = bench.latched()
        same = whole.rstrip(b"\0") == LINES.rstrip(b"\0")
        assert "/" in latched or (same and latched == {"shop/eu"}) or torn(whole), latched
    finally:
        shutil.rmtree(bench.run)
        for each in (tmp_path / "home").iterdir():
            each.unlink()


def torn(data: bytes) -> bool:
    """Whether it is as a crash leaves it: whole lines, as they were written."""
    found = records.read(data)
    good = [canonical(body) for body in BODIES]
    return (
        found.damage is None and [canonical(b) for b in found.bodies] == good[: len(found.bodies)]
    )


@budget(1_000)
@given(data=broken(LINES).map(lambda lines: lines.ljust(records.BLOCK, b"\0")) | JUNK)
def test_SR_22_garbled_orders_of_a_keeper_stop_or_are_nothing(folder: Path, data: bytes) -> None:
    (folder / "keeper-orders.1.2").write_bytes(data)
    for order in left_orders(str(folder), "/nonexistent"):
        assert order.scope.text in {"shop/eu", "lab"}, "nothing that was not ordered"


# --- what the next warden finds ---------------------------------------------------

FACTS = st.fixed_dictionaries(
    {"target": st.just("a/b") | JSON},
    optional={
        "facts": JSON,
        "slot": JSON,
        "leader": JSON,
        "uid": JSON,
        "labels": JSON,
        "kind": JSON,
        "log": JSON,
        "since_us": JSON,
    },
)
CELLS = st.fixed_dictionaries(
    {"cells": st.lists(FACTS, max_size=3)},
    optional={
        "remains": st.dictionaries(st.just("a/b") | st.text(max_size=5), JSON, max_size=2),
        "slots": st.dictionaries(st.just("a/b"), JSON),
        "page": JSON | st.tuples(st.integers(), st.integers()),
    },
).map(lambda value: json.dumps(value).encode())
ADOPTED = b'[{"target": "a/b", "kind": "unit", "value": "a.service"}]'


@budget(60)
@given(
    cells=CELLS | JSON_FILE,
    declared=JSON_FILE,
    watched=JSON_FILE,
    adopted=JSON_FILE | st.just(ADOPTED),
    latch=broken(LINES),
)
@example(
    cells=b"[" * 100_000,
    declared=b"[" * 100_000,
    watched=b"[" * 100_000,
    adopted=b"[" * 100_000,
    latch=LINES,
)
@example(
    cells=b'{"cells": [{"target": "a", "facts": "x"}, {"target": "b", "facts": {"rung": 1}}]}',
    declared=b'[{"name": "a", "labels": {"x": []}}]',
    watched=b"[1, null]",
    adopted=b"[1]",
    latch=LINES,
)
@example(
    cells=b'{"cells": [{"target": "a", "leader": 9999999999999999999999}],'
    b' "remains": {"a": {"name": "c", "cgroup_id": -1, "uid": 1, "own_uid": false}},'
    b' "slots": {"a/b": 99999999999}, "page": [1e30, 1]}',
    declared=b'{"a": 1}',
    watched=b"7",
    adopted=ADOPTED,
    latch=LINES[:40],
)
def test_RST_1_a_warden_comes_up_over_whatever_was_left_and_is_latched(
    tmp_path_factory: pytest.TempPathFactory,
    cells: bytes,
    declared: bytes,
    watched: bytes,
    adopted: bytes,
    latch: bytes,
) -> None:
    one = Installation(tmp_path_factory.mktemp("left"))
    home, memory = Path(one.home), Path(one.place.memory)
    home.mkdir()
    (home / "targets").mkdir(mode=0o700)
    (home / "targets" / "a%2Fb.json").write_bytes(cells)
    (memory / "cells.json").write_bytes(cells)
    (home / "declared.json").write_bytes(declared)
    (home / "watched.json").write_bytes(watched)
    (home / "adopted.json").write_bytes(adopted)
    (home / "latch").write_bytes(latch.ljust(records.BLOCK, b"\0"))
    try:
        one.start()
        scopes = {each["scope"] for each in one.status()["latched"]}
        assert scopes & {"/", "shop/eu"}, "what was latched is, or everything"
        assert one.press("/")["accepted"], "nothing of it is in the way of a stop"
        with contextlib.suppress(OffswitchError):
            one.ask({"op": "start", "target": "a/b"})
    finally:
        one.close()


# --- the ledger -------------------------------------------------------------------


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(tmp_path_factory.mktemp("ledger"))
    home.fill(300)
    return home


@budget(400)
@given(data=st.data())
def test_REC_1_a_ledger_with_any_bytes_changed_is_never_more_than_it_was(
    ledger: Home, data: st.DataObject, tmp_path: Path
) -> None:
    good = Path(ledger.paths.database).read_bytes()
    bad = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(bad) - 1) | st.integers(0, 200))
        put = data.draw(st.binary(min_size=1, max_size=64))
        bad[at : at + len(put)] = put
    path = tmp_path / "ledger.db"
    path.write_bytes(bad[: data.draw(st.sampled_from([len(bad)] * 9 + [4096, 100]))])
    outcome = verify(str(path), ledger.vkey, ledger.heads())
    assert outcome.verdict is not Verdict.VERIFIED, "no witness was brought"
    if outcome.verdict is Verdict.UNWITNESSED:
        assert outcome.entries == 300, "all of it, or it is not what was signed"
    if outcome.verdict is Verdict.CORRUPT:
        assert outcome.where
