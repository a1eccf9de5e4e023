"""The latch under a flood: what it holds stays small, and nothing that was stopped is let go."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from disk import mounted
from latch_bench import INSTALLATION, Bench, bench, keep, stop
from needs import needs_root
from offswitch.control.place import Place
from offswitch.model.latch import Latch
from offswitch.model.level import Level
from offswitch.model.order import Reset, Stop
from offswitch.model.scope import Scope
from offswitch.model.target import Target
from offswitch.warden.latch.store import LatchStore, glance
from offswitch.warden.merging import MOST_LIVE
from scale import runs
from small_tmpfs import fill, small_tmpfs

SECOND = 1_000_000
BEGIN = 1_700_000_000 * SECOND


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path / "home") as made:
        yield made


def press(number: int) -> Stop:
    """One press of the flood: a third is distinct, a third of many issuers, a third is equal."""
    scope = (f"flood/{number % 7}/{number}", f"shop/{number % 50}", "shop/eu/checkout")[number % 3]
    by = f"uid:{number % 900}" if number % 3 == 1 else "uid:1"
    nonce, when = f"{number:032x}", BEGIN + number * 1000
    return Stop(INSTALLATION, Scope(scope), Level.KILL, by, "cli", nonce, when)


def seen(place: Bench) -> set[str]:
    """What a warden that came up now would find."""
    return {live.stop.scope.text for live in glance(place.place).latch}


def admit(latch: Latch, store: LatchStore, stop: Stop) -> str:
    """Take a press in as the warden does."""
    assert latch.fresh(stop)
    digest = latch.admit(stop)
    live = latch.get(digest)
    assert live is not None
    store.note(live.stop)
    store.sync()
    if len(latch) > MOST_LIVE:
        store.stand(latch.merge(MOST_LIVE // 2, stop.time_us))
    return digest


def test_SR_17_a_thousand_stops_a_second_for_an_hour_and_then_a_reset(place: Bench) -> None:
    store, loaded = place.load()
    latch = loaded.latch
    hour = runs(3_600_000)
    for number in range(hour):
        admit(latch, store, press(number))
    assert len(latch) <= MOST_LIVE
    assert sum(live.count for live in latch) == hour, "every press is counted"
    covered = ["flood/3/10000", "shop/49", "shop/eu/checkout", "flood/0/0"]
    assert all(latch.level(Target(name)) is Level.KILL for name in covered)
    assert latch.level(Target("other/one")) is None, "nothing outside is stopped"

    names = tuple(sorted(live.stop.digest for live in latch))
    order = Reset(INSTALLATION, Scope("/"), names, "uid:0", "cli", "n", BEGIN + hour * 1000, "over")
    keep(store, order)
    assert sorted(latch.clear(order)) == sorted(names)
    assert len(latch) == 0
    store.close()
    for path in (place.place.latch, f"{place.place.latch}.spare", place.place.live_latch):
        assert os.path.getsize(path) < 16 << 20
    assert place.latched() == set()
    place.reboot()
    assert place.latched() == set()


def test_SR_17_what_was_merged_is_still_stopped_after_a_crash_and_after_a_reboot(
    place: Bench,
) -> None:
    store, loaded = place.load()
    for number in range(300):
        loaded.latch.admit(one := stop(f"flood/{number}"))
        store.note(one)
    keep(store, stop("shop"))
    loaded.latch.admit(stop("shop"))
    store.stand(loaded.latch.merge(2, BEGIN))
    assert seen(place) >= {"flood", "shop"}, "killed before the file is written anew"
    keep(store, stop("last"))
    assert seen(place) == {"flood", "shop", "last"}
    store.close()
    place.reboot()
    assert place.latched() == {"flood", "shop", "last"}


def test_SR_17_on_a_full_disk_few_stops_are_written_where_many_do_not_fit(tmp_path: Path) -> None:
    needs_root()
    with mounted(tmp_path / "disk", "2m") as disk, bench(tmp_path / "disk" / "home") as place:
        store, loaded = place.load()
        latch = loaded.latch
        keep(store, stop("shop"))
        latch.admit(stop("shop"))
        disk.fill()
        number = 0
        while not store.cramped:
            assert number < 20_000, "the file has grown on a full disk?"
            latch.admit(one := stop(f"flood/{number}"))
            store.note(one)
            store.sync()
            number += 1
        made = latch.merge(2, BEGIN)
        store.stand(made)
        keep(store, made[0].stop)
        assert store.problem is None, "durable, on a disk that is as full as before"
        assert all(store.durable(each.digest) for each in made[0].instead_of)
        store.close()
        place.reboot()
        assert place.latched() == {"shop", "flood"}


def test_SR_17_with_the_memory_full_few_stops_survive_a_crash(tmp_path: Path) -> None:
    needs_root()
    with small_tmpfs(tmp_path / "run", 6 << 20) as run:
        (tmp_path / "home").mkdir()
        place = Place(str(tmp_path / "home"), str(run))
        store = LatchStore(place)
        loaded = store.load()
        latch = loaded.latch
        fill(run)
        number = 0
        while not store.cramped:
            assert number < 50_000, "the copy has grown on a full tmpfs?"
            latch.admit(one := stop(f"flood/{number}"))
            store.note(one)
            number += 1
            if number % 100 == 0:
                store.sync()
        store.stand(latch.merge(1, BEGIN))
        assert len(latch) == 1
        assert "flood" in {live.stop.scope.text for live in glance(place).latch}
        assert len(glance(place).latch) > 1, "it holds what was there, too: more, not less"
        store.close()
