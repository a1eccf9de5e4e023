"""The sensor of a critical data set, on real databases and on hostile ones."""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import select
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from database_writer import Writer
from offswitch.clock import SimulatedClock, SystemClock
from offswitch.testing import SensorSuite
from offswitch.watch.evidence import Evidence, read_changes
from offswitch.watch.sensors.contract import CellFacts, Glance, SensorContext
from offswitch.watch.sensors.sqlite.sensor import Sqlite, SqliteSection

JOURNALS = ["wal", "delete", "truncate", "persist", "memory"]
Make = Callable[..., "Data"]


class TestSuite(SensorSuite):
    kind = "sqlite"

    def keys(self, folder: str) -> Mapping[str, Any]:
        return {"path": f"{folder}/orders.db", "tables": ["prices"]}

    def source(self, folder: str) -> CellFacts | None:
        with contextlib.closing(sqlite3.connect(f"{folder}/orders.db")) as db, db:
            db.execute("CREATE TABLE prices (id INTEGER PRIMARY KEY, price REAL)")
            db.execute("INSERT INTO prices VALUES (1, 2.0)")
        return None

    def stir(self, folder: str) -> None:
        with contextlib.closing(sqlite3.connect(f"{folder}/orders.db")) as db, db:
            db.execute("UPDATE prices SET price = 9.0")


class Data:
    """A database, its writer, and a sensor that looks at it."""

    def __init__(self, folder: Path, journal: str = "wal", rows: int = 100, **keys: object) -> None:
        self.path = folder / "orders.db"
        self.clock = SimulatedClock(1_000_000_000)
        self.db = Writer(self.path)
        self.db.execute(f"PRAGMA journal_mode={journal}")
        self.db.execute("PRAGMA synchronous=OFF")  # the same writes and locks, without the disk
        self.db.execute("CREATE TABLE prices (id INTEGER PRIMARY KEY, item TEXT, price REAL)")
        numbers = [(n, f"item {n}", 10.0 + n % 7) for n in range(rows)]
        with self.transaction():
            self.db.executemany("INSERT INTO prices VALUES (?, ?, ?)", numbers)
        self.evidence = os.open(folder / "evidence", os.O_RDWR | os.O_CREAT, 0o600)
        self.sensor = self.sense(**keys)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        self.db.execute("BEGIN")
        yield
        self.db.execute("COMMIT")

    def sense(self, memory: Mapping[str, str] | None = None, **keys: object) -> Sqlite:
        raw = {"name": "db", "target": "a", "kind": "sqlite", "every": "100ms"}
        raw |= {"path": str(self.path), "tables": ["prices"], **keys}
        context = SensorContext(self.clock, {}, Evidence(self.evidence), memory or {})
        return Sqlite(SqliteSection.model_validate(raw), context)

    def look(self, times: int = 6) -> dict[str, float]:
        """Look until it is calm; give what was read, increments summed, by short name."""
        read: dict[str, float] = {}
        self.problem, self.why, self.shown = "", "", {}
        for _ in range(times):
            glance = self.sensor.look()
            self.problem = glance.problem or self.problem
            for sample in glance.samples:
                name = sample.what
                if "column" in sample.labels:
                    name += "." + sample.labels["column"]
                if name.startswith("rows_"):
                    read[name] = read.get(name, 0.0) + sample.value
                else:
                    read[name] = sample.value
                self.why = sample.detail.get("why", self.why)
                if sample.value:
                    self.shown.update(sample.detail)
            self.clock.advance(glance.again_us if glance.again_us is not None else 100_000)
        return read

    def changes(self, read: Mapping[str, float]) -> tuple[float, ...]:
        return tuple(read.get(f"rows_{what}", 0.0) for what in ("inserted", "changed", "deleted"))

    def close(self) -> None:
        self.sensor.close()
        self.db.close()
        os.close(self.evidence)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[Data] = []

    def one(journal: str = "wal", rows: int = 100, **keys: object) -> Data:
        data = Data(tmp_path, journal, rows, **keys)
        made.append(data)
        data.look()
        return data

    yield one
    for data in made:
        data.close()


@pytest.mark.parametrize("journal", JOURNALS)
def test_each_kind_of_change_is_counted_in_every_journal_mode(make: Make, journal: str) -> None:
    data = make(journal)
    assert data.changes(data.look()) == (0, 0, 0), "what was there first is the baseline"
    data.db.execute("UPDATE prices SET price = 99 WHERE id < 10")
    assert data.changes(data.look()) == (0, 10, 0)
    data.db.execute("DELETE FROM prices WHERE id >= 95")
    assert data.changes(data.look()) == (0, 0, 5)
    with data.transaction():
        data.db.execute("INSERT INTO prices VALUES (1000, 'new', 1.0)")
        data.db.execute("UPDATE prices SET item = 'renamed' WHERE id = 50")
        data.db.execute("DELETE FROM prices WHERE id = 51")
    assert data.changes(data.look()) == (1, 1, 1)
    assert "'item 50' -> 'renamed'" in data.shown["row_1"]
    data.db.execute("UPDATE prices SET price = price")
    assert data.changes(data.look()) == (0, 0, 0), "what is as it was has not changed"
    data.db.execute("DROP TABLE prices")
    assert data.changes(data.look()) == (0, 0, 95)


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_before_images_are_enough_to_put_everything_back(make: Make, journal: str) -> None:
    data = make(journal)
    before = data.db.execute("SELECT * FROM prices ORDER BY id").fetchall()
    rng = random.Random(7)
    for _ in range(30):
        word = rng.choice(["UPDATE prices SET price = {n}", "DELETE FROM prices"])
        word += " WHERE id % 13 = {m}"
        data.db.execute(word.format(n=rng.random(), m=rng.randrange(13)))
        data.db.execute(
            "INSERT OR REPLACE INTO prices VALUES (?, x'00ff', 1e999)", (rng.randrange(150),)
        )
        data.look(3)
    kept = read_changes(os.pread(data.evidence, 1 << 24, 0))
    for _when, change in reversed(kept):
        data.db.execute("DELETE FROM prices WHERE id = ?", (change.key,))
        if change.before is not None:
            data.db.execute("INSERT INTO prices VALUES (?, ?, ?)", change.before)
    assert data.db.execute("SELECT * FROM prices ORDER BY id").fetchall() == before


def test_statistics_are_told_against_the_baseline(make: Make) -> None:
    data = make()
    first = data.look(20)
    assert first["min.price"] == 10.0
    assert first["max.price"] == 16.0
    assert first["shift.price"] == 0.0
    assert first["nulls.price"] == 0.0
    data.db.execute("UPDATE prices SET price = price * 10")
    later = data.look()
    assert later["mean.price"] == pytest.approx(10 * first["mean.price"])
    assert later["spread.price"] == pytest.approx(10 * first["spread.price"])
    moved = (later["mean.price"] - first["mean.price"]) / first["spread.price"]
    assert later["shift.price"] == pytest.approx(moved)
    data.db.execute("UPDATE prices SET price = NULL WHERE id < 5")
    data.db.execute("UPDATE prices SET price = 'free' WHERE id = 7")
    later = data.look()
    assert (later["nulls.price"], later["odd.price"]) == (5.0, 1.0)
    data.db.execute("DELETE FROM prices")
    later = data.look()
    assert "mean.price" not in later, "of nothing there is no mean"
    assert later["rows"] == 0.0


@pytest.mark.parametrize("why", ["rows", "no key", "null keys", "large value"])
def test_where_rows_cannot_be_followed_it_counts_measures_and_says_so(make: Make, why: str) -> None:
    data = make(max_rows=150)
    if why == "rows":
        many = [(n, "x", 1.0) for n in range(1000, 1100)]
        data.db.executemany("INSERT INTO prices VALUES (?, ?, ?)", many)
    elif why == "large value":
        data.db.execute("UPDATE prices SET item = zeroblob(2000000) WHERE id = 3")
    else:
        key = "item TEXT PRIMARY KEY" if why == "null keys" else "item TEXT"
        with data.transaction():
            data.db.execute("DROP TABLE prices")
            data.db.execute(f"CREATE TABLE prices ({key}, price REAL)")
            data.db.executemany("INSERT INTO prices VALUES (?, ?)", [(None, 2.0)] * 3)
    read = data.look()
    assert not data.problem
    assert read["keyed"] == 0.0
    assert math.isnan(read["rows_changed"]), "unknown is not nought"
    expected = {
        "rows": "150 rows",
        "no key": "primary key",
        "null keys": "unique",
        "large value": "megabyte",
    }
    assert expected[why] in data.why
    total = data.db.execute("SELECT count(*), avg(price), max(price) FROM prices").fetchone()
    assert (read["rows"], read["max.price"]) == (float(total[0]), total[2])
    assert read["mean.price"] == pytest.approx(total[1])
    data.db.execute("DELETE FROM prices WHERE rowid % 2")
    later = data.look()
    gone = total[0] - data.db.execute("SELECT count(*) FROM prices").fetchone()[0]
    if why == "rows":
        assert later["keyed"] == 1.0, "it is followed again as soon as it can be"
    assert later["rows_deleted"] == gone


@pytest.mark.parametrize("journal", JOURNALS)
def test_it_never_stands_in_a_writers_way(make: Make, journal: str, tmp_path: Path) -> None:
    data = make(journal, rows=2000)
    data.sensor.close()
    data.clock = SystemClock()  # type: ignore[assignment]
    script = (
        "import sqlite3, sys, time\n"
        "db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=0)\n"
        "db.execute('PRAGMA journal_mode=' + sys.argv[2])\n"
        "end, n = time.monotonic() + 0.4, 0\n"
        "while time.monotonic() < end:\n"
        "    n += 1\n"
        "    db.execute('UPDATE prices SET price = ? WHERE id = ?', (n, n % 2000))\n"
        "    if n % 50 == 0: db.execute('PRAGMA wal_checkpoint(PASSIVE)')\n"
        "print(n)\n"
    )
    writer = subprocess.Popen(
        [sys.executable, "-I", "-c", script, str(data.path), journal],
        stdout=subprocess.PIPE,
        text=True,
    )
    # As hard as it can, with none of the pauses of an eye, and always everything anew.
    looks = samples = 0
    sensor = data.sense()
    while writer.poll() is None:
        sensor._database.forget()
        sensor._not_before_us = 0
        samples += len(sensor.look().samples)
        looks += 1
    out, _ = writer.communicate()
    data.sensor = sensor
    assert writer.returncode == 0, "the writer, which waits for nobody, was never refused"
    assert int(out) > 0
    assert looks > 0
    if journal == "wal":
        assert samples > 0


@pytest.mark.parametrize("journal", JOURNALS)
def test_it_writes_not_one_byte_and_leaves_nothing_behind(
    make: Make, journal: str, tmp_path: Path
) -> None:
    data = make(journal)
    data.db.execute("UPDATE prices SET price = 1")
    data.look()

    def facts() -> dict[str, tuple[int, int]]:
        names = [name for name in os.listdir(tmp_path) if name.startswith("orders")]
        return {
            n: (os.stat(tmp_path / n).st_size, os.stat(tmp_path / n).st_mtime_ns) for n in names
        }

    before = facts()
    data.look(60)
    assert facts() == before
    data.db.close()
    data.clock.advance(10_000_000)
    data.look(10)
    left = {name for name in os.listdir(tmp_path) if name.startswith("orders")}
    assert left <= {"orders.db", "orders.db-journal"}, "the writer who leaves can clean up"
    data.db = Writer(data.path)
    data.db.execute("UPDATE prices SET price = 2")
    assert data.changes(data.look()) == (0, 100, 0)


def test_a_commit_is_heard_of_at_once_not_at_the_interval(make: Make) -> None:
    data = make(every="1h")
    (fd,) = data.sensor.wake()
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    data.sensor.look()
    assert not poll.poll(0)
    data.db.execute("UPDATE prices SET price = 3 WHERE id = 1")
    assert poll.poll(1000)
    assert data.changes(data.look()) == (0, 1, 0)


def test_a_commit_whose_log_was_seen_before_it_was_visible_is_not_missed(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log's size and time change before the disk has it, and not when it is visible."""
    data = make()
    database = data.sensor._database
    data.db.execute("UPDATE prices SET price = 1 WHERE id = 1")
    data.look()
    frozen = database._facts("-wal")
    real = database._facts
    monkeypatch.setattr(
        type(database), "_facts", lambda _self, end: frozen if end == "-wal" else real(end)
    )
    for resting in (False, True):
        if resting:
            database.rest()
            assert not database.changed()
        data.db.execute("UPDATE prices SET price = price + 1 WHERE id = 1")
        assert database.changed()
        assert data.changes(data.look()) == (0, 1, 0)


WRITER = """\
import sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=5)
for n in range(25):
    db.execute("UPDATE prices SET price = ? WHERE id = 7", (1000 + n,))
    time.sleep(n % 5 * 0.01)
"""


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_every_commit_is_found_soon_though_its_disk_is_slow(make: Make, journal: str) -> None:
    """As an eye does it, and never at the interval: the last commit is known within a second."""
    data = make(journal)
    data.sensor.close()
    data.clock = SystemClock()  # type: ignore[assignment]
    data.sensor = data.sense(every="1h")
    again_s = highest = ended = 0.0
    with subprocess.Popen([sys.executable, "-I", "-c", WRITER, str(data.path)]) as writer:
        while highest < 1024:
            poll = select.poll()
            poll.register(data.sensor.wake()[0], select.POLLIN)
            poll.poll(min(again_s, 0.2) * 1000)
            glance = data.sensor.look()
            again_s = 0.2 if glance.again_us is None else glance.again_us / 1e6
            seen = [sample.value for sample in glance.samples if sample.what == "max"]
            highest = max([highest, *seen])
            if not ended and writer.poll() is not None:
                ended = time.monotonic()
            assert not ended or time.monotonic() - ended < 1, f"only {highest} was seen"


def test_a_write_that_hides_from_the_counters_is_found_within_seconds(make: Make) -> None:
    data = make("delete")
    raw = data.path.read_bytes()
    place = raw.index(b"item 50")
    facts = data.path.stat()
    with open(data.path, "r+b") as file:
        file.seek(place)
        file.write(b"ITEM 50")
    os.utime(data.path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    data.clock.advance(5_000_000)
    assert data.changes(data.look()) == (0, 1, 0)
    assert "ITEM 50" in data.shown["row_1"]


def test_another_database_in_its_place_is_compared_with_what_was_known(
    make: Make, tmp_path: Path
) -> None:
    data = make()
    fake = sqlite3.connect(tmp_path / "fake.db")
    fake.execute("CREATE TABLE prices (id INTEGER PRIMARY KEY, item TEXT, price REAL)")
    fake.execute("INSERT INTO prices VALUES (1, 'item 1', 0.01)")
    fake.commit()
    fake.close()
    os.replace(tmp_path / "fake.db", data.path)
    for suffix in ("-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{data.path}{suffix}")
    assert data.changes(data.look()) == (0, 1, 99)


def test_DET_3_a_database_that_is_removed_is_every_row_deleted(make: Make) -> None:
    data = make()
    os.unlink(data.path)
    assert data.changes(data.look()) == (0, 0, 100)
    assert "is gone" in data.problem, "and from then on nobody can see"
    kept = read_changes(os.pread(data.evidence, 1 << 24, 0))
    assert len([one for _when, one in kept if one.kind == "deleted"]) == 100


def _quick(data: Data) -> list[Glance]:
    """Look a few times; each look must end soon, whatever lies there."""
    glances = []
    for _ in range(4):
        begin = time.monotonic()
        glances.append(data.sensor.look())
        assert time.monotonic() - begin < 3
        data.clock.advance(1_000_000)
    return glances


@pytest.mark.parametrize(
    "harm", ["link", "fifo", "folder", "second name", "socket", "moved folder"]
)
@pytest.mark.parametrize("suffix", ["", "-wal", "-journal"])
def test_what_is_no_plain_file_in_its_place_is_never_opened(
    make: Make, tmp_path: Path, harm: str, suffix: str
) -> None:
    data = make("delete")
    secret = sqlite3.connect(tmp_path / "secret.db")
    secret.execute("CREATE TABLE prices (id INTEGER PRIMARY KEY, item TEXT)")
    secret.execute("INSERT INTO prices VALUES (1, 'top secret')")
    secret.commit()
    secret.close()
    place = f"{data.path}{suffix}"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(place)
    if harm == "link":
        os.symlink(tmp_path / "secret.db", place)
    elif harm == "fifo":
        os.mkfifo(place)
    elif harm == "folder":
        os.mkdir(place)
    elif harm == "second name":
        os.link(tmp_path / "secret.db", place)
    elif harm == "socket":
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(place)
    else:
        (tmp_path / "elsewhere").mkdir()
        os.rename(tmp_path / "secret.db", tmp_path / "elsewhere" / "orders.db")
        data.sensor._database._folder = str(tmp_path / "elsewhere")
    data.sensor._database.forget()
    glances = _quick(data)
    assert all(glance.problem for glance in glances)
    told = json.dumps([[dict(s.detail) for s in g.samples] for g in glances])
    assert "top secret" not in told


def test_no_damage_to_the_file_raises_hangs_or_passes_for_well(make: Make) -> None:
    data = make("delete", rows=3000)
    whole = data.path.read_bytes()
    rng = random.Random(11)
    for _ in range(60):
        broken = bytearray(whole)
        for _ in range(rng.choice([1, 20, 2000])):
            broken[rng.randrange(len(broken))] = rng.randrange(256)
        if rng.random() < 0.3:
            del broken[rng.randrange(len(broken)) :]
        data.path.write_bytes(bytes(broken))
        data.sensor._database.forget()
        data.sensor._not_before_us = 0
        begin = time.monotonic()
        glance = data.sensor.look()
        assert time.monotonic() - begin < 2
        data.sensor._unmeasured = False
        assert glance.problem or glance.samples or glance.again_us is not None
    data.path.write_bytes(b"")
    assert data.look() or data.problem


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE VIEW prices AS SELECT 1 AS id, 'x' AS item, randomblob(1000000000) AS price",
        (
            "CREATE VIEW prices AS WITH RECURSIVE n(i) AS"
            " (SELECT 1 UNION ALL SELECT i+1 FROM n) SELECT * FROM n"
        ),
        "CREATE VIRTUAL TABLE prices USING fts5(item, price)",
    ],
)
def test_what_only_looks_like_the_table_is_not_read(make: Make, statement: str) -> None:
    data = make()
    with data.transaction():
        data.db.execute("DROP TABLE prices")
        data.db.execute(statement)
    assert all(g.problem for g in _quick(data)[1:])
    assert "not a table" in data.sensor.look().problem


@pytest.mark.parametrize(
    "spoilt", ["log", "short log", "index", "half an index", "locked index", "no index"]
)
def test_a_log_and_an_index_that_do_not_fit_hold_no_look_up(make: Make, spoilt: str) -> None:
    """SQLite alone tries again for ten seconds."""
    data = make()
    for end in ("", "-wal", "-shm"):  # as its writer leaves them when it is killed
        Path(f"{data.path}{end}.kept").write_bytes(Path(f"{data.path}{end}").read_bytes())
    data.db.close()
    for end in ("", "-wal", "-shm"):
        os.replace(f"{data.path}{end}.kept", f"{data.path}{end}")
    data.db = Writer(data.path.with_name("other.db"))
    data.clock.advance(6_000_000)
    assert data.changes(data.look()) == (0, 0, 0), "as it was left it can be read"
    if "log" in spoilt:
        Path(f"{data.path}-wal").write_bytes(b"x" * (10 if spoilt == "short log" else 5000))
    else:
        index = bytearray(Path(f"{data.path}-shm").read_bytes())
        index[16] ^= 1
        if spoilt != "half an index":
            index[64] ^= 1
        if spoilt == "no index":
            index.clear()
        Path(f"{data.path}-shm").write_bytes(index)
    holding = "import fcntl, sys; f = open(sys.argv[1], 'r+b'); fcntl.lockf(f, 2, 1, 120);"
    holding += "print(flush=True); sys.stdin.readline()"
    argv = [sys.executable, "-I", "-S", "-c", holding if spoilt == "locked index" else "input()"]
    with subprocess.Popen(
        [*argv, f"{data.path}-shm"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        if spoilt == "locked index":
            other.stdout.readline()
        data.sensor._database.forget()
        begin = time.monotonic()
        glances = _quick(data)
        assert time.monotonic() - begin < 2
        assert glances[-1].problem
        assert not any(glance.samples for glance in glances)
        other.communicate(b"\n")
    data.db.close()
    data.db = Writer(data.path)
    data.db.execute("CREATE TABLE IF NOT EXISTS prices (id INTEGER PRIMARY KEY, price REAL)")
    data.clock.advance(6_000_000)
    data.look(12)
    assert not data.problem, "its program has recovered it"


def test_generated_columns_are_left_out_and_their_code_never_runs(make: Make) -> None:
    data = make()
    with data.transaction():
        data.db.execute("DELETE FROM prices")
        data.db.execute("INSERT INTO prices VALUES (1, 'x', 5.0)")
        data.db.execute("ALTER TABLE prices ADD COLUMN bomb AS (length(hex(zeroblob(400000000))))")
    begin = time.monotonic()
    read = data.look()
    assert time.monotonic() - begin < 2
    assert not data.problem
    assert read["max.price"] == 5.0
    assert not any("bomb" in name for name in read)


def test_odd_names_texts_and_types_are_read_as_they_are(make: Make, tmp_path: Path) -> None:
    name = 'pri"ces; DROP TABLE x --'
    data = make(tables=["prices", name])
    quoted = '"' + name.replace('"', '""') + '"'
    data.db.execute(f'CREATE TABLE {quoted} ("k "" 1" TEXT PRIMARY KEY, "select" INT, "日本" REAL)')
    data.look()
    data.db.execute(f"INSERT INTO {quoted} VALUES (CAST(x'fffe41' AS TEXT), 1, 2.5)")
    data.db.execute(f"INSERT INTO {quoted} VALUES ('\x1b[2J', 9223372036854775807, 9e999)")
    read = data.look(12)
    assert not data.problem
    assert read["rows_inserted"] == 2
    shown = " ".join(data.shown.values())
    assert shown.isprintable()
    assert shown.isascii()
    kept = read_changes(os.pread(data.evidence, 1 << 24, 0))
    assert {change.key for _when, change in kept} == {"\udcff\udcfeA", "\x1b[2J"}


@pytest.mark.parametrize("max_rows", [1000, 10])
def test_a_change_between_two_lives_of_its_eye_is_not_quiet(make: Make, max_rows: int) -> None:
    data = make(max_rows=max_rows)
    keyed = max_rows > 100

    def another_life(meanwhile: str) -> tuple[float, ...]:
        memory = data.sensor.look().memory
        assert memory
        data.sensor.close()
        data.db.execute(meanwhile)
        data.clock.advance(2_000_000)
        data.sensor = data.sense(memory, max_rows=max_rows)
        return data.changes(data.look())

    inserted, changed, deleted = another_life("SELECT 1")
    assert (inserted, deleted) == (0, 0), "the same as before is known to be the same"
    assert changed == 0 or (math.isnan(changed) and not keyed)
    assert data.sensor.look().note == ""
    unknown = another_life("UPDATE prices SET price = 99 WHERE id = 5")
    assert all(map(math.isnan, unknown)), "as many rows as before, and nobody knows which"
    note = data.sensor.look().note
    assert "prices was changed while nobody looked, between 00:16:4" in note
    assert "100 rows before, 100 after" in note
    data.db.execute("UPDATE prices SET price = 98 WHERE id = 5")
    assert data.changes(data.look())[1] == 1 or not keyed, "from then on it is compared again"
    data.db.execute("UPDATE prices SET price = price + 500")
    shift = data.look()["shift.price"]
    assert shift > 50
    another_life("SELECT 1")
    data.sensor._told_us = 0
    assert data.look()["shift.price"] == shift, "the baseline is that of the first life"
    inserted, changed, deleted = another_life("DELETE FROM prices WHERE id >= 60")
    assert deleted == 40, "so many at least"
    assert math.isnan(inserted)
    assert math.isnan(changed)
    assert another_life("DROP TABLE prices")[2] == 60
    data.clock.advance(3_600_000_001)
    assert data.sensor.look().note == "", "after an hour it is the ledger's"


def test_a_file_that_went_between_two_lives_of_its_eye_is_all_its_rows_deleted(make: Make) -> None:
    data = make("delete")
    memory = data.sensor.look().memory
    data.sensor.close()
    data.path.unlink()
    data.sensor = data.sense(memory)
    assert data.changes(data.look())[2] == 100
    assert "is gone" in data.problem


def test_the_first_life_of_all_takes_what_it_finds_and_garbage_is_no_memory(make: Make) -> None:
    data = make()
    assert data.changes(data.look()) == (0, 0, 0)
    for memory in ({"0": "x", "looked_us": "y"}, {"0": ""}, {"9": "7 a"}):
        data.sensor.close()
        data.sensor = data.sense(memory)
        read = data.look()
        assert math.isnan(read["rows_changed"]) == ("0" in memory)


def test_a_locked_database_is_waited_out(make: Make) -> None:
    data = make("delete")
    script = (
        "import sqlite3, sys\n"
        "db = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "db.execute('BEGIN EXCLUSIVE')\n"
        "db.execute('UPDATE prices SET price = 0')\n"
        "print('in it', flush=True)\n"
        "sys.stdin.readline()\n"
        "db.execute('COMMIT')\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-I", "-c", script, str(data.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "in it\n"
    data.sensor._database.forget()
    for number, glance in enumerate(_quick(data)):
        assert not glance.samples, "what is half written is not read"
        assert bool(glance.problem) == (number > 1), "after a second it is a problem, and told"
        assert glance.again_us is not None
    other.communicate("\n")
    assert data.changes(data.look()) == (0, 100, 0)


def test_a_commit_that_was_broken_off_is_not_taken_for_the_truth(make: Make) -> None:
    data = make("delete", rows=3000)
    script = (
        "import os, sqlite3, sys\n"
        "db = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "db.execute('PRAGMA cache_size=2')\n"
        "db.execute('BEGIN')\n"
        "db.execute(\"UPDATE prices SET item = item || 'spoilt by half a commit'\")\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-I", "-c", script, str(data.path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert os.path.getsize(f"{data.path}-journal") > 0
    assert b"spoilt by half" in data.path.read_bytes()
    assert not any(glance.samples for glance in _quick(data))
    data.db.execute("SELECT count(*) FROM prices").fetchone()  # its owner recovers it
    read = data.look()
    assert data.changes(read) == (0, 0, 0)


def test_where_inotify_has_nothing_left_it_polls(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left() -> None:
        raise OSError(24, "Too many open files")

    data = make()
    monkeypatch.setattr("offswitch.watch.sensors.sqlite.sensor.Inotify", none_left)
    data.sensor.close()
    data.sensor = data.sense()
    assert data.sensor.wake() == ()
    data.look()
    data.db.execute("UPDATE prices SET price = 77 WHERE id = 1")
    assert data.changes(data.look()) == (0, 1, 0)


def test_a_connection_that_could_not_be_set_up_is_not_left_open(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite would hand its files, deleted by then, to every later connection of the process."""
    data = make()
    # A recovery may begin between the look at the index and SQLite's own.
    monkeypatch.setattr(type(data.sensor._database), "_sound", lambda _self, _stamp: None)
    script = (
        "import fcntl, sys\n"
        "index = open(sys.argv[1] + '-shm', 'r+b')\n"
        "for at in (120, 122):  # somebody writes, somebody recovers\n"
        "    fcntl.lockf(index, fcntl.LOCK_EX, 1, at)\n"
        "index.write(bytes(200))\n"
        "index.flush()\n"
        "print('recovering', flush=True)\n"
        "sys.stdin.readline()\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-I", "-c", script, str(data.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "recovering\n"
    data.sensor._database.forget()
    problems = [glance.problem for glance in _quick(data)]
    assert problems[-1] == "database is locked"
    data.sensor._database.release()
    held = [os.readlink(one.path) for one in os.scandir("/proc/self/fd") if one.is_symlink()]
    assert not [path for path in held if path.startswith(str(data.path))]
    other.communicate("\n")
    data.db.execute("UPDATE prices SET price = 99 WHERE id < 10")
    assert data.changes(data.look(12)) == (0, 10, 0)
