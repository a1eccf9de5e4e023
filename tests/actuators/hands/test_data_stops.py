"""The layer data from its configuration to a verdict, by hands that gave their rights away."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from database_writer import Writer
from installation import Installation, until
from needs import needs
from offswitch.actuators.hands.sqlite.files import freeze, holds_open_descriptors
from offswitch.cli.declare import declare
from offswitch.config.load import installed_kinds, load
from postgres_server import PostgresServer

pytestmark = pytest.mark.usefixtures("as_root")
TARGET = "shop/agent"
POSTGRES = """
[[actuator]]
name = "orders"
target = "{target}"
kind = "postgres"
dsn = "{dsn}"
password_file = "{folder}/off.password"
look_dsn = "{look}"
look_password_file = "{folder}/look.password"
token_file = "{folder}/agent.password"
role = "agent"
prove = "{prove}"
"""
SQLITE = """
[[actuator]]
name = "prices"
target = "{target}"
kind = "sqlite"
path = "{path}"
"""
ROLES = """
DROP SCHEMA public CASCADE; CREATE SCHEMA public; GRANT USAGE ON SCHEMA public TO PUBLIC;
DROP ROLE IF EXISTS agent, off, looker;
CREATE ROLE agent LOGIN PASSWORD 'its own';
CREATE ROLE off LOGIN CREATEROLE PASSWORD 'may stop';
CREATE ROLE looker LOGIN PASSWORD 'may look';
CREATE TABLE orders (n int); ALTER TABLE orders OWNER TO off;
GRANT pg_signal_backend TO off; GRANT INSERT ON orders TO agent;
"""


class Ground:
    """An installation with a target that has nothing here but data."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = Installation(folder).start()

    def declare(self, *tables: str) -> None:
        config = Path(self.home.home, "offswitch.toml")
        config.write_text("".join([f'[[target]]\nname = "{TARGET}"\nkind = "agent"\n', *tables]))
        config.chmod(0o600)
        self.home.ask(declare(load(str(config), installed_kinds())))

    def ready(self, state: str = "ready") -> None:
        def proven() -> bool:
            return bool(self.home.target(TARGET)["readiness"].get("data") == state)

        try:
            until(proven, "the layer is ready")
        except AssertionError:
            raise AssertionError(json.dumps(self.home.status()["targets"])) from None

    def stop(self) -> tuple[int, dict[str, Any]]:
        done = self.home.cli("stop", TARGET, "--json")
        answer = json.loads(done.stdout)
        [target] = answer["targets"]
        [layer] = [one for one in target["layers"] if one["layer"] == "data"]
        return done.returncode, layer


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    ground = Ground(tmp_path)
    yield ground
    ground.home.close()


@pytest.fixture
def orders(
    ground: Ground, postgres: PostgresServer, request: pytest.FixtureRequest
) -> PostgresServer:
    """A role that writes orders, and the hand that stops it, proven once or as often as is said."""
    postgres.database("shop")
    postgres.execute(ROLES, database="shop")
    for name, said in (("off", "may stop"), ("look", "may look"), ("agent", "its own")):
        file = ground.folder / f"{name}.password"
        file.write_text(f"{said}\n")
        file.chmod(0o600)
    dsn, look = postgres.tcp("shop", "off"), postgres.tcp("shop", "looker")
    said = POSTGRES.format(
        target=TARGET,
        dsn=dsn,
        look=look,
        folder=ground.folder,
        prove=getattr(request, "param", "1h"),
    )
    ground.declare(said)
    ground.ready()
    return postgres


def test_ACT_2_a_stop_takes_the_role_its_rights_and_only_the_look_confirms_it(
    ground: Ground, orders: PostgresServer
) -> None:
    with orders.connect("shop", "agent") as agent:
        agent.execute("INSERT INTO orders VALUES (1)")
        code, layer = ground.stop()
        assert (code, layer["confirmed"]) == (0, True), layer
        with pytest.raises(psycopg.OperationalError):
            agent.execute("INSERT INTO orders VALUES (2)")
    [acted] = [one for one in ground.home.entries() if one.get("what") == "acted"]
    assert any("GRANT INSERT ON TABLE public.orders" in line for line in acted["reissue"])


def test_VER_1_a_hand_that_could_not_act_is_found_out_by_the_look(
    ground: Ground, orders: PostgresServer
) -> None:
    with orders.connect("shop", "agent") as agent:
        orders.execute("REVOKE pg_signal_backend FROM off", "ALTER ROLE off NOCREATEROLE")
        code, layer = ground.stop()
        assert (code, layer["confirmed"]) == (4, False), layer
        assert "agent can log in" in layer["detail"]
        agent.execute("SELECT 1")


@pytest.mark.parametrize("orders", ["500ms"], indirect=True)
def test_DRL_4_a_password_that_is_rotated_is_noticed_within_ten_seconds(
    ground: Ground, orders: PostgresServer
) -> None:
    def data() -> str:
        return str(ground.home.target(TARGET)["readiness"]["data"])

    orders.execute("ALTER ROLE off PASSWORD 'another one'")
    until(lambda: data() == "unproven", "it is noticed", 10)
    file = ground.folder / "off.password"
    file.write_text("another one\n")
    until(lambda: data() == "ready", "the new one is read and proven", 10)


@contextlib.contextmanager
def private(below: Path) -> Iterator[tuple[Path, Writer]]:
    """A database in a folder of somebody's own, and a writer who has it open."""
    folder = Path(tempfile.mkdtemp(prefix="offswitch-private-", dir=below))
    writer = Writer(folder / "prices.db")
    try:
        writer.execute("PRAGMA busy_timeout=20")
        writer.execute("PRAGMA journal_mode=wal")
        writer.execute("CREATE TABLE prices (n)")
        for each in (folder, *folder.iterdir()):
            os.chown(each, 1234, 1234)
        yield folder / "prices.db", writer
    finally:
        with contextlib.suppress(OSError, ValueError):
            writer.close()
        for each in folder.iterdir():
            with contextlib.suppress(OSError), each.open("rb") as file:
                freeze(file.fileno(), value=False)
        shutil.rmtree(folder)


def test_SR_4_a_hand_with_a_user_of_its_own_closes_a_database_that_it_could_not_read(
    ground: Ground,
) -> None:
    with private(ground.folder) as (path, writer):
        fd = os.open(path, os.O_RDONLY)
        needs(holds_open_descriptors(fd), "temporary files on ext4")
        os.close(fd)
        ground.declare(SQLITE.format(target=TARGET, path=path))
        ground.ready()
        pids = ground.home.pids()
        for name in ("hand prices", "look prices"):
            status = Path(f"/proc/{pids[name]}/status").read_text()
            assert "\nUid:\t0" not in status
        code, layer = ground.stop()
        assert (code, layer["confirmed"]) == (0, True), layer
        with pytest.raises(AssertionError):
            writer.execute("INSERT INTO prices VALUES (1)")
        assert path.stat().st_mode & 0o777 == 0


def test_VER_1_where_an_open_descriptor_goes_on_the_stop_is_confirmed_once_it_is_closed(
    ground: Ground,
) -> None:
    with private(Path("/dev/shm")) as (path, writer):
        ground.declare(SQLITE.format(target=TARGET, path=path))
        ground.ready("degraded")
        code, layer = ground.stop()
        assert (code, layer["confirmed"]) == (4, False), layer
        assert "somebody has it open for writing" in layer["detail"]
        writer.close()
        until(lambda: ground.home.target(TARGET)["confirmed"], "its look sees it", 5)
