"""What has changed between two looks at a table, and what its numbers amount to."""

from __future__ import annotations

import math
import os
import statistics
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offswitch.watch.evidence import KEPT, Evidence, read_changes
from offswitch.watch.rows.shadow import Change, Key, Layout, Row, Rows, Totals, diff

LAYOUT = Layout(("id", "item", "price"), (0,), (2,))
VALUES = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.text(max_size=5),
    st.binary(max_size=5),
)
TABLES = st.dictionaries(
    st.integers(0, 12), st.tuples(st.text("ab", max_size=2), st.integers(0, 3))
)


def _rows(table: dict[int, tuple[str, int]]) -> Rows:
    rows: dict[Key, Row] = {key: (key, *rest) for key, rest in table.items()}
    return Rows(LAYOUT, rows)


@given(TABLES, TABLES)
def test_a_diff_is_what_turns_the_one_table_into_the_other(
    old: dict[int, tuple[str, int]], new: dict[int, tuple[str, int]]
) -> None:
    result = diff("prices", _rows(old), _rows(new))
    assert result.inserted == len(new.keys() - old.keys())
    assert result.deleted == len(old.keys() - new.keys())
    assert result.changed == sum(old[key] != new[key] for key in old.keys() & new.keys())
    built = dict(_rows(new).rows)
    for change in result.changes:  # undo: before-images are enough to repair
        if change.before is None:
            del built[change.key]
        else:
            built[change.key] = change.before
    assert built == dict(_rows(old).rows)


def test_a_table_that_goes_takes_all_its_rows_and_one_that_comes_brings_them() -> None:
    table = _rows({1: ("a", 1), 2: ("b", 2)})
    assert diff("prices", table, None).deleted == 2
    assert diff("prices", None, table).inserted == 2
    assert diff("prices", None, None).changes == ()


def test_another_shape_is_all_rows_gone_and_all_rows_new() -> None:
    other = Rows(Layout(("id", "price"), (0,), (1,)), {1: (1, 5)})
    result = diff("prices", _rows({1: ("a", 1), 2: ("b", 2)}), other)
    assert (result.deleted, result.inserted, result.changed) == (2, 1, 0)


def test_of_totals_only_the_net_count_is_known() -> None:
    old, new = Totals(LAYOUT, 100, {}, "too many"), Totals(LAYOUT, 70, {}, "too many")
    assert diff("prices", old, new).deleted == 30
    assert diff("prices", new, old).inserted == 30
    assert diff("prices", old, new).changed is None
    assert diff("prices", _rows({1: ("a", 1)}), new).inserted == 69


@given(st.lists(VALUES, max_size=30))
def test_statistics_are_those_of_the_finite_numbers(values: list[object]) -> None:
    rows: dict[Key, Row] = {n: (n, "x", value) for n, value in enumerate(values)}  # type: ignore[dict-item]
    column = Rows(LAYOUT, rows).statistics()["price"]
    numbers = [float(v) for v in values if isinstance(v, int | float) and math.isfinite(v)]
    assert column.nulls == values.count(None)
    assert column.odd == len(values) - len(numbers) - column.nulls
    if not numbers:
        assert math.isnan(column.mean)
    else:
        assert (column.low, column.high) == (min(numbers), max(numbers))
        if max(map(abs, numbers)) < 1e100:
            assert column.mean == pytest.approx(statistics.fmean(numbers))
            assert column.spread == pytest.approx(statistics.pstdev(numbers), rel=1e-6, abs=1e-9)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path / "evidence.jsonl", os.O_RDWR | os.O_CREAT, 0o600)
    yield fd
    os.close(fd)


def _read(fd: int) -> list[tuple[int, Change]]:
    return read_changes(os.pread(fd, 1 << 30, 0))


@given(st.lists(st.tuples(VALUES, VALUES, VALUES), max_size=8))
def test_a_before_image_survives_the_file_with_its_type(rows: list[tuple[object, ...]]) -> None:
    fd = os.memfd_create("evidence")
    changes = [
        Change("t\n\ud800", "changed", ("a", "b", "c"), row[0], row, None)  # type: ignore[arg-type]
        for row in rows
    ]
    try:
        Evidence(fd).keep(5, changes)
        read = [change for _when, change in _read(fd)]
    finally:
        os.close(fd)
    assert [repr(change) for change in read] == [repr(change) for change in changes]


def test_the_last_ten_thousand_changes_are_kept_and_the_file_stays_small(file: int) -> None:
    evidence = Evidence(file)
    batch = [Change("t", "deleted", ("id",), n, (n,), None) for n in range(1500)]
    for when in range(20):
        evidence.keep(when, batch)
    kept = _read(file)
    assert KEPT <= len(kept) <= 2 * KEPT
    assert kept[-1] == (19, batch[-1])
    again = Evidence(file)
    again.keep(99, batch[:1])
    assert len(_read(file)) >= KEPT
    assert _read(file)[-1] == (99, batch[0])


def test_rows_however_large_fill_neither_the_disk_nor_the_eye(
    file: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("offswitch.watch.evidence.KEPT_BYTES", 100_000)
    evidence = Evidence(file)
    large = [Change("t", "changed", ("id", "x"), n, (n, "x" * 9000), None) for n in range(5)]
    for when in range(30):
        evidence.keep(when, large)
        assert os.fstat(file).st_size < 300_000
        assert sum(map(len, evidence._lines)) <= 100_000
    assert not evidence.problem
    assert _read(file)[-1] == (29, large[-1])
    evidence.keep(31, large * 20)
    assert "too large" in evidence.problem
    os.pwrite(file, b"x" * 500_000 + b"\n", os.fstat(file).st_size)
    Evidence(file).keep(32, large[:1])
    assert os.fstat(file).st_size < 300_000, "a file that has grown too long is cut at the start"


def test_a_file_that_a_full_disk_has_cut_is_read_up_to_there_and_gone_on_with(file: int) -> None:
    Evidence(file).keep(1, [Change("t", "deleted", ("id",), n, (n,), None) for n in range(10)])
    os.ftruncate(file, os.fstat(file).st_size - 7)
    assert len(_read(file)) == 9
    Evidence(file).keep(2, [Change("t", "deleted", ("id",), 77, (77,), None)])
    assert _read(file)[-1][1].key == 77


def test_a_full_disk_is_a_problem_and_no_exception() -> None:
    fd = os.open("/dev/full", os.O_RDWR)
    try:
        evidence = Evidence.__new__(Evidence)
        evidence._fd, evidence.problem, evidence._lines = fd, "", deque()
        evidence._bytes = evidence._written = evidence._written_bytes = 0
        evidence.keep(1, [Change("t", "deleted", ("id",), 1, (1,), None)])
        assert "lost" in evidence.problem
    finally:
        os.close(fd)
