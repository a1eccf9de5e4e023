"""A stream is copied unharmed whatever becomes of its log."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from installation import until
from offswitch.cli.pump import CappedLog, Pump


@pytest.fixture
def pipes() -> Iterator[tuple[int, int, int, int]]:
    """Give the ends of two pipes: what a target writes into, and what its caller reads."""
    source, writer = os.pipe()
    reader, sink = os.pipe()
    yield source, writer, reader, sink
    for fd in (source, writer, reader, sink):
        try:
            os.close(fd)
        except OSError:
            continue


def pumped(pipes: tuple[int, int, int, int], log: CappedLog, data: bytes) -> bytes:
    """Send `data` through a pump that tees into `log`; give what came out."""
    source, writer, reader, sink = pipes
    pump = Pump(source, sink, log, os.eventfd(0))
    pump.start()
    came = b""
    for begin in range(0, len(data), 30_000):
        os.write(writer, data[begin : begin + 30_000])
        while len(came) < min(begin + 30_000, len(data)):
            came += os.read(reader, 65536)
    os.close(writer)
    pump.join(10)
    assert pump.ended
    log.close()
    return came


def test_a_full_disk_makes_a_gap_in_the_log_and_none_in_the_stream(
    pipes: tuple[int, int, int, int],
) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    data = os.urandom(500_000)
    assert pumped(pipes, CappedLog(full), data) == data
    os.close(full)


def test_a_disk_that_hangs_holds_up_nobody(pipes: tuple[int, int, int, int]) -> None:
    """A pipe that nobody reads stands for it: each write to it blocks for ever."""
    blocked, into = os.pipe()
    data = os.urandom(9_000_000)
    assert pumped(pipes, CappedLog(into), data) == data
    os.close(blocked)
    os.close(into)


def test_what_is_missing_is_said_in_the_log(tmp_path: Path) -> None:
    slow, into = os.pipe()
    log = CappedLog(into)
    for _ in range(200):
        log.put(b"x" * 65536)
    kept = b""
    while b"missing" not in kept:
        kept += os.read(slow, 65536)
        log.put(b"more\n")
    assert b"bytes of output are missing here]" in kept
    os.close(slow)


def test_the_log_begins_again_at_its_limit_and_keeps_the_latest(tmp_path: Path) -> None:
    path = tmp_path / "log"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
    log = CappedLog(fd, limit=1000)
    for number in range(500):
        log.put(b"line %03d\n" % number)
    log.close()
    assert path.stat().st_size <= 1000
    assert path.read_bytes().endswith(b"line 499\n")


def test_a_reader_that_is_gone_closes_the_source(pipes: tuple[int, int, int, int]) -> None:
    source, writer, reader, sink = pipes
    os.close(reader)
    pump = Pump(source, sink, None, os.eventfd(0))
    pump.start()
    os.write(writer, b"to nobody")
    pump.join(10)
    with pytest.raises(BrokenPipeError):
        os.write(writer, b"more")


def test_a_halted_pump_loses_nothing(pipes: tuple[int, int, int, int]) -> None:
    source, writer, reader, sink = pipes
    first = Pump(source, sink, None, os.eventfd(0))
    first.start()
    os.write(writer, b"one ")
    assert os.read(reader, 100) == b"one "
    assert first.halt(5)
    assert not first.ended
    os.write(writer, b"two")
    second = Pump(source, sink, None, os.eventfd(0))
    second.start()
    assert os.read(reader, 100) == b"two"
    os.close(writer)
    until(lambda: second.ended, "it ends with its source")
