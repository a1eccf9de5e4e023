"""The page: preallocated, one inode for a boot, and *stop* whenever anything is off (SR-21)."""

from __future__ import annotations

import os
import random
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from needs import needs_root
from offswitch.control import page
from offswitch.control.page import RUN, PageReader, word_of_level
from offswitch.control.place import Place
from offswitch.errors import Busy, Refused, Storage
from offswitch.guard import Guard
from offswitch.model.level import Level
from offswitch.warden.page_writer import PageWriter
from small_tmpfs import fill, small_tmpfs


@pytest.fixture
def place(tmp_path: Path) -> Place:
    folder = f"/dev/shm/offswitch-test-{os.getpid()}-{random.getrandbits(40):x}"
    os.mkdir(folder, 0o711)
    return Place(str(tmp_path), folder)


@pytest.fixture(autouse=True)
def _no_trace(place: Place) -> Iterator[None]:
    yield
    for name in os.listdir(place.run):
        os.unlink(f"{place.run}/{name}")
    os.rmdir(place.run)


def test_a_reader_sees_what_the_writer_sets(place: Place) -> None:
    writer = PageWriter.take(place)
    slot = writer.allot()
    reader = PageReader(place.page)
    assert reader.word(slot) == 0, "a slot is *stop* until its word is set"
    for level in (None, *Level):
        writer.set(slot, word_of_level(level))
        assert reader.word(slot) == writer.word(slot) == word_of_level(level)
    reader.close()
    writer.close()


def test_SR_21_the_page_is_read_only_for_everyone_and_its_folder_is_checked(place: Place) -> None:
    PageWriter.take(place).close()
    info = os.stat(place.page)
    assert stat.S_IMODE(info.st_mode) == 0o444
    assert info.st_size == page.PAGE_SIZE
    os.chmod(place.run, 0o777)
    with pytest.raises(Refused, match="not ours alone"):
        PageWriter.take(place)


def test_SR_21_no_byte_of_the_page_is_missing_though_tmpfs_is_full_afterwards(
    tmp_path: Path,
) -> None:
    needs_root()
    with small_tmpfs(tmp_path / "run", 3 << 20) as run:
        place = Place(str(tmp_path), str(run))
        writer = PageWriter.take(place)
        fill(run)
        reader = PageReader(place.page)
        last = page.SLOTS - 1
        for slot in range(0, page.SLOTS, 256):  # a page that was only truncated would raise SIGBUS
            writer.set(slot, RUN)
            assert reader.word(slot) == RUN
        writer.set(last, RUN)
        assert reader.word(last) == RUN
        writer.renew()
        assert reader.lease_left_ns() > 0
        assert PageWriter.take(place).epoch == 2, "the next warden takes it over, full or not"


def test_SR_21_a_full_tmpfs_gives_no_page_at_all_and_every_guard_stops(tmp_path: Path) -> None:
    needs_root()
    with small_tmpfs(tmp_path / "run", 1 << 20) as run:
        place = Place(str(tmp_path), str(run))
        ballast = fill(run)
        with pytest.raises(Storage, match="no room"):
            PageWriter.take(place)
        assert not Guard.from_page(place.page, 0).allowed()
        inode = os.stat(place.page).st_ino
        ballast.unlink()
        assert PageWriter.take(place).allot() == 0, "and with room again it is taken"
        assert os.stat(place.page).st_ino == inode


def test_SR_21_one_inode_for_a_whole_boot_and_a_raised_epoch(place: Place) -> None:
    first = PageWriter.take(place)
    slot = first.allot()
    first.set(slot, RUN)
    reader = PageReader(place.page)
    inode = os.stat(place.page).st_ino
    for epoch in range(2, 6):
        writer = PageWriter.take(place)
        assert writer.damage is None
        assert writer.epoch == epoch == reader.words[page.WARDEN_EPOCH]
        assert writer.word(slot) == RUN, "what ran goes on"
        assert writer.allot() == slot + epoch - 1, "slots are not used again"
        assert os.stat(place.page).st_ino == inode
    reader.close()


def test_SR_21_a_page_of_an_earlier_boot_counts_for_nothing(place: Place) -> None:
    writer = PageWriter.take(place)
    slot = writer.allot()
    writer.set(slot, RUN)
    os.chmod(place.page, 0o644)
    with open(place.page, "r+b") as file:
        file.seek(16)
        file.write(os.urandom(16))
    again = PageWriter.take(place)
    assert again.word(slot) == 0
    assert again.allot() > slot


@pytest.mark.parametrize("wrong", ["short", "empty", "garbled", "zeros"])
def test_SR_21_a_damaged_page_says_stop_and_reuses_no_slot(place: Place, wrong: str) -> None:
    writer = PageWriter.take(place)
    slots = [writer.allot() for _ in range(5)]
    for slot in slots:
        writer.set(slot, RUN)
    inode = os.stat(place.page).st_ino
    writer.close()
    os.chmod(place.page, 0o644)
    with open(place.page, "r+b") as file:
        if wrong == "short":
            file.truncate(4096)
        elif wrong == "empty":
            file.truncate(0)
        elif wrong == "garbled":
            file.write(os.urandom(64))
        else:
            file.write(bytes(64))
    again = PageWriter.take(place)
    assert os.stat(place.page).st_ino == inode
    assert [again.word(slot) for slot in slots] == [0] * 5
    if wrong != "empty":  # nothing of it is left, and no reader can have lived on
        assert again.damage is not None
        assert again.allot() not in slots


@pytest.mark.parametrize("what", ["link", "folder", "fifo", "hard link"])
def test_what_is_no_page_of_ours_is_refused(place: Place, tmp_path: Path, what: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"precious")
    if what == "link":
        os.symlink(elsewhere, place.page)
    elif what == "folder":
        os.mkdir(place.page)
    elif what == "fifo":
        os.mkfifo(place.page)
    else:
        Path(place.page).touch()
        os.link(place.page, f"{place.run}/other")
    with pytest.raises(Refused, match="remove it"):
        PageWriter.take(place)
    assert elsewhere.read_bytes() == b"precious"
    if what == "folder":
        os.rmdir(place.page)


def test_a_page_or_a_folder_of_somebody_elses_is_refused(place: Place) -> None:
    needs_root()
    Path(place.page).touch()
    os.chown(place.page, 47_111, -1)
    with pytest.raises(Refused, match="remove it"):
        PageWriter.take(place)
    os.chown(place.run, 47_111, -1)
    with pytest.raises(Refused, match="not ours alone"):
        PageWriter.take(place)
    os.chown(place.run, 0, -1)


def test_a_link_in_the_place_of_the_folder_is_refused(place: Place, tmp_path: Path) -> None:
    link = f"{place.run}/link"
    os.symlink(place.run, link)
    with pytest.raises(Refused, match="no folder of ours"):
        PageWriter.take(Place(str(tmp_path), link))


def test_the_page_can_be_used_up_and_then_nothing_new_runs(place: Place) -> None:
    writer = PageWriter.take(place)
    last = page.SLOTS - 1
    writer._words[page.HANDED_OUT] = last  # 131,000 calls would say the same
    assert writer.allot() == last
    for _ in range(2):
        with pytest.raises(Busy, match="reboot"):
            writer.allot()
    with pytest.raises(ValueError, match="slot"):
        writer.set(page.SLOTS, RUN)
    assert writer.word(page.SLOTS) == 0


def test_SR_21_the_lease_lasts_as_long_as_it_says_and_then_every_guard_stops(
    place: Place,
) -> None:
    writer = PageWriter.take(place)
    slot = writer.allot()
    writer.set(slot, RUN)
    guard = Guard.from_page(place.page, slot)
    assert not guard.allowed(), "no lease yet"
    writer.renew(100_000_000)
    assert guard.allowed()
    time.sleep(0.12)
    assert not guard.allowed(), "a clock is compared: no flag can stay green"
    writer.renew()
    reader = PageReader(place.page)
    assert 2.9e9 < reader.lease_left_ns() <= 3e9
    reader.close()


_READS = """
import sys
from offswitch.control.page import PageReader
reader = PageReader(sys.argv[1])
slot, lawful = int(sys.argv[2]), {0, 1, 2, 3, 4, 5, 6}
print("ready", flush=True)
odd = reads = 0
while reader.word(slot + 1) == 0:
    odd += reader.word(slot) not in lawful
    reads += 1
print(odd, reads > 0)
"""


def test_a_word_is_never_seen_half_written(place: Place) -> None:
    writer = PageWriter.take(place)
    slot, end = writer.allot(), writer.allot()
    argv = [sys.executable, "-c", _READS, place.page, str(slot)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "ready\n"
        words = [word_of_level(level) for level in (None, *Level)]
        for number in range(50_000):
            writer.set(slot, words[number % len(words)])
        writer.set(end, RUN)
        assert reader.stdout.read() == "0 True\n"


def test_without_root_the_page_is_said_to_be_forgeable(place: Place) -> None:
    writer = PageWriter.take(place)
    assert writer.forgeable is (os.geteuid() != 0)
