"""Writers that are killed at any moment, files that are replaced, folders that go: and afterwards.

A sensor may see nothing while it storms, and says so. Once it is calm it must be well again,
hold nothing that was deleted, and no more descriptors than before.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from offswitch.clock import SimulatedClock, SystemClock
from offswitch.watch.sensors.contract import CellFacts, SensorContext
from offswitch.watch.sensors.logs import Logs, LogsSection
from offswitch.watch.sensors.sqlite.sensor import Sqlite, SqliteSection
from scale import runs

WRITER = """\
import sqlite3, sys
path, journal = sys.argv[1:]
db = sqlite3.connect(path, isolation_level=None, timeout=1)
try:
    db.execute(f"PRAGMA journal_mode={journal}")
    db.execute("PRAGMA synchronous=OFF")
    db.execute("PRAGMA cache_size=2")
    db.execute("CREATE TABLE IF NOT EXISTS prices (id INTEGER PRIMARY KEY, price REAL)")
    print("writes", flush=True)
    for n in range(10 ** 9):
        db.execute("BEGIN")
        db.executemany("INSERT OR REPLACE INTO prices VALUES (?, ?)", ((i, n) for i in range(300)))
        db.execute("COMMIT")
except sqlite3.Error as error:
    print(error, flush=True)
"""
JOURNALS = ["wal", "wal", "delete", "truncate", "persist"]


class Storm:
    """One folder, a sensor of the database in it, and what happens to both."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.rng = random.Random(seed)
        self.folder = folder / "data"
        self.folder.mkdir()
        self.path = self.folder / "orders.db"
        self.clock = SimulatedClock(1_000_000_000)
        raw = {"name": "db", "target": "a", "kind": "sqlite", "every": "100ms"}
        raw |= {"path": str(self.path), "tables": ["prices"]}
        section = SqliteSection.model_validate(raw)
        self.sensor = Sqlite(section, SensorContext(self.clock, {}))
        self.problem = ""
        self.last: dict[str, float] = {}

    def look(self, times: int) -> None:
        for _ in range(times):
            begin = time.monotonic()
            glance = self.sensor.look()
            assert time.monotonic() - begin < 5, "no look may hang, whatever lies there"
            self.problem = glance.problem
            self.last.update((sample.what, sample.value) for sample in glance.samples)
            self.clock.advance(100_000 if glance.again_us is None else glance.again_us)

    def write_and_be_killed(self) -> None:
        argv = [sys.executable, "-I", "-S", "-c", WRITER, str(self.path)]
        argv.append(self.rng.choice(JOURNALS))
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            for _ in range(self.rng.randrange(6)):
                self.look(self.rng.randrange(1, 8))
                time.sleep(self.rng.random() * 0.003)
            writer.kill()

    def replace(self) -> None:
        other = self.folder / "other.db"
        with contextlib.closing(sqlite3.connect(other)) as db, db:
            db.execute("CREATE TABLE IF NOT EXISTS prices (id INTEGER PRIMARY KEY, price REAL)")
        with contextlib.suppress(FileNotFoundError):
            os.replace(other, self.path)

    def remove(self) -> None:
        victim = self.rng.choice(["", "-wal", "-shm", "-journal"])
        Path(f"{self.path}{victim}").unlink(missing_ok=True)

    def spoil(self) -> None:
        Path(f"{self.path}{self.rng.choice(['', '-wal', '-shm'])}").write_bytes(
            self.rng.randbytes(self.rng.choice([0, 10, 5000]))
        )

    def remove_folder(self) -> None:
        shutil.rmtree(self.folder)
        self.look(2)
        self.folder.mkdir()

    def rage(self, times: int) -> None:
        happenings = [self.write_and_be_killed] * 3
        happenings += [self.replace, self.remove, self.spoil, self.remove_folder]
        for _ in range(times):
            self.rng.choice(happenings)()
            self.look(self.rng.randrange(4))

    def calm(self) -> int:
        """Let an honest program make everything anew; give how many rows it leaves."""
        for name in os.listdir(self.folder):
            (self.folder / name).unlink()
        rows = self.rng.randrange(1, 50)
        with contextlib.closing(sqlite3.connect(self.path)) as db, db:
            db.execute("PRAGMA journal_mode=wal")
            db.execute("CREATE TABLE prices (id INTEGER PRIMARY KEY, price REAL)")
            db.executemany("INSERT INTO prices VALUES (?, 1)", ((n,) for n in range(rows)))
        return rows


def held(below: Path) -> list[str]:
    """List the descriptors of this process that lead below a folder, deleted ones included."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            path = os.readlink(f"/proc/self/fd/{name}")
            if path.startswith(str(below)):
                found.append(path)
    return found


@pytest.fixture
def descriptors() -> Iterator[set[str]]:
    before = set(os.listdir("/proc/self/fd"))
    yield before
    assert set(os.listdir("/proc/self/fd")) <= before


@pytest.mark.parametrize("seed", range(runs(60)))
def test_after_a_storm_the_data_set_is_seen_again_and_nothing_deleted_is_held(
    tmp_path: Path, seed: int, descriptors: set[str]
) -> None:
    storm = Storm(tmp_path, seed)
    for _ in range(3):
        storm.rage(4)
        assert len(held(tmp_path)) <= 8, held(tmp_path)
    rows = storm.calm()
    storm.look(120)
    assert storm.problem == ""
    assert storm.last["rows"] == rows
    assert not [path for path in held(tmp_path) if path.endswith("(deleted)")]
    storm.sensor.close()


def test_after_a_storm_the_log_is_read_again(tmp_path: Path, descriptors: set[str]) -> None:
    rng = random.Random(5)
    path = tmp_path / "log"
    section = LogsSection.model_validate({"name": "log", "target": "a", "kind": "logs"})
    cells = {"a": CellFacts(None, (), str(path), "running")}
    sensor = Logs(section, SensorContext(SystemClock(), cells))
    for _ in range(200):
        match rng.randrange(6):
            case 0:
                path.unlink(missing_ok=True)
            case 1:
                (tmp_path / "new").write_bytes(b"x\n")
                os.replace(tmp_path / "new", path)
            case 2:
                path.unlink(missing_ok=True)
                os.mkfifo(path)
            case 3:
                path.unlink(missing_ok=True)
                path.symlink_to("/etc/passwd")
            case _:
                path.is_symlink() or path.is_fifo() or path.write_bytes(b"y\n" * rng.randrange(9))
        sensor.look()
        assert len(held(tmp_path)) <= 16, "what was renamed or deleted is read until it is quiet"
    path.unlink(missing_ok=True)
    path.write_bytes(b"calm\n")
    for _ in range(12):
        sensor.look()
    with path.open("ab") as file:
        file.write(b"one\ntwo\n")
    glance = sensor.look()
    assert {sample.what: sample.value for sample in glance.samples}["lines"] == 2.0
    assert held(tmp_path) == [str(path)]
    sensor.close()
