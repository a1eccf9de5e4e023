"""The sensors of a cell's processes and of its output."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from offswitch.clock import SystemClock
from offswitch.testing import SensorSuite
from offswitch.watch.sensors.contract import CellFacts, Glance, SensorContext
from offswitch.watch.sensors.logs import Logs, LogsSection
from offswitch.watch.sensors.processes.sensor import Processes, ProcessesSection

CHILD = """\
import ctypes, sys, time
ctypes.CDLL(None).prctl(15, b"ev) R 1 (il", 0, 0, 0)
data = bytearray(30 << 20)
print("ready", flush=True)
end = time.monotonic() + 60
with open("/dev/null", "wb", buffering=0) as sink:
    while time.monotonic() < end:
        sink.write(bytes(100_000))
"""


class TestProcessesSuite(SensorSuite):
    kind = "processes"

    def keys(self, folder: str) -> Mapping[str, Any]:
        return {}

    def source(self, folder: str) -> CellFacts | None:
        return CellFacts(None, (os.getpid(),), None, "running")

    def stir(self, folder: str) -> None:
        time.sleep(0.05)


class TestLogsSuite(SensorSuite):
    kind = "logs"

    def keys(self, folder: str) -> Mapping[str, Any]:
        return {"contains": {"errors": "Traceback"}}

    def source(self, folder: str) -> CellFacts | None:
        Path(folder, "log").write_text("the past\n")
        return CellFacts(None, (), f"{folder}/log", "running")

    def stir(self, folder: str) -> None:
        with open(f"{folder}/log", "a", encoding="utf-8") as file:
            file.write("Traceback (most recent call last):\n")


def _read(glance: Glance) -> dict[str, float]:
    assert not glance.problem
    return {sample.what: sample.value for sample in glance.samples}


@pytest.fixture
def busy() -> Iterator[int]:
    """A child that works, holds memory, writes, and has a name that looks like /proc's own."""
    child = subprocess.Popen([sys.executable, "-I", "-c", CHILD], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    yield child.pid
    child.kill()
    child.communicate()


def _processes(cells: dict[str, CellFacts]) -> Processes:
    raw = {"name": "processes", "target": "a", "kind": "processes"}
    return Processes(ProcessesSection.model_validate(raw), SensorContext(SystemClock(), cells))


def test_a_cells_processes_are_counted_weighed_and_timed(busy: int) -> None:
    cells = {"a": CellFacts(None, (busy, os.getpid(), 2**22 - 1), None, "running")}
    sensor = _processes(cells)
    first = _read(sensor.look())
    assert first["count"] == 2.0, "what is gone is not counted"
    assert first["memory_bytes"] > 30 << 20
    assert "cpu_percent" not in first, "there is no rate yet"
    time.sleep(0.4)
    second = _read(sensor.look())
    assert 1 < second["cpu_percent"] < 300
    assert second["written_bytes"] > 100_000
    assert second["threads"] >= 2


def test_processes_that_come_and_go_never_make_a_rate_negative(busy: int) -> None:
    cells = {"a": CellFacts(None, (busy,), None, "running")}
    sensor = _processes(cells)
    for pids in ((busy,), (), (busy,), (os.getpid(),), ()):
        cells["a"] = CellFacts(None, pids, None, "running")
        time.sleep(0.02)
        read = _read(sensor.look())
        assert all(value >= 0 for value in read.values())
        assert read["count"] == len(pids)


def test_a_cell_that_does_not_run_is_absent_and_one_that_cannot_be_read_a_problem(
    tmp_path: Path,
) -> None:
    cells: dict[str, CellFacts] = {}
    sensor = _processes(cells)
    assert sensor.look().absent
    cells["a"] = CellFacts(None, (1,), None, "stopped")
    assert sensor.look().absent
    cells["a"] = CellFacts(str(tmp_path / "gone"), (), None, "running")
    assert "cannot be read" in sensor.look().problem


def test_a_cgroups_processes_are_found_below_it_too(tmp_path: Path, busy: int) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "cgroup.procs").write_text(f"{os.getpid()}\n")
    (tmp_path / "below" / "cgroup.procs").write_text(f"{busy}\n")
    (tmp_path / "cpu.stat").write_text("usage_usec 1000\nuser_usec 10\n")
    sensor = _processes({"a": CellFacts(str(tmp_path), (), None, "running")})
    assert _read(sensor.look())["count"] == 2.0
    (tmp_path / "cpu.stat").write_text("usage_usec 1001000\n")
    time.sleep(0.1)
    assert _read(sensor.look())["cpu_percent"] > 100.0, "the group's own count is taken"


class Log:
    def __init__(self, path: Path, **keys: object) -> None:
        self.path = path
        path.write_bytes(b"what was there before\n")
        raw = {"name": "log", "target": "a", "kind": "logs", **keys}
        cells = {"a": CellFacts(None, (), str(path), "running")}
        self.sensor = Logs(LogsSection.model_validate(raw), SensorContext(SystemClock(), cells))

    def add(self, data: bytes) -> dict[str, float]:
        with open(self.path, "ab") as file:
            file.write(data)
        return self.look()

    def look(self) -> dict[str, float]:
        glance = self.sensor.look()
        assert not glance.problem
        self.details = {key: text for one in glance.samples for key, text in one.detail.items()}
        return {".".join([one.what, *one.labels.values()]): one.value for one in glance.samples}


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    one = Log(tmp_path / "log", contains={"errors": "Traceback", "keys": "AKIA"})
    one.look()
    yield one
    one.sensor.close()


def test_lines_are_counted_from_the_first_look_on(log: Log) -> None:
    assert log.look() == {
        "lines": 0.0, "bytes": 0.0, "repeated": 0.0, "matches.errors": 0.0, "matches.keys": 0.0
    }  # fmt: skip
    read = log.add(b"one\ntwo\none\nhalf a li")
    assert (read["lines"], read["bytes"], read["repeated"]) == (3.0, 21.0, 1.0)
    assert log.add(b"ne\n")["lines"] == 1.0


def test_texts_are_found_and_shown_escaped(log: Log) -> None:
    read = log.add(b"\x1b]0;evil\x07Traceback \xff\xfe\n AKIA1\n AKIA2 Traceback\n")
    assert (read["matches.errors"], read["matches.keys"]) == (2.0, 2.0)
    log.add(b"\x1b[2J Traceback \xff\n")
    assert log.details["line"].isprintable()
    assert log.details["line"].isascii()


def test_a_text_across_two_looks_is_found_once_it_is_a_line(log: Log) -> None:
    assert log.add(b"Trace")["matches.errors"] == 0.0
    assert log.add(b"back\n")["matches.errors"] == 1.0


@pytest.mark.parametrize(
    "data", [b"x" * 3_000_000, b"\0" * 100_000, b"\n" * 500_000, b"\xff\n" * 9]
)
def test_hostile_output_is_bounded_in_time_and_memory(log: Log, data: bytes) -> None:
    begin = time.monotonic()
    read = log.add(data)
    assert time.monotonic() - begin < 2
    assert read["bytes"] == len(data)
    assert read["lines"] == data.count(b"\n")
    assert log.sensor._tails.waiting <= 8192


def test_a_flood_is_counted_and_what_was_not_read_is_said(log: Log) -> None:
    read = log.add(b"spam, spam, spam\n" * 300_000)
    assert read["bytes"] == 5_100_000.0
    assert int(log.details["skipped_bytes"]) > 900_000
    assert log.add(b"after\n")["lines"] == 1.0


def test_a_log_that_is_capped_or_replaced_is_followed(log: Log) -> None:
    log.add(b"much\n" * 100)
    os.truncate(log.path, 0)
    assert log.add(b"begun anew\n")["lines"] == 1.0
    log.path.unlink()
    log.path.write_bytes(b"another\nfile\n")
    assert log.look()["lines"] == 2.0


def test_lines_between_two_lives_of_its_eye_are_counted(log: Log) -> None:
    log.add(b"seen\nhalf a li")
    memory = log.sensor.look().memory
    log.sensor.close()
    context = SensorContext(SystemClock(), log.sensor._context.cells, memory=memory)
    log.sensor = Logs(log.sensor._settings, context)
    assert log.add(b"ne\nTraceback while nobody looked\n")["matches.errors"] == 1.0
    assert log.add(b"and on\n")["lines"] == 1.0
    memory = log.sensor.look().memory
    log.sensor.close()
    log.path.unlink()
    log.path.write_bytes(b"another\nfile\n")
    context = SensorContext(SystemClock(), log.sensor._context.cells, memory=memory)
    log.sensor = Logs(log.sensor._settings, context)
    assert log.look()["lines"] == 2.0


def test_what_is_no_log_is_never_opened(tmp_path: Path) -> None:
    log = Log(tmp_path / "log")
    for make in (os.mkfifo, lambda path: os.symlink("/etc/passwd", path)):
        log.path.unlink()
        make(log.path)
        assert "cannot be read" in log.sensor.look().problem
    log.path.unlink()
    assert log.sensor.look().absent
    log.sensor.close()
