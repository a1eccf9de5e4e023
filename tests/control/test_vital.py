"""The kernel marks the word of a holder that dies, sooner than it is dead for anybody else."""

from __future__ import annotations

import mmap
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from offswitch.control import page
from offswitch.control.vital import await_death

HOLDER = """
import mmap, os, sys
from offswitch.control.vital import Vital
fd = os.open(sys.argv[1], os.O_RDWR)
vital = Vital(mmap.mmap(fd, os.fstat(fd).st_size))
print('holds', flush=True)
if sys.stdin.readline() == 'give up\\n':
    vital.give_up()
os.execv('/bin/sleep', ['sleep', '1000'])
"""
DIED = 0x4000_0000


@pytest.fixture
def path(tmp_path: Path) -> str:
    file = tmp_path / "page"
    file.write_bytes(bytes(page.PAGE_SIZE))
    return str(file)


@pytest.fixture
def holder(path: str) -> Iterator[subprocess.Popen[str]]:
    argv = [sys.executable, "-I", "-c", HOLDER, path]
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "holds\n"
        yield process
        process.kill()


def word(path: str) -> int:
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as seen:
        return int.from_bytes(seen[page.VITAL * 8 : page.VITAL * 8 + 4], "little")


def readable(fd: int, seconds: float) -> bool:
    return bool(select.select([fd], [], [], seconds)[0])


def test_SR_22_a_killed_holder_is_marked_and_whoever_waits_is_woken(
    path: str, holder: subprocess.Popen[str]
) -> None:
    told = await_death(path, 1)
    assert word(path) & ~0x8000_0000 == holder.pid
    assert not readable(told, 0.2)
    holder.send_signal(signal.SIGKILL)
    assert readable(told, 20)
    assert word(path) & DIED
    os.close(told)


def test_SR_22_a_holder_that_died_before_is_told_at_once(
    path: str, holder: subprocess.Popen[str]
) -> None:
    holder.kill()
    holder.wait()
    told = await_death(path, 1)
    assert readable(told, 20)
    os.close(told)


@pytest.mark.parametrize("words", ["give up\n", "go on\n"])
def test_SR_23_an_exec_counts_as_a_death_unless_the_word_was_given_up(
    path: str, holder: subprocess.Popen[str], words: str
) -> None:
    told = await_death(path, 1)
    assert holder.stdin is not None
    holder.stdin.write(words)
    holder.stdin.flush()
    held = words == "go on\n"
    assert readable(told, 20 if held else 1) is held
    assert bool(word(path) & DIED) is held
    os.close(told)


def test_a_page_that_cannot_be_read_tells_nothing(tmp_path: Path) -> None:
    assert not readable(await_death(str(tmp_path / "none"), 1), 0.2)


def test_a_page_that_is_cut_short_kills_nobody_who_waits(
    path: str, holder: subprocess.Popen[str]
) -> None:
    """Looked at in a mapping it would be a SIGBUS, and both warden and keeper would be gone."""
    waiter = "import sys\nfrom offswitch.control.vital import await_death\n"
    waiter += "await_death(sys.argv[1], 1)\nprint('waits', flush=True)\nsys.stdin.readline()\n"
    argv = [sys.executable, "-I", "-c", waiter, path]
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waits\n"
        os.truncate(path, 0)
        holder.kill()
        holder.wait()
        _out, _err = process.communicate("\n", timeout=20)
        assert process.returncode == 0
