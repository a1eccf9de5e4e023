"""The fleet: three real programs, their data, and what can be read from it afterwards."""

from __future__ import annotations

import importlib.resources
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import dataclass, field

from offswitch.demo.stage import Stage

__all__ = ["ASSISTANT", "CHILDREN", "IMPORTS", "PRICING", "PRODUCTS", "SLIP", "Fleet", "Spoilt"]

PRICING, IMPORTS, ASSISTANT = "shop/pricing", "shop/imports", "shop/assistant"
PRODUCTS = 2000
CHILDREN = 4
SLIP = 100
"""A supplier that sends euros where cents were agreed."""
_ACTORS = ("pricing.py", "imports.py", "assistant.py", "client.py")
_SEED = 2026

_CONFIG = """\
[[target]]
name = "{pricing}"
kind = "agent"
labels = {{ model = "pricer-7" }}
on_blind = "kill"
safe_state = "prices stay as they are"
stop_impact = {{ who = "buyers", harm = "prices age", bearable = "1d", told_by = "the shop" }}

[[target]]
name = "{imports}"
kind = "worker"

[[target]]
name = "{assistant}"
kind = "model-server"

[[sensor]]
name = "shop-db"
target = "{pricing}"
kind = "sqlite"
path = "{database}"
tables = ["prices"]
every = "5ms"

[[rule]]
name = "mass-write"
target = "{pricing}"
harm = "wrong prices are charged"
time_to_harm = "5s"
false_stop_cost = "prices age for minutes"
detectors = [
    {{ kind = "rate", series = 'shop-db.rows_changed{{table="prices"}}', above = 50, per = "1s" }},
]
vote = "1oo1"
act = "auto"
stop = {{ level = "kill" }}
"""


@dataclass(frozen=True, slots=True)
class Spoilt:
    """What the agent had done to the data when it was cut."""

    rows: int
    first_ns: int
    """When the first nonsense was written, nanoseconds since the epoch, by the agent's clock."""
    last_ns: int
    """When the agent wrote for the last time, sense or nonsense."""


@dataclass(slots=True)
class Fleet:
    """The three programs and a customer, on a stage."""

    stage: Stage
    relays: dict[str, subprocess.Popen[str]] = field(default_factory=dict)
    customer: subprocess.Popen[str] | None = None
    _sound: dict[str, int] = field(default_factory=dict)

    # --- before -------------------------------------------------------------------

    def set_up(self) -> None:
        """Write the programs, the shop, the supplier's feed and the configuration."""
        shop = self.stage.shop
        actors = importlib.resources.files("offswitch.demo") / "actors"
        for name in _ACTORS:
            with open(f"{shop}/{name}", "wb") as file:
                file.write((actors / name).read_bytes())
        chance = random.Random(_SEED)  # noqa: S311 - prices, not secrets
        self._sound = {f"tea-{number:04}": chance.randint(199, 9999) for number in range(PRODUCTS)}
        self.write_feed(1)
        with sqlite3.connect(self.database) as database:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute(
                "CREATE TABLE prices (sku TEXT PRIMARY KEY, cents INTEGER NOT NULL,"
                " changed_ns INTEGER NOT NULL DEFAULT 0)"
            )
            database.executemany(
                "INSERT INTO prices (sku, cents) VALUES (?, ?)", self._sound.items()
            )
        database.close()
        os.makedirs(self.stage.place.home, mode=0o711, exist_ok=True)
        with open(self.stage.place.config, "w", encoding="utf-8") as config:
            config.write(
                _CONFIG.format(
                    pricing=PRICING, imports=IMPORTS, assistant=ASSISTANT, database=self.database
                )
            )

    @property
    def database(self) -> str:
        """The shop's database."""
        return f"{self.stage.shop}/shop.db"

    def write_feed(self, slip: int) -> None:
        """Let the supplier send its prices, divided by `slip`."""
        path = f"{self.stage.shop}/feed.json"
        prices = {sku: max(cents // slip, 1) for sku, cents in self._sound.items()}
        with open(f"{path}.new", "w", encoding="utf-8") as file:
            json.dump(prices, file)
        os.replace(f"{path}.new", path)

    def run(self) -> None:
        """Put the three under the switch, and let a customer in."""
        shop = self.stage.shop
        self._run(PRICING, "pricing.py", self.database, f"{shop}/feed.json")
        self._run(IMPORTS, "imports.py", shop, str(CHILDREN))
        self._run(ASSISTANT, "assistant.py", f"{shop}/port")
        names = {PRICING, IMPORTS, ASSISTANT}

        def all_run() -> bool:
            rows = self.stage.rows()
            return names <= {name for name, row in rows.items() if row["pids"]}

        self.stage.await_that("the fleet runs", all_run)
        self.stage.await_that("the server listens", lambda: os.path.exists(f"{shop}/port"))
        with open(f"{shop}/port", encoding="ascii") as file:
            port = file.read()
        self.customer = self.stage.spawn([sys.executable, f"{shop}/client.py", port], "customer")

    def _run(self, target: str, program: str, *words: str) -> None:
        command = ["run", "--target", target, "--", sys.executable, program, *words]
        self.relays[target] = self.stage.spawn_ours(*command)

    # --- afterwards ---------------------------------------------------------------

    def changes(self) -> int:
        """Count the prices that the agent has changed."""
        with sqlite3.connect(f"file:{self.database}?mode=ro", uri=True) as database:
            row = database.execute("SELECT count(*) FROM prices WHERE changed_ns > 0").fetchone()
        database.close()
        return int(row[0])

    def spoilt(self) -> Spoilt:
        """Compare every price with what it should be: half of that or less is nonsense.

        A copy is read, log included: an agent that is killed in its last commit may have
        written it, and not have told the other readers of the log.
        """
        folder = f"{self.stage.folder}/copy"
        shutil.rmtree(folder, ignore_errors=True)
        os.mkdir(folder)
        shutil.copyfile(self.database, f"{folder}/shop.db")
        if os.path.exists(f"{self.database}-wal"):  # gone where the last reader tidied up
            shutil.copyfile(f"{self.database}-wal", f"{folder}/shop.db-wal")
        with sqlite3.connect(f"{folder}/shop.db") as database:
            rows = database.execute("SELECT sku, cents, changed_ns FROM prices").fetchall()
        database.close()
        nonsense = [when for sku, cents, when in rows if cents * 2 <= self._sound[sku]]
        last = max(when for _sku, _cents, when in rows)
        return Spoilt(len(nonsense), min(nonsense, default=0), last)

    def repair(self) -> None:
        """Give every spoilt price its value again."""
        with sqlite3.connect(self.database) as database:
            database.executemany(
                "UPDATE prices SET cents = ?1 WHERE sku = ?2 AND cents * 2 <= ?1",
                [(cents, sku) for sku, cents in self._sound.items()],
            )
        database.close()

    def last_heartbeats(self) -> list[int]:
        """Give when each process of the worker acted last, nanoseconds since the epoch."""
        beats = []
        for name in sorted(os.listdir(self.stage.shop)):
            if name.startswith("worker-"):
                with open(f"{self.stage.shop}/{name}", encoding="ascii") as file:
                    beats.append(int(file.read().split()[0]))
        return beats

    def customer_said(self) -> dict[str, int]:
        """Give how many tokens the customer got, and when the last one came."""
        if self.customer is None:
            return {}
        out, _ = self.customer.communicate(timeout=15)
        said: dict[str, int] = json.loads(out)
        return said
