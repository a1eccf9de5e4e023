"""The page as a reader meets it: whatever is wrong with it reads as stop, or is no page."""

from __future__ import annotations

import os
import random
import socket
import struct
from pathlib import Path

import pytest

from offswitch.control import page
from offswitch.control.page import MAGIC, PAGE_SIZE, RUN, SLOTS, PageReader, word_of_level
from offswitch.model.level import Level


def written(path: Path, content: bytes | None = None) -> Path:
    whole = bytearray(PAGE_SIZE)
    whole[:8] = MAGIC
    path.write_bytes(bytes(whole) if content is None else content)
    return path


def test_a_missing_page_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        PageReader(str(tmp_path / "page"))


@pytest.mark.parametrize("size", [0, 1, 7, 8, 64, 4096, PAGE_SIZE - 1])
def test_a_short_page_is_no_page(tmp_path: Path, size: int) -> None:
    path = written(tmp_path / "page", (MAGIC + bytes(PAGE_SIZE))[:size])
    with pytest.raises(ValueError, match="too short"):
        PageReader(str(path))


@pytest.mark.parametrize("magic", [bytes(8), b"OFFSWPG0", MAGIC[::-1], b"\xff" * 8])
def test_a_page_without_its_magic_is_no_page(tmp_path: Path, magic: bytes) -> None:
    """It is written last: a page that is half made is none."""
    path = written(tmp_path / "page", magic + bytes(PAGE_SIZE - 8))
    with pytest.raises(ValueError, match="not a page"):
        PageReader(str(path))


def test_what_is_no_plain_file_is_no_page_and_nobody_waits_for_it(tmp_path: Path) -> None:
    target = written(tmp_path / "real")
    (tmp_path / "link").symlink_to(target)
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "socket"))
        for name in ("link", "fifo", "folder", "socket"):
            with pytest.raises((OSError, ValueError)):
                PageReader(str(tmp_path / name))


def test_a_slot_that_does_not_exist_reads_as_stop(tmp_path: Path) -> None:
    reader = PageReader(str(written(tmp_path / "page")))
    for slot in (-1, -SLOTS, SLOTS, SLOTS + 1, 2**63):
        assert reader.word(slot) == 0
    assert reader.word(0) == 0
    assert reader.word(SLOTS - 1) == 0
    reader.close()


def test_a_page_of_zeros_has_no_lease(tmp_path: Path) -> None:
    reader = PageReader(str(written(tmp_path / "page")))
    assert reader.lease_left_ns() < 0
    reader.close()


def test_garbage_in_the_words_is_never_RUN_by_accident(tmp_path: Path, rng: random.Random) -> None:
    noise = MAGIC + rng.randbytes(PAGE_SIZE - 8)
    reader = PageReader(str(written(tmp_path / "page", noise)))
    assert sum(reader.word(slot) == RUN for slot in range(SLOTS)) == 0
    reader.close()


def test_a_reader_sees_what_is_written_and_cannot_write(tmp_path: Path) -> None:
    path = written(tmp_path / "page")
    reader = PageReader(str(path))
    with path.open("r+b") as file:
        file.seek((page.FIRST_WORD + 3) * 8)
        file.write(struct.pack("=Q", word_of_level(Level.KILL)))
    assert reader.word(3) == RUN + Level.KILL
    with pytest.raises(TypeError):
        reader.words[page.FIRST_WORD + 3] = RUN
    reader.close()


def test_each_level_has_its_word() -> None:
    assert word_of_level(None) == RUN
    assert [word_of_level(level) for level in Level] == [2, 3, 4, 5, 6]
