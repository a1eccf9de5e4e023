"""A real PostgreSQL of the tests' own: in a temporary folder, by an unprivileged user, by its pid.

    with PostgresServer.started(folder) as server:
        server.execute("CREATE TABLE …", database="shop")

It listens on a socket in its own folder (nobody is asked for a password) and on a free loopback
port (with passwords). What a test leaves running inside ends with it.
"""

from __future__ import annotations

import contextlib
import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import psycopg

__all__ = ["PostgresServer", "programs"]

_SETTINGS = {
    "wal_level": "logical",
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_wal_senders": "20",
    "max_replication_slots": "20",
    "autovacuum": "off",
    "listen_addresses": "127.0.0.1",
    "log_min_messages": "fatal",
}
_HBA = "local all all trust\nlocal replication all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
_PATIENCE_S = 20.0


def programs() -> str | None:
    """Give the folder of the newest server's programs; None: it is not installed."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))
    return os.path.dirname(found[-1]) if found else None


class PostgresServer:
    """One server."""

    def __init__(self, folder: str, bin_folder: str) -> None:
        self.folder = folder
        self.sockets = f"{folder}/sockets"
        self.data = f"{folder}/data"
        self._bin = bin_folder
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    @classmethod
    @contextlib.contextmanager
    def started(cls, **settings: str) -> Iterator[PostgresServer]:
        """Make one in a folder of its own, and leave no trace of it."""
        bin_folder = programs()
        assert bin_folder is not None, "the Debian package postgresql is not installed"
        folder = tempfile.mkdtemp(prefix="pg-of-tests-")
        server = cls(folder, bin_folder)
        try:
            server.make(settings)
            server.start()
            yield server
        finally:
            server.stop()
            shutil.rmtree(folder, ignore_errors=True)

    def _as_user(self) -> dict[str, Any]:
        if os.geteuid() != 0:
            return {}
        user = pwd.getpwnam("postgres")
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}

    def make(self, settings: dict[str, str]) -> None:
        os.mkdir(self.sockets)
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            for path in (self.folder, self.sockets):
                os.chown(path, user.pw_uid, user.pw_gid)
        os.chmod(self.folder, 0o755)
        os.chmod(self.sockets, 0o755)
        argv = [f"{self._bin}/initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-N"]
        argv += ["--no-instructions", "-E", "UTF8", "--locale=C"]
        done = subprocess.run(
            argv, cwd=self.folder, capture_output=True, text=True, check=False, **self._as_user()
        )
        assert done.returncode == 0, done.stderr
        with open(f"{self.data}/postgresql.auto.conf", "a", encoding="utf-8") as file:
            file.writelines(
                f"{name} = '{value}'\n" for name, value in {**_SETTINGS, **settings}.items()
            )
        with open(f"{self.data}/pg_hba.conf", "w", encoding="utf-8") as file:
            file.write(_HBA)

    def start(self) -> None:
        argv = [f"{self._bin}/postgres", "-D", self.data, "-k", self.sockets, "-p", str(self.port)]
        with open(f"{self.folder}/log", "ab") as log:
            self._process = subprocess.Popen(
                argv,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self._as_user(),
            )
        end = time.monotonic() + _PATIENCE_S
        while True:
            try:
                self.connect("postgres").close()
                return
            except psycopg.OperationalError:
                assert self._process.poll() is None, "the server has ended: see its log"
                assert time.monotonic() < end, "the server does not answer"
                time.sleep(0.02)

    def stop(self, how: int = signal.SIGQUIT) -> None:
        """End it; SIGINT as a restart does, SIGQUIT at once."""
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def dsn(self, database: str, user: str = "postgres") -> str:
        """Give how to connect over the socket, without a password."""
        return f"host={self.sockets} port={self.port} dbname={database} user={user}"

    def tcp(self, database: str, user: str) -> str:
        """Give how to connect over the network, with a password to be added."""
        return f"host=127.0.0.1 port={self.port} dbname={database} user={user}"

    def connect(
        self, database: str, user: str = "postgres", **keys: str
    ) -> psycopg.Connection[tuple[Any, ...]]:
        """Connect; each statement is a transaction of its own unless one is begun."""
        return psycopg.connect(self.dsn(database, user), autocommit=True, **keys)

    def execute(self, *statements: str, database: str = "postgres") -> None:
        """Execute statements, each by itself."""
        with self.connect(database) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def database(self, name: str) -> None:
        """Make a database of that name anew."""
        end = time.monotonic() + _PATIENCE_S
        while True:
            try:
                self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
                break
            except psycopg.errors.ObjectInUse:  # who follows it has not noticed its end yet
                assert time.monotonic() < end, f"somebody follows {name} still"
                time.sleep(0.05)
        self.execute(f'CREATE DATABASE "{name}"')
