"""The latch's two copies: what was latched is found again, whatever happened to them (SR-16)."""

from __future__ import annotations

import errno
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from disk import freezable, frozen
from latch_bench import Bench, bench, keep, reset, stop
from needs import needs_root
from offswitch.clock import SimulatedClock
from offswitch.model.level import Level
from offswitch.warden.keeper.left import left_orders
from offswitch.warden.keeper.orders import PREFIX
from offswitch.warden.latch import records
from offswitch.warden.latch.store import LatchStore
from scale import runs
from small_tmpfs import fill, small_tmpfs


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path / "home") as made:
        yield made


def test_SR_16_what_was_noted_survives_a_crash_and_what_is_durable_a_reboot(place: Bench) -> None:
    store, loaded = place.load()
    assert (len(loaded.latch), loaded.damage) == (0, None)
    keep(store, stop("shop/eu"), stop("tenant=acme", level=Level.FREEZE))
    store.note(stop("shop/us"))  # and the warden is killed before it could sync
    assert not store.durable(stop("shop/us").digest)
    assert place.latched() == {"shop/eu", "tenant=acme", "shop/us"}
    place.reboot()
    assert place.latched() == {"shop/eu", "tenant=acme", "shop/us"}
    store.close()


def test_SR_16_a_stop_is_not_durable_before_it_is_in_the_file_synced(place: Bench) -> None:
    store, _ = place.load()
    store.note(stop("shop"))
    assert not store.durable(stop("shop").digest)
    place.reboot()
    other = Bench(Path(place.place.home))
    assert other.latched() == set(), "nobody said that it was durable"
    other.close()
    keep(store, stop("shop/a"))
    assert store.durable(stop("shop").digest)
    store.close()


def test_SR_16_a_reset_counts_only_once_it_is_durable(place: Bench) -> None:
    store, _ = place.load()
    keep(store, stop("shop"), stop("other"))
    store.note(reset("shop", stop("shop")))
    assert place.latched() == {"shop", "other"}, "a lost reset is a needless stop"
    store.close()
    store, _ = place.load()
    keep(store, reset("shop", stop("shop")))
    assert place.latched() == {"other"}
    place.reboot()
    assert place.latched() == {"other"}
    store.close()


def test_SR_16_a_late_copy_of_a_cleared_stop_stays_cleared(place: Bench) -> None:
    store, _ = place.load()
    keep(store, stop("shop"))
    copy = Path(place.place.live_latch).read_bytes()
    keep(store, reset("shop", stop("shop")))
    store.close()
    Path(place.place.live_latch).write_bytes(copy)
    assert place.latched() == set()


def test_SR_19_an_order_that_is_known_already_changes_nothing(place: Bench) -> None:
    store, _ = place.load()
    keep(store, stop("shop"))
    size = len(Path(place.place.latch).read_bytes().rstrip(b"\0"))
    for _ in range(1000):
        store.note(stop("shop"))
    store.sync()
    keep(store, stop("other"))
    text = Path(place.place.latch).read_bytes()
    assert text.count(b'"scope":"shop"') == 1
    assert len(text.rstrip(b"\0")) < 2 * size
    store.close()


def test_SR_17_cleared_digests_are_kept_for_thirty_days_and_not_for_ever(place: Bench) -> None:
    day = 86_400 * 1_000_000
    begin = 1_700_000_000_000_000
    store, _ = place.load()
    keep(store, stop("shop"), stop("other"), reset("shop", stop("shop"), when_us=begin))
    store.close()
    for days, kept in ((29, True), (31, False)):
        clock = SimulatedClock(begin + days * day)
        store = LatchStore(place.place, clock)
        loaded = store.load()
        assert {live.stop.scope.text for live in loaded.latch} == {"other"}
        assert (stop("shop").digest in loaded.latch.cleared) is kept
        store.close()
        text = Path(place.place.latch).read_bytes()
        assert (stop("shop").digest.encode() in text) is kept


def test_SR_17_thousands_of_stops_and_resets_make_no_endless_file(place: Bench) -> None:
    store, _ = place.load()
    live = [stop(f"kept/{number}") for number in range(50)]
    keep(store, *live)
    for number in range(40):
        batch = [stop(f"shop/{each}", f"{number}") for each in range(50)]
        keep(store, *batch)
        keep(store, reset("shop", *batch))
    assert place.latched() == {each.scope.text for each in live}
    cleared = 40 * 50
    assert os.path.getsize(place.place.latch) < 4 * cleared * 130 + (1 << 18)
    store.close()


def test_SR_16_ten_thousand_live_stops_fit_in_both_copies(place: Bench) -> None:
    count = runs(10_000)
    store, _ = place.load()
    stops = [stop(f"shop/{number}") for number in range(count)]
    for each in stops:
        store.note(each)
    keep(store, stop("last"))
    assert len(place.latched()) == count + 1
    place.reboot()
    assert len(place.latched()) == count + 1
    store.close()


# --- damage ---------------------------------------------------------------------------


def _kept(place: Bench) -> Path:
    """Lay down a file of three stops and a reset, as after a reboot; give its path."""
    store, _ = place.load()
    keep(store, stop("shop/eu"), stop("shop/us"), stop("lab"))
    keep(store, reset("lab", stop("lab")))
    store.close()
    place.reboot()
    return Path(place.place.latch)


def _used(path: Path) -> int:
    return len(path.read_bytes().rstrip(b"\0"))


def test_SR_16_any_flipped_bit_latches_everything_or_changes_nothing(
    place: Bench, rng: random.Random
) -> None:
    path = _kept(place)
    good = path.read_bytes()
    for _ in range(runs(2000)):
        bad = bytearray(good)
        bad[rng.randrange(_used(path))] ^= 1 << rng.randrange(8)
        found = records.read(bytes(bad))
        assert found.damage is not None or found.torn, "it is seen"
    for _ in range(runs(100)):
        bad = bytearray(good)
        bad[rng.randrange(len(good))] ^= 1 << rng.randrange(8)
        path.write_bytes(bad)
        assert place.latched() >= {"/"}, "and means that everything is latched"
        place.reboot()
        for old in path.parent.glob("latch.damaged*"):
            old.unlink()


def test_SR_16_truncation_at_any_length_latches_everything(
    place: Bench, rng: random.Random
) -> None:
    path = _kept(place)
    good = path.read_bytes()
    for length in (0, 1, len(records.HEAD), _used(path) - 1, _used(path), len(good) - 1):
        assert records.read(good[:length]).damage is not None
    for _ in range(runs(60)):
        path.write_bytes(good[: rng.randrange(len(good))])
        assert "truncated" in str(place.damage())
        place.reboot()


@pytest.mark.parametrize("what", ["deleted", "swapped", "repeated", "inserted", "hole", "foreign"])
def test_SR_16_a_line_that_is_not_where_it_was_latches_everything(place: Bench, what: str) -> None:
    path = _kept(place)
    data = path.read_bytes()
    head, one, two, three, *rest = data.rstrip(b"\0").split(b"\n")
    lines = {
        "deleted": [head, one, three],
        "swapped": [head, two, one, three],
        "repeated": [head, one, two, two, three],
        "inserted": [head, one, two, records.line(9, {"kind": "odd"})[:-1], three],
        "hole": [head, one, bytes(len(two)), three],
        "foreign": [
            head,
            one,
            two,
            three,
            *rest[:-1],
            records.line(5, {"v": 9, "kind": "new"})[:-1],
        ],
    }[what]
    path.write_bytes((b"\n".join(lines) + b"\n").ljust(len(data), b"\0"))
    assert "line" in str(place.damage())


def _remove(path: Path) -> None:
    path.unlink()


def _as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _as_link(path: Path) -> None:
    moved = path.rename(path.with_name("moved"))
    path.symlink_to(moved)


def _as_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _as_strangers(path: Path) -> None:
    needs_root()
    os.chown(path, 47_111, -1)


@pytest.mark.parametrize("spoil", [_remove, _as_folder, _as_link, _as_fifo, _as_strangers])
def test_SR_16_a_file_that_is_no_file_of_ours_latches_everything(
    place: Bench, spoil: Callable[[Path], None]
) -> None:
    path = _kept(place)
    (path.parent / "ledger").mkdir()
    (path.parent / "ledger" / "ledger.db").touch()  # something was recorded here once
    spoil(path)
    assert str(path) in str(place.damage())


def test_SR_16_a_copy_that_is_damaged_latches_everything_too(place: Bench) -> None:
    store, _ = place.load()
    keep(store, stop("shop"))
    store.close()
    copy = Path(place.place.live_latch)
    bad = bytearray(copy.read_bytes())
    bad[30] ^= 1
    copy.write_bytes(bad)
    assert str(copy) in str(place.damage())
    assert place.latched() >= {"/", "shop"}


def test_SR_16_the_stop_of_everything_is_one_is_kept_and_can_be_reset(place: Bench) -> None:
    path = _kept(place)
    data = bytearray(path.read_bytes())
    data[60] ^= 0xFF
    path.write_bytes(data)
    store, loaded = place.load()
    assert loaded.damage is not None
    [everything] = [live.stop for live in loaded.latch if live.stop.scope.text == "/"]
    assert everything.by == "warden"
    assert str(path) in everything.reason
    assert "line 2" in everything.reason
    assert list(path.parent.glob("latch.damaged-*")), "the damaged one is kept to be looked at"
    store.close()
    for _ in range(3):  # wardens come and go
        store, loaded = place.load()
        assert loaded.damage is None
        assert [live.stop for live in loaded.latch if live.stop.scope.text == "/"] == [everything]
        store.close()
    store, loaded = place.load()
    keep(store, reset("/", *(live.stop for live in loaded.latch)))
    store.close()
    place.reboot()
    assert place.latched() == set()


def test_SR_16_a_line_that_was_cut_off_is_forgiven_if_the_copy_has_it_whole(place: Bench) -> None:
    store, _ = place.load()
    keep(store, stop("shop/eu"))
    store.note(stop("shop/us"))
    whole = records.line(2, stop("shop/us").wire())
    path = Path(place.place.latch)
    data = path.read_bytes()
    used = _used(path)
    for cut in (1, 8, 20, len(whole) - 1):
        path.write_bytes((data[:used] + whole[:cut]).ljust(len(data), b"\0"))
        place_copy = Path(place.place.live_latch).read_bytes()
        assert place.latched() == {"shop/eu", "shop/us"}
        path.write_bytes((data[:used] + whole[:cut]).ljust(len(data), b"\0"))
        place.reboot()
        assert "cut off" in str(place.damage()), "without the copy nobody knows what it was"
        path.write_bytes(data)
        Path(place.place.live_latch).write_bytes(place_copy)
    store.close()


# --- disks that are full, broken or hang ----------------------------------------------


def test_SR_16_a_full_disk_takes_nothing_away(tmp_path: Path) -> None:
    needs_root()
    with small_tmpfs(tmp_path / "home", 4 << 20) as home, bench(home) as place:
        store, _ = place.load()
        keep(store, stop("shop/a"))
        ballast = fill(home)
        keep(store, *(stop(f"full/{number}") for number in range(200)))
        assert store.problem is None, "there was room that nobody could take"
        more = [stop(f"more/{number}") for number in range(2000)]
        for each in more:
            store.note(each)
            store.sync()
        end = time.monotonic() + 10
        while store.problem is None and time.monotonic() < end:
            time.sleep(0.01)
        assert "No space left" in str(store.problem)
        assert not all(store.durable(each.digest) for each in more)
        again, loaded = place.load()
        assert len(loaded.latch) == 2201, "a crash now loses none of them"
        assert loaded.damage is None
        again.close()
        ballast.unlink()
        keep(store, *more)
        assert store.problem is None
        store.close()
        place.reboot()
        assert len(place.latched()) == 2201


def test_SR_16_a_full_tmpfs_holds_up_no_stop(tmp_path: Path) -> None:
    needs_root()
    with small_tmpfs(tmp_path / "run", 1 << 20) as run:
        place = Bench(tmp_path / "home")
        shutil.rmtree(place.run)
        place.run = str(run)
        place.place = type(place.place)(place.place.home, place.run)
        fill(run)
        store, loaded = place.load()
        assert len(loaded.latch) == 0
        assert str(run) in str(store.problem)
        keep(store, stop("shop"))
        assert place.latched() == {"shop"}
        store.close()


def test_REC_3_a_hung_disk_hangs_no_stop(tmp_path: Path) -> None:
    """The disk is a real one, frozen."""
    with freezable(tmp_path / "home", tmp_path / "disk") as home, bench(home) as place:
        store, _ = place.load()
        keep(store, stop("shop/a"))
        with frozen(home):
            slowest = 0.0
            for number in range(100):
                began = time.perf_counter()
                store.note(stop(f"hung/{number}"))
                store.sync()
                slowest = max(slowest, time.perf_counter() - began)
            time.sleep(0.1)
            assert slowest < 0.1, "no call waited for the disk"
            assert not store.durable(stop("hung/0").digest)
            while store.problem is None:
                time.sleep(0.1)
            assert "has not answered" in str(store.problem)
        keep(store, stop("shop/b"))
        assert store.problem is None
        assert all(store.durable(stop(f"hung/{number}").digest) for number in range(100))
        store.close()


def test_a_disk_that_says_no_at_the_start_is_a_problem_and_no_reason_not_to_serve(
    tmp_path: Path,
) -> None:
    needs_root()
    with small_tmpfs(tmp_path / "home", 1 << 16) as home, bench(home) as place:
        fill(home)
        store = LatchStore(place.place)
        store._disk.wait = lambda _patience: None  # type: ignore[method-assign] # five seconds
        assert store.load().damage is None
        store.note(stop("shop"))
        store.sync()
        end = time.monotonic() + 10
        while store.problem is None and time.monotonic() < end:
            time.sleep(0.01)
        assert "No space left" in str(store.problem)
        store.close()


def test_SR_22_orders_that_want_of_a_descriptor_hides_are_never_taken_for_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen: the last descriptor opened the file, and its reading failed for want of another."""
    kept = records.Preallocated(f"{tmp_path}/{PREFIX}1.1", records.BLOCK)
    kept.append(stop("a").wire())
    assert [order.scope.text for order in left_orders(str(tmp_path))] == ["a"]

    def no_more(_data: bytes) -> records.Read:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(records, "read", no_more)
    with pytest.raises(OSError, match="no descriptor"):
        left_orders(str(tmp_path))
    kept.close()
