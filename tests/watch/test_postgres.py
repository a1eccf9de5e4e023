"""The sensor of a PostgreSQL data set, on a real server and on what a hostile one's owner does."""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from offswitch.clock import SystemClock
from offswitch.testing import SensorSuite
from offswitch.watch.evidence import Evidence, read_changes
from offswitch.watch.rows.batches import read_batch
from offswitch.watch.sensors.contract import CellFacts, Glance, Sample, SensorContext
from offswitch.watch.sensors.postgres.sensor import Postgres, PostgresSection
from offswitch.watch.undo import undo
from postgres_server import PostgresServer

MAKE = (
    "CREATE TABLE prices (id bigint PRIMARY KEY, item text, price numeric, note text)",
    "INSERT INTO prices SELECT n, 'item ' || n, 10 + n % 7, 'short' FROM generate_series(1, 300) n",
    "ALTER TABLE prices REPLICA IDENTITY FULL",
    "CREATE PUBLICATION offswitch FOR TABLE prices",
)
Until = Callable[["Data"], object]


class TestSuite(SensorSuite):
    kind = "postgres"

    @pytest.fixture(autouse=True)
    def _server(self, postgres: PostgresServer) -> None:
        self.server = postgres

    def _name(self, folder: str) -> str:
        return f"suite_{abs(hash(folder)):x}"

    def keys(self, folder: str) -> Mapping[str, Any]:
        return {"dsn": self.server.dsn(self._name(folder)), "tables": ["prices"]}

    def source(self, folder: str) -> CellFacts | None:
        self.server.database(self._name(folder))
        self.server.execute(*MAKE, database=self._name(folder))
        return None

    def stir(self, folder: str) -> None:
        self.server.execute("UPDATE prices SET price = 9", database=self._name(folder))


class Data:
    """A database, a connection that writes, and a sensor that looks."""

    def __init__(self, server: PostgresServer, folder: Path) -> None:
        self.server = server
        server.database("shop")
        self.db = server.connect("shop", application_name="writer")
        self.run(*MAKE)
        self.evidence = os.open(folder / "evidence", os.O_RDWR | os.O_CREAT, 0o600)
        self.sensor: Postgres | None = None
        self.forget()

    def run(self, *statements: str) -> None:
        for one in statements:
            self.db.execute(one.encode())

    def forget(self) -> None:
        """Read from here on as if nothing had been told yet."""
        self.sums: dict[str, float] = {}
        self.last: dict[str, Sample] = {}
        self.problem = self.note = ""
        self.batches: list[Sample] = []

    def sense(
        self, memory: Mapping[str, str] | None = None, password: str = "", **keys: object
    ) -> Postgres:
        raw = {"name": "db", "target": "a", "kind": "postgres", "every": "50ms"}
        raw |= {"dsn": self.server.dsn("shop"), "tables": ["prices"], **keys}
        secrets = {"password_file": password} if password else {}
        context = SensorContext(SystemClock(), {}, Evidence(self.evidence), memory or {}, secrets)
        self.sensor = Postgres(PostgresSection.model_validate(raw), context)
        return self.sensor

    def look(self) -> Glance:
        assert self.sensor is not None
        glance = self.sensor.look()
        self.problem, self.note = glance.problem or self.problem, glance.note
        for sample in glance.samples:
            name = ".".join([sample.what, *filter(None, [sample.labels.get("column")])])
            if sample.what.startswith(("rows_", "trunc", "transactions")):
                self.sums[name] = self.sums.get(name, 0.0) + sample.value
            if sample.what == "batch" and sample.detail:
                self.batches.append(sample)
            if sample.detail or sample.what not in {"rows_changed", "rows_deleted"}:
                self.last[name] = sample
        return glance

    def until(self, what: Until, why: str = "") -> None:
        """Look as an eye does until it is so."""
        assert self.sensor is not None
        end = time.monotonic() + 10
        while not what(self):
            assert time.monotonic() < end, f"in vain: {why} {self.problem} {self.sums}"
            glance = self.look()
            poll = select.poll()
            for fd in self.sensor.wake():
                poll.register(fd, select.POLLIN)
            again_us = 20_000 if glance.again_us is None else min(glance.again_us, 20_000)
            poll.poll(again_us / 1000)

    def changes(self, inserted: float, changed: float, deleted: float) -> Until:
        wanted = (inserted, changed, deleted)
        return lambda _data: (
            wanted
            == tuple(
                self.sums.get(f"rows_{what}", 0.0) for what in ("inserted", "changed", "deleted")
            )
        )

    def started(self, **keys: Any) -> None:  # noqa: ANN401
        self.sense(**keys)
        self.until(lambda data: "rows" in data.last, "it has begun")
        self.forget()

    def kept(self) -> list[Any]:
        return [change for _when, change in read_changes(os.pread(self.evidence, 1 << 24, 0))]

    def close(self) -> None:
        if self.sensor is not None:
            self.sensor.close()
        self.db.close()
        os.close(self.evidence)


@pytest.fixture
def data(postgres: PostgresServer, tmp_path: Path) -> Iterator[Data]:
    one = Data(postgres, tmp_path)
    with contextlib.closing(one):
        yield one


def test_each_kind_of_change_is_told_as_it_is_committed_with_who_did_it(data: Data) -> None:
    data.started()
    data.run("UPDATE prices SET price = 99 WHERE id < 10")
    data.until(data.changes(0, 9, 0))
    assert "price '11' -> '99'" in data.last["rows_changed"].detail["row_1"]
    data.until(lambda data: data.last["max.price"].value == 99)
    data.forget()
    with data.db.transaction():
        data.run(
            "INSERT INTO prices VALUES (1000, 'new', 1, NULL)",
            "DELETE FROM prices WHERE id IN (20, 21)",
            "UPDATE prices SET price = price",
        )
        data.look()
        assert data.changes(0, 0, 0)(data), "nothing before it is committed"
    data.until(data.changes(1, 0, 2), "what is as it was has not changed")
    assert data.sums["transactions"] == 1
    assert data.last["transaction_rows"].labels == {"table": "prices"}
    data.until(lambda data: len(data.kept()) == 12, "all of it is evidence")
    assert "postgres (writer, local, pid" in data.kept()[-1].by
    data.forget()
    data.run("TRUNCATE prices")
    data.until(data.changes(0, 0, 299))
    assert (data.sums["truncated"], data.last["rows"].value) == (1, 0)


def test_what_was_kept_puts_everything_back(data: Data) -> None:
    before = data.db.execute("SELECT * FROM prices ORDER BY id").fetchall()
    data.started()
    data.run(
        "UPDATE prices SET item = E'it''s; DROP TABLE prices; --\\n\\t\\\\', price = 'NaN'"
        " WHERE id % 3 = 0",
        "DELETE FROM prices WHERE id % 5 = 0",
        "UPDATE prices SET id = id + 10000, note = NULL WHERE id < 50",
        "INSERT INTO prices VALUES (777777, '', 0.10, 'x')",
    )
    rows = 100 + 60 + 40 + 1
    data.until(lambda data: len(data.kept()) == rows, "all of it is evidence")
    statements = list(undo(data.kept()))
    data.run("\n".join(statements))
    assert data.db.execute("SELECT * FROM prices ORDER BY id").fetchall() == before


def test_statistics_stay_exact_through_changes_and_know_their_baseline(data: Data) -> None:
    data.started()
    data.run(
        "UPDATE prices SET price = price * 10 WHERE id % 2 = 0",
        "DELETE FROM prices WHERE price > 150",
        "UPDATE prices SET price = NULL WHERE id = 1",
        "UPDATE prices SET price = 'NaN' WHERE id = 3",
    )
    data.until(lambda data: data.last.get("odd.price") and data.last["odd.price"].value == 1)
    data.until(lambda data: data.last["nulls.price"].value == 1)
    asked = "SELECT min(price), max(price), avg(price), stddev_pop(price) FROM prices"
    [exact] = data.db.execute(f"{asked} WHERE price <> 'NaN'").fetchall()
    told = [data.last[f"{what}.price"].value for what in ("min", "max", "mean", "spread")]
    assert told == pytest.approx([float(one) for one in exact])
    assert data.last["shift.price"].value > 5


def test_without_full_identity_what_cannot_be_known_is_no_number_and_says_what_helps(
    data: Data,
) -> None:
    data.run("ALTER TABLE prices REPLICA IDENTITY DEFAULT")
    data.started()
    data.run("UPDATE prices SET price = 1 WHERE id < 10")
    data.until(data.changes(0, 9, 0), "that it was written is known all the same")
    command = "ALTER TABLE prices REPLICA IDENTITY FULL"
    assert command in data.note
    assert command in data.last["keyed"].detail["why"]
    data.until(lambda data: "max.price" in data.last and math.isnan(data.last["max.price"].value))
    assert math.isnan(data.last["batch"].value)
    assert command in data.last["batch"].detail["why"]


@pytest.mark.parametrize(
    ("spoil", "helps"),
    [
        ("DROP PUBLICATION offswitch", "CREATE PUBLICATION offswitch FOR TABLE prices"),
        (
            "ALTER PUBLICATION offswitch SET (publish = 'insert')",
            "SET (publish = 'insert, update, delete, truncate')",
        ),
        ("ALTER PUBLICATION offswitch SET TABLE prices (id)", "without columns and WHERE"),
        ("DROP TABLE prices", "it is not there"),
    ],
)
def test_a_table_that_is_taken_out_of_sight_is_a_problem_within_seconds(
    data: Data, spoil: str, helps: str
) -> None:
    data.started()
    data.run(spoil)
    data.until(lambda data: data.problem, spoil)
    data.until(lambda data: helps in data.problem, helps)


def test_a_dropped_slot_or_a_killed_session_is_told_and_what_was_written_meanwhile(
    data: Data,
) -> None:
    data.started()
    killed = "SELECT pg_terminate_backend(pid) FROM pg_stat_replication"
    data.run(killed, "DELETE FROM prices WHERE id <= 5")
    data.until(lambda data: data.problem, "the loss is told")
    data.until(
        lambda data: "rows_changed" in data.last and "why" in data.last["rows_changed"].detail
    )
    why = data.last["rows_changed"].detail["why"]
    assert "prices was changed while nobody looked" in why
    assert "300 rows before, 295 after" in why
    assert math.isnan(data.sums["rows_changed"])
    assert data.sums["rows_deleted"] == 5
    data.forget()
    data.run(killed)
    data.until(lambda data: data.problem, "the second loss is told")
    data.until(lambda data: "rows" in data.last and data.sums)
    assert data.changes(0, 0, 0)(data), "nothing was written, and that is known"


def test_another_life_of_its_eye_knows_whether_something_was_written_between(data: Data) -> None:
    data.started()
    memory = data.look().memory
    assert data.sensor is not None
    data.sensor.close()
    data.run("UPDATE prices SET price = 1 WHERE id = 5")
    data.forget()
    data.sense(memory)
    data.until(lambda data: "rows_changed" in data.sums)
    assert math.isnan(data.sums["rows_changed"])
    assert all(len(key) < 60 and len(text) < 60 for key, text in memory.items())


def test_a_restarted_server_is_followed_again(tmp_path: Path, postgres: PostgresServer) -> None:
    with PostgresServer.started() as server, contextlib.closing(Data(server, tmp_path)) as data:
        data.started()
        server.stop(signal.SIGINT)
        data.until(lambda data: data.problem, "it is told")
        server.start()
        data.db.close()
        data.db = server.connect("shop")
        data.forget()
        data.until(lambda data: "rows" in data.last)
        data.run("UPDATE prices SET price = 5 WHERE id = 1")
        data.until(data.changes(0, 1, 0))


def test_a_change_of_shape_in_mid_stream_misses_nothing(data: Data) -> None:
    data.started()
    data.run(
        "ALTER TABLE prices ADD COLUMN cents int",
        "UPDATE prices SET cents = price * 100 WHERE id <= 100",
        "ALTER TABLE prices ALTER COLUMN price TYPE float8, DROP COLUMN note",
        "UPDATE prices SET price = 7 WHERE id = 200",
        "DELETE FROM prices WHERE id > 290",
    )
    data.until(data.changes(0, 101, 10), "each of them is counted")
    data.until(lambda data: "max.cents" in data.last, "and read anew beside the stream")
    data.until(lambda data: not math.isnan(data.last["max.price"].value))
    data.forget()
    data.run("UPDATE prices SET price = 8 WHERE id = 200")
    data.until(data.changes(0, 1, 0))
    assert not data.problem
    assert data.kept()[-1].columns == ("id", "item", "price", "cents")


def test_a_table_that_is_written_anew_with_what_it_held_is_quiet(data: Data) -> None:
    data.started()
    data.run("VACUUM FULL prices")
    file = data.db.execute("SELECT relfilenode FROM pg_class WHERE relname = 'prices'").fetchone()
    assert file is not None

    def read_anew(data: Data) -> bool:
        stream = data.sensor._stream if data.sensor else None
        return stream is not None and stream.tables["prices"].known.file == str(file[0])

    data.until(read_anew)
    data.look()
    assert data.changes(0, 0, 0)(data)
    assert not data.problem


def test_a_giant_value_that_did_not_change_is_known_all_the_same(data: Data) -> None:
    data.run("ALTER TABLE prices ALTER COLUMN note SET STORAGE EXTERNAL")
    data.run("UPDATE prices SET note = repeat('x', 3000000) WHERE id = 1")
    data.started()
    data.run("UPDATE prices SET price = 1 WHERE id = 1")
    data.until(data.changes(0, 1, 0))
    data.until(lambda data: data.kept())
    [change] = data.kept()
    assert change.before is not None
    assert change.after is not None
    assert len(change.before[3]) == len(change.after[3]) == 3_000_000
    shown = data.last["rows_changed"].detail
    assert all(len(text) <= 300 for text in shown.values())


def test_beyond_its_rows_it_counts_and_measures_and_says_so(data: Data) -> None:
    data.sense(max_rows=100)
    data.until(lambda data: "mean.price" in data.last)
    assert data.last["rows"].value == 300
    assert data.last["keyed"].value == 0
    assert data.last["mean.price"].value == pytest.approx(13, abs=0.1)
    data.run("DELETE FROM prices WHERE id > 295")
    data.until(data.changes(0, 0, 5))
    data.until(lambda data: data.last["rows"].value == 295)


def test_a_password_is_taken_from_its_file_only_and_a_wrong_one_is_a_problem(data: Data) -> None:
    for dsn in ("host=x password=y", "postgresql://me:secret@host/db"):
        with pytest.raises(ValidationError, match="no password here"):
            data.sense(dsn=dsn)
    data.run(
        "DROP ROLE IF EXISTS looker",
        "CREATE ROLE looker LOGIN REPLICATION PASSWORD 'right'",
        "GRANT SELECT ON prices TO looker",
    )
    dsn = data.server.tcp("shop", "looker")
    data.sense(password="wrong", dsn=dsn)
    data.until(lambda data: "password authentication failed" in data.problem)
    assert "wrong" not in data.problem
    data.forget()
    data.sense(password="right", dsn=dsn)
    data.until(lambda data: "rows" in data.last, "its own role needs no more than this")
    data.run("UPDATE prices SET price = 3 WHERE id = 3")
    data.until(data.changes(0, 1, 0))
    data.run("REVOKE ALL ON prices FROM looker", "ALTER ROLE looker NOLOGIN")


def test_a_batch_is_one_transaction_or_several_short_ones(data: Data) -> None:
    data.started()
    data.run("UPDATE prices SET price = price * 2")
    data.until(lambda data: data.batches)
    facts = read_batch(data.batches[-1].detail)
    assert (facts.transactions, facts.changed, facts.rows) == (1, 300, 300)
    [price] = facts.columns
    assert price.ratio == pytest.approx((math.log(2),) * 5, abs=1e-6)
    longest = max(len(text) for one in data.batches for text in one.detail.values())
    assert longest <= 1000


def test_it_stands_in_nobodys_way_and_leaves_no_slot(data: Data) -> None:
    data.started()
    held = (
        "SELECT count(*) FROM pg_locks JOIN pg_class c ON c.oid = relation WHERE relname = 'prices'"
    )
    assert data.db.execute(held).fetchone() == (0,), "no lock after the first reading"
    assert data.sensor is not None
    data.sensor.close()

    def gone(_data: Data) -> bool:
        return data.db.execute("SELECT count(*) FROM pg_replication_slots").fetchone() == (0,)

    end = time.monotonic() + 10
    while not gone(data):
        assert time.monotonic() < end
