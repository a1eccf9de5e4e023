from __future__ import annotations

import math
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offswitch.errors import Corrupt
from offswitch.watch.readings.block import Block, decode, encode
from offswitch.watch.readings.store import Store, blocks_of

ONE = ("shop/agent", "engine.load")
DAY_US = 86_400_000_000


def block(begin: int, count: int = 500, step: int = 1_000_000) -> Block:
    times = [begin + at * step for at in range(count)]
    return Block(times, [math.sin(at) * 1e6 for at in times], {})


@given(
    st.lists(st.integers(0, 2**61), max_size=50),
    st.dictionaries(st.integers(0, 60), st.dictionaries(st.text(), st.text(), max_size=3)),
)
def test_a_block_comes_back_as_it_was(times: list[int], details: dict[int, dict[str, str]]) -> None:
    details = {at: one for at, one in details.items() if at < len(times)}
    values = [math.nan if at % 3 == 0 else at * 0.1 for at in range(len(times))]
    back = decode(encode(Block(times, values, details)))
    assert back.times_us == times
    assert [repr(one) for one in back.values] == [repr(one) for one in values]
    assert back.details == details


@given(st.binary(max_size=200))
def test_what_is_no_block_is_corrupt(data: bytes) -> None:
    for given_ in (data, b"OSR1" + data, encode(block(0, 3))[:-5] + data):
        try:
            decode(given_)
        except Corrupt:
            continue


def test_a_block_that_inflates_without_end_is_corrupt() -> None:
    big = Block(list(range(90_000)), [0.0] * 90_000, {0: {"x": "y" * (9 << 20)}})
    with pytest.raises(Corrupt):
        decode(encode(big))


def test_what_is_asked_for_is_what_was_kept_in_that_time(tmp_path: Path) -> None:
    store = Store(str(tmp_path), 64 << 20, 10 * DAY_US)
    for begin in range(0, 10_000, 500):
        kept = {ONE: block(begin * 1_000_000), ("other", "x.y"): block(begin * 1_000_000, 3)}
        store.append(kept, 10_000_000_000)
    store.close()
    found = list(blocks_of(str(tmp_path), {ONE}, 2_250_000_000, 3_100_000_000))
    assert {series for series, _data in found} == {ONE}
    assert [decode(data).times_us[0] // 1_000_000 for _s, data in found] == [2000, 2500, 3000]
    assert len(list(blocks_of(str(tmp_path), None, 0, DAY_US))) == 40


def test_its_file_never_outgrows_its_bound_and_the_newest_stays(tmp_path: Path) -> None:
    size = 4 << 20
    store = Store(str(tmp_path), size, 1000 * DAY_US)
    for begin in range(3_000):
        store.append({ONE: block(begin * 500_000_000)}, begin * 500_000_000)
    store.close()
    assert os.stat(tmp_path / "data.mdb").st_size <= size
    begins = [decode(data).times_us[0] for _s, data in blocks_of(str(tmp_path), None, 0, 2**62)]
    assert begins[-1] == 2_999 * 500_000_000
    assert 100 < len(begins) < 2_900
    assert not store.begun_anew


def test_what_is_too_old_goes(tmp_path: Path) -> None:
    store = Store(str(tmp_path), 16 << 20, DAY_US)
    for day in range(4):
        store.append({ONE: block(day * DAY_US)}, day * DAY_US)
    store.close()
    begins = [decode(data).times_us[0] for _s, data in blocks_of(str(tmp_path), None, 0, 2**62)]
    assert begins == [2 * DAY_US, 3 * DAY_US]


def test_a_store_that_is_damaged_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "data.mdb").write_bytes(os.urandom(100_000))
    store = Store(str(tmp_path), 16 << 20, DAY_US)
    assert store.begun_anew
    store.append({ONE: block(0)}, 0)
    store.close()
    assert len(list(blocks_of(str(tmp_path), None, 0, 2**62))) == 1
