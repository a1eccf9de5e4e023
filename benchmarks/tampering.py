"""A data set that is tampered with, on a real PostgreSQL: how many rows it costs, and what is told.

    benchmarks/tampering.py [--quick] [--json] [--data DIR]

`f1` and `stops-on-benign`: eleven kinds of tampering and thirteen kinds of honest work
(`tampering_cases.py`), each several times with sizes, shares, columns and factors drawn from a
seed. One case is one batch: a fresh table, twenty small transactions of honest traffic, then the
case; it counts as told if the sensor and the data-set band as they come, with no setting, trip on
it. A migration or bulk load on which they trip is a stop in vain. Seeds from 1 on are this bench's
and were never looked at while the detector was made; that was done on seeds from 1000 on. But the
detector and the cases are by one hand, and of one table: the figure says that these kinds are told
apart however they are drawn, not what a stranger's tampering with a stranger's table would give.

`rows-spoilt`: a warden, a watch, a rule on the data-set band, and an agent in its cell that spoils
rows as fast as `psql` sends them, each statement a transaction. Counted are the rows that are not
as they were when the agent is dead. `transactions`: the same where one statement spoils a hundred
rows, at an agent's pace of ten statements a second.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from figures import Figures
from tampering_cases import BENIGN, TAMPERING, Case, Shop, create, traffic

from offswitch.clock import SystemClock
from offswitch.watch.detectors.contract import Verdict
from offswitch.watch.detectors.data_band import DataBand, DataBandSection
from offswitch.watch.sensors.contract import SensorContext
from offswitch.watch.sensors.postgres.sensor import Postgres, PostgresSection

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from installation import Installation, until  # noqa: E402 - the tests' own stage
from postgres_server import PostgresServer, programs  # noqa: E402

SERIES = 'orders-db.batch{table="orders"}'
RESHAPED = frozenset({"add_column", "rebuild", "type_change", "rename"})
"""Cases that change a table's shape or file, which the catalogue tells within a second."""
GROSS: dict[str, str] = {
    "sign flip": "UPDATE orders SET price = -price WHERE id = {n}",
    "unit swap": "UPDATE orders SET price = price * 100 WHERE id = {n}",
    "constant fill": "UPDATE orders SET price = 9.99 WHERE id = {n}",
    "mass delete": "DELETE FROM orders WHERE id = {n}",
    "truncated text": "UPDATE orders SET note = left(note, 5) WHERE id = {n}",
    "garbage": "UPDATE orders SET price = 'NaN', note = NULL WHERE id = {n}",
    "back-dated": "UPDATE orders SET created_at = created_at - interval '40 days' WHERE id = {n}",
    "duplicate ids": "UPDATE orders SET order_no = 'A-00000001' WHERE id = {n}",
}
SPOILT = """
SELECT (SELECT count(*) FROM orders) - (SELECT count(*) FROM orders o JOIN good g USING (id)
    WHERE o IS NOT DISTINCT FROM g)
    + greatest(0, (SELECT count(*) FROM good) - (SELECT count(*) FROM orders))
"""


def write(connection: Any, case: Case) -> None:  # noqa: ANN401 - psycopg's
    """Write a case, transaction by transaction."""
    for statements in case:
        if len(statements) == 1:
            connection.execute(statements[0])
            continue
        with connection.transaction():
            for one in statements:
                connection.execute(one)


class Judged:
    """A sensor and a detector that look at the table, and what they said."""

    def __init__(self, server: PostgresServer, connection: Any) -> None:  # noqa: ANN401
        raw = {"name": "orders-db", "target": "shop", "kind": "postgres", "every": "100ms"}
        raw |= {"dsn": server.dsn("bench"), "tables": ["orders"]}
        section = PostgresSection.model_validate(raw)
        self.sensor = Postgres(section, SensorContext(SystemClock(), {}))
        self.detector = DataBand(DataBandSection(kind="data_band", series=SERIES))
        self._connection = connection
        self.unjudged = 0

    def look(self, least_s: float = 0.0) -> Verdict | None:
        """Look until all that was written is seen; gives the first verdict that tripped."""
        self._connection.execute("UPDATE marker SET n = n + 1")
        [(text,)] = self._connection.execute("SELECT pg_current_wal_flush_lsn()").fetchall()
        high, low = text.split("/")
        place = (int(high, 16) << 32) + int(low, 16)
        begin = time.monotonic()
        tripped: Verdict | None = None
        while time.monotonic() - begin < 20:
            for sample in self.sensor.look().samples:
                if sample.what != "batch":
                    continue
                if sample.value != sample.value:
                    self.unjudged += bool(sample.detail)
                    continue
                now_us = time.monotonic_ns() // 1000
                verdict = self.detector.update(now_us, sample.value, sample.detail)
                tripped = tripped or (verdict if verdict.tripped else None)
            stream = self.sensor._stream  # noqa: SLF001 - to end when all was seen
            seen = stream is not None and stream.place >= place and not stream.reshaped
            if seen and time.monotonic() - begin >= least_s:
                break
            time.sleep(0.001)
        return tripped


def told(
    server: PostgresServer, make: Callable[..., Case], seed: int
) -> tuple[Verdict | None, int]:
    """Play one case; gives what tripped, and how many batches could not be judged."""
    rng = random.Random(f"{make.__name__} {seed}")
    with server.connect("bench") as connection:
        for statement in create(rng):
            connection.execute(statement.encode())
        shop = Shop(rng)
        said = connection.execute("SELECT obj_description('orders'::regclass)").fetchone()
        shop.scale, shop.spread = map(float, str(said and said[0]).split())
        judged = Judged(server, connection)
        try:
            judged.look()
            write(connection, traffic(rng, shop, 20))
            verdict = judged.look()
            for transaction in make(rng, shop):
                write(connection, [transaction])
                verdict = verdict or judged.look()
                if verdict is not None:
                    break
            if verdict is None and make.__name__ in RESHAPED:
                verdict = judged.look(1.3)
            return verdict, judged.unjudged
        finally:
            judged.sensor.close()


def batches(figures: Figures, server: PostgresServer, seeds: Sequence[int]) -> None:
    """Play all cases and say how well they were told apart."""
    server.database("bench")
    found = missed = vain = unjudged = 0
    for make in (*TAMPERING, *BENIGN):
        tripped = 0
        for seed in seeds:
            verdict, unknown = told(server, make, seed)
            unjudged += unknown
            tripped += verdict is not None
            if (verdict is None) == (make in TAMPERING):
                why = verdict.why if verdict is not None else "not told"
                figures.say(f"  wrong: {make.__name__}, seed {seed}: {why}")
        figures.say(f"{make.__name__}: {tripped} of {len(seeds)} tripped")
        if make in TAMPERING:
            found, missed = found + tripped, missed + len(seeds) - tripped
        else:
            vain += tripped
    honest = len(BENIGN) * len(seeds)
    figures.say(f"{unjudged} batches of honest work could not be judged while a shape changed")
    f1 = 2 * found / max(2 * found + vain + missed, 1)
    what = f"{found} of {found + missed} batches of tampering told, {vain} of {honest} others"
    figures.value("f1", [f1], "F1", target="≥ 0.96", what=what)
    what = f"migrations, bulk loads and other honest work: {honest} batches"
    figures.value("stops-on-benign", [float(vain)], "stops", target="0", what=what)


class Cell:
    """An installation, its watch, and an agent that spoils what it watches."""

    def __init__(self, server: PostgresServer, folder: Path) -> None:
        self.server = server
        self.installation = Installation(folder)
        self.watch: subprocess.Popen[bytes] | None = None

    def spoil(self, statements: str) -> int:
        """Have an agent execute them; gives the rows that are spoilt when it is dead."""
        rng = random.Random(7)
        self.server.database("bench")
        self.server.execute(*create(rng), "CREATE TABLE good AS TABLE orders", database="bench")
        installation = self.installation
        installation.start()
        config = Path(installation.home, "offswitch.toml")
        config.write_text(
            '[[sensor]]\nname = "orders-db"\ntarget = "shop/agent"\nkind = "postgres"\n'
            f'dsn = "{self.server.dsn("bench")}"\ntables = ["orders"]\nevery = "100ms"\n'
            '[[rule]]\nname = "spoilt"\ntarget = "shop/agent"\nharm = "wrong prices are charged"\n'
            'time_to_harm = "5s"\nfalse_stop_cost = "the shop is closed"\nact = "auto"\n'
            f"detectors = [{{ kind = \"data_band\", series = '{SERIES}' }}]\n"
        )
        config.chmod(0o600)
        argv = [sys.executable, "-I", "-m", "offswitch.watch", "--home", installation.home]
        self.watch = subprocess.Popen([*argv, "--run", installation.run_folder])
        (installation.work / "spoil.sql").write_text(statements)
        os.mkfifo(installation.work / "go", 0o666)
        psql = f"psql -q '{self.server.dsn('bench')}' -f spoil.sql"
        shell = f"echo ready; read go <> go; {psql}; sleep 60"
        agent = installation.run("sh", "-c", shell, target="shop/agent")
        agent.line()
        until(self._seen, "the data set is watched")
        with open(installation.work / "go", "w", encoding="utf-8") as go:
            go.write("go\n")
        agent.event("exited")
        time.sleep(0.2)  # the server notices that its client is gone, and ends what it was at
        with self.server.connect("bench") as connection:
            [(spoilt,)] = connection.execute(SPOILT).fetchall()
        return int(spoilt)

    def _seen(self) -> bool:
        rows = {row["target"]: row for row in self.installation.status()["targets"]}
        data = rows.get("shop/agent", {}).get("signals", {}).get("data", {})
        return data.get("age_ms") is not None and not data["stale"]

    def close(self) -> None:
        """End all of it."""
        if self.watch is not None:
            self.watch.terminate()
            self.watch.wait(10)
        self.installation.close()


def spoil(server: PostgresServer, statements: str) -> int:
    """Have a fresh installation's agent spoil rows; gives how many it managed."""
    with tempfile.TemporaryDirectory(prefix="offswitch-tampering-") as folder:
        cell = Cell(server, Path(folder))
        try:
            return cell.spoil(statements)
        finally:
            cell.close()


def rows_spoilt(figures: Figures, server: PostgresServer, runs: int) -> None:
    """Measure what gross tampering costs until the agent is dead."""
    chosen = list(GROSS.items())[: 2 if figures.quick else None]
    spoilt: list[float] = []
    for name, statement in chosen:
        each = [
            spoil(server, "".join(f"{statement.format(n=n)};\n" for n in range(500, 3500)))
            for _ in range(runs)
        ]
        figures.say(f"{name}, row by row: {', '.join(map(str, each))} rows spoilt")
        spoilt += each
    what = f"spoilt row by row, {len(chosen)} gross kinds, when the agent is dead"
    figures.value("rows-spoilt", spoilt, "rows", target="≤ 100", what=what)
    counts: list[float] = []
    for number in range(runs):
        pieces = [
            f"UPDATE orders SET price = -price WHERE id BETWEEN {at} AND {at + 99};\n"
            "SELECT pg_sleep(0.1);\n"
            for at in range(500 + number, 2500 + number, 100)
        ]
        counts.append(spoil(server, "".join(pieces)) / 100)
    what = "transactions of 100 rows, ten a second, when the agent is dead"
    figures.value("transactions", counts, "transactions", target="≤ 1", what=what)


def main() -> None:
    """Measure and print."""
    figures = Figures("tampering", "a data set that is tampered with")
    if programs() is None or os.geteuid() != 0:
        figures.absent("f1", "it needs the Debian package postgresql, and root for a cell")
        figures.show()
        return
    with PostgresServer.started() as server:
        rows_spoilt(figures, server, figures.runs(5, 1))
        batches(figures, server, range(1, 1 + figures.runs(8, 1)))
    figures.show()


if __name__ == "__main__":
    main()
