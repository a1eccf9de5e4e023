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
from needs import needs, needs_root
from offswitch.actuators.hands.data.sqlite.files import freeze, holds_open_descriptors
from offswitch.cli.declare import declare
from offswitch.config.load import installed_kinds, load
from postgres_server import PostgresServer

POSTGRES = """
[[actuator]]
name = "{name}"
target = "shop/{name}"
kind = "postgres"
dsn = "{off}"
password_file = "{folder}/{name}.off"
look_dsn = "{look}"
look_password_file = "{folder}/look"
token_file = "{folder}/{name}.own"
role = "agent_{name}"
prove = "{prove}"
"""
SQLITE = """
[[actuator]]
name = "{name}"
target = "shop/{name}"
kind = "sqlite"
path = "{path}"
"""
ROLES = """
DROP SCHEMA public CASCADE; CREATE SCHEMA public; GRANT USAGE ON SCHEMA public TO PUBLIC;
DROP ROLE IF EXISTS looker; CREATE ROLE looker LOGIN PASSWORD 'may look';
"""
ROLE = """
DROP ROLE IF EXISTS agent_{name}, off_{name};
CREATE ROLE agent_{name} LOGIN PASSWORD 'its own';
CREATE ROLE off_{name} LOGIN CREATEROLE PASSWORD 'may stop';
CREATE TABLE {name} (n int); ALTER TABLE {name} OWNER TO off_{name};
GRANT pg_signal_backend TO off_{name}; GRANT INSERT ON {name} TO agent_{name};
"""


class Ground:
    """An installation of targets that have nothing here but data, each test one of its own."""

    def __init__(self, folder: Path, server: PostgresServer) -> None:
        self.folder, self.server = folder, server
        self.home = Installation(folder).start()
        server.database("shop")
        server.execute(ROLES, database="shop")
        self._secret("look", "may look")
        self.tables: list[str] = []

    def _secret(self, name: str, said: str) -> Path:
        file = self.folder / name
        file.write_text(f"{said}\n")
        file.chmod(0o600)
        return file

    def role(self, name: str, prove: str = "1h") -> None:
        """Have a role, who may stop it, and a hand."""
        self.server.execute(ROLE.format(name=name), database="shop")
        self._secret(f"{name}.off", "may stop")
        self._secret(f"{name}.own", "its own")
        off, look = (self.server.tcp("shop", user) for user in (f"off_{name}", "looker"))
        keys = {"name": name, "off": off, "look": look, "folder": self.folder, "prove": prove}
        self.tables.append(POSTGRES.format(**keys))

    def file(self, name: str, path: Path) -> None:
        """Have a hand for a database."""
        self.tables.append(SQLITE.format(name=name, path=path))

    def declare(self) -> None:
        """Tell the warden of all of them at once."""
        config = Path(self.home.home, "offswitch.toml")
        names = ("orders", "mute", "rotated", "disk", "memory")
        targets = [f'[[target]]\nname = "shop/{name}"\nkind = "agent"\n' for name in names]
        config.write_text("".join([*targets, *self.tables]))
        config.chmod(0o600)
        self.home.ask(declare(load(str(config), installed_kinds())))

    def ready(self, name: str) -> str:
        return str(self.home.target(f"shop/{name}")["readiness"].get("data"))

    def proven(self, name: str, state: str = "ready") -> None:
        try:
            until(lambda: self.ready(name) == state, "its data is proven")
        except AssertionError:
            raise AssertionError(json.dumps(self.home.status()["targets"])) from None

    def stop(self, name: str) -> tuple[int, dict[str, Any]]:
        done = self.home.cli("stop", f"shop/{name}", "--json")
        answer = json.loads(done.stdout)
        [target] = answer["targets"]
        [layer] = [one for one in target["layers"] if one["layer"] == "data"]
        return done.returncode, layer


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


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Writer]]:
    with private(tmp_path_factory.mktemp("disk")) as made:
        yield made


@pytest.fixture(scope="module")
def memory() -> Iterator[tuple[Path, Writer]]:
    with private(Path("/dev/shm")) as made:
        yield made


@pytest.fixture(scope="module")
def ground(
    tmp_path_factory: pytest.TempPathFactory,
    postgres: PostgresServer,
    disk: tuple[Path, Writer],
    memory: tuple[Path, Writer],
) -> Iterator[Ground]:
    needs_root()
    ground = Ground(tmp_path_factory.mktemp("home"), postgres)
    try:
        ground.role("orders")
        ground.role("mute")
        ground.role("rotated", prove="500ms")
        ground.file("disk", disk[0])
        ground.file("memory", memory[0])
        ground.declare()
        yield ground
    finally:
        ground.home.close()


def test_ACT_2_a_stop_takes_the_role_its_rights_and_only_the_look_confirms_it(
    ground: Ground,
) -> None:
    ground.proven("orders")
    with ground.server.connect("shop", "agent_orders") as agent:
        agent.execute("INSERT INTO orders VALUES (1)")
        code, layer = ground.stop("orders")
        assert (code, layer["confirmed"]) == (0, True), layer
        with pytest.raises(psycopg.OperationalError):
            agent.execute("INSERT INTO orders VALUES (2)")
    [acted] = [one for one in ground.home.entries() if one.get("actuator") == "orders"]
    assert acted["what"] == "acted"
    assert any("GRANT INSERT ON TABLE public.orders" in line for line in acted["reissue"])


def test_VER_1_a_hand_that_could_not_act_is_found_out_by_the_look(ground: Ground) -> None:
    ground.proven("mute")
    with ground.server.connect("shop", "agent_mute") as agent:
        ground.server.execute(
            "REVOKE pg_signal_backend FROM off_mute", "ALTER ROLE off_mute NOCREATEROLE"
        )
        code, layer = ground.stop("mute")
        assert (code, layer["confirmed"]) == (4, False), layer
        assert "agent_mute can log in" in layer["detail"]
        agent.execute("SELECT 1")


def test_DRL_4_a_password_that_is_rotated_is_noticed_within_ten_seconds(ground: Ground) -> None:
    ground.proven("rotated")
    ground.server.execute("ALTER ROLE off_rotated PASSWORD 'another one'")
    until(lambda: ground.ready("rotated") == "unproven", "it is noticed", 10)
    (ground.folder / "rotated.off").write_text("another one\n")
    until(lambda: ground.ready("rotated") == "ready", "the new one is read and proven", 10)


def test_SR_4_a_hand_with_a_user_of_its_own_closes_a_database_that_it_could_not_read(
    ground: Ground, disk: tuple[Path, Writer]
) -> None:
    path, writer = disk
    fd = os.open(path, os.O_RDONLY)
    needs(holds_open_descriptors(fd), "temporary files on ext4")
    os.close(fd)
    ground.proven("disk")
    pids = ground.home.pids()
    for name in ("hand disk", "look disk"):
        assert "\nUid:\t0" not in Path(f"/proc/{pids[name]}/status").read_text()
    code, layer = ground.stop("disk")
    assert (code, layer["confirmed"]) == (0, True), layer
    with pytest.raises(AssertionError):
        writer.execute("INSERT INTO prices VALUES (1)")
    assert path.stat().st_mode & 0o777 == 0


def test_VER_1_where_an_open_descriptor_goes_on_the_stop_is_confirmed_once_it_is_closed(
    ground: Ground, memory: tuple[Path, Writer]
) -> None:
    ground.proven("memory", "degraded")
    code, layer = ground.stop("memory")
    assert (code, layer["confirmed"]) == (4, False), layer
    assert "somebody has it open for writing" in layer["detail"]
    memory[1].close()
    until(lambda: ground.home.target("shop/memory")["confirmed"], "its look sees it", 5)
