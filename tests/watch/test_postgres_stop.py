"""A real warden, a real watch, a real server: an agent that spoils a data set is stopped."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from installation import Running, until
from offswitch.watch.evidence import read_changes
from postgres_server import PostgresServer

if TYPE_CHECKING:
    from conftest import Shop

BAND = """{ kind = "data_band", series = 'orders-db.batch{table="prices"}' }"""
ROWS = 3000


class Orders:
    """A table of prices on a server, and an agent in its cell that may write it."""

    def __init__(self, server: PostgresServer, shop: Shop) -> None:
        self.server, self.shop = server, shop
        server.database("shop")
        server.execute(
            "CREATE TABLE prices (id bigint PRIMARY KEY, item text, price float8)",
            "INSERT INTO prices SELECT n, 'item ' || n, 10 + random() * 7 "
            f"FROM generate_series(1, {ROWS}) n",
            "ALTER TABLE prices REPLICA IDENTITY FULL",
            "CREATE PUBLICATION offswitch FOR TABLE prices",
            "DROP ROLE IF EXISTS watcher",
            "CREATE ROLE watcher LOGIN REPLICATION PASSWORD 'seen by root only'",
            "GRANT SELECT ON prices TO watcher",
            database="shop",
        )
        secret = Path(shop.installation.home, "orders.password")
        secret.write_text("seen by root only\n")
        secret.chmod(0o600)
        self.sensor = (
            '[[sensor]]\nname = "orders-db"\ntarget = "shop/agent"\nkind = "postgres"\n'
            f'dsn = "{server.tcp("shop", "watcher")}"\npassword_file = "{secret}"\n'
            'tables = ["prices"]\nevery = "100ms"\n'
        )

    def rows(self) -> list[tuple[Any, ...]]:
        with self.server.connect("shop") as db:
            return db.execute("SELECT * FROM prices ORDER BY id").fetchall()

    def agent(self, statements: str) -> Running:
        """Start an agent that executes statements, each by itself, when it is told to."""
        script = self.shop.installation.work / "spoil.sql"
        script.write_text(statements)
        psql = f"psql -q '{self.server.dsn('shop')}' -f spoil.sql"
        shell = f"echo ready; read go <> go; {psql}; sleep 60"
        go = self.shop.installation.work / "go"
        os.mkfifo(go, 0o666)
        running = self.shop.installation.run("sh", "-c", shell, target="shop/agent")
        assert running.line() == "ready"
        until(self.shop.seen, "the data set is watched")
        with open(go, "w", encoding="utf-8") as word:
            word.write("go\n")
        return running


@pytest.fixture
def orders(postgres: PostgresServer, shop: Shop) -> Orders:
    return Orders(postgres, shop)


def test_DET_3_a_delete_row_by_row_is_cut_and_every_row_lost_is_kept(
    orders: Orders, shop: Shop
) -> None:
    before = orders.rows()
    shop.start_watch(orders.sensor, shop.rule(shop.DELETED))
    agent = orders.agent("".join(f"DELETE FROM prices WHERE id = {n};\n" for n in range(1, ROWS)))
    assert shop.wait_stopped(agent)["level"] == "kill"
    after = orders.rows()
    lost = len(before) - len(after)
    print(f"N = 20, rows lost = {lost}, overrun = {lost - 20}")
    assert 20 < lost < ROWS - 1, "it was cut in the middle"

    def kept() -> bool:
        data = Path(shop.installation.home, "evidence", "orders-db.jsonl").read_bytes()
        keys = {int(str(change.key)) for _when, change in read_changes(data)}
        return keys == {row[0] for row in before} - {row[0] for row in after}

    until(kept, "before-images of exactly the lost rows", 5)
    [live] = shop.installation.status()["latched"]
    assert live["by"] == "rule:mass-write"


def test_MON_1_a_data_set_band_stops_after_the_one_statement_that_spoilt_it(
    orders: Orders, shop: Shop
) -> None:
    """And `status` shows the signal of data fresh until then."""
    shop.start_watch(orders.sensor, shop.rule(BAND))
    agent = orders.agent(
        "UPDATE prices SET price = price * 2.54 WHERE id % 3 = 0;\nSELECT pg_sleep(1);\n"
        "UPDATE prices SET item = 'x';\n"
    )
    shop.wait_stopped(agent)
    assert all(item != "x" for _id, item, _price in orders.rows()), "the second never came"
    [finding] = until(
        lambda: [one for one in shop.entries("finding") if "data_band" in one["detector"]], "", 5
    )
    assert finding["what"].startswith("factor: 1000 rows of price")
    assert "x 2.5" in json.dumps(finding) or "times 2.5" in json.dumps(finding)
