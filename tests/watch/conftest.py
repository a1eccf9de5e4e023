"""A real warden, a real watch, and an agent with a real database."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import pytest

from installation import PYTHON, Installation, Running, until

AGENT = """\
import os, sqlite3, sys, time
path, mode = sys.argv[1:3]
db = sqlite3.connect(path, isolation_level=None, timeout=30)
print("ready", flush=True)
orders = iter(sys.stdin.readline, "")
for order in orders:
    word, _, rest = order.strip().partition(" ")
    try:
        if word == "sql":
            db.execute(rest)
        elif word == "each":
            count, sql = rest.split(" ", 1)
            for number in range(int(count)):
                db.execute(sql, (number,))
    except sqlite3.Error as error:
        print("error", error, flush=True)
    else:
        print("done", db.total_changes, flush=True)
"""


class Shop:
    """An agent that may write a database, and what is told to it."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.path = installation.work / "orders.db"
        self.watch: subprocess.Popen[bytes] | None = None
        self.config = Path(installation.home, "offswitch.toml")
        self._orders: TextIO | None = None

    def make(self, rows: int = 1000, journal: str = "wal") -> None:
        """Make the database with `rows` prices."""
        db = sqlite3.connect(self.path, isolation_level=None)
        db.execute(f"PRAGMA journal_mode={journal}")
        db.execute("CREATE TABLE prices (id INTEGER PRIMARY KEY, item TEXT, price REAL)")
        db.execute("BEGIN")
        numbers = ((n, f"item {n}", 10.0 + n % 7) for n in range(rows))
        db.executemany("INSERT INTO prices VALUES (?, ?, ?)", numbers)
        db.execute("COMMIT")
        db.close()

    def sensor(self, **more: str) -> str:
        keys = {"every": '"100ms"', **more}
        lines = "\n".join(f"{key} = {value}" for key, value in keys.items())
        return (
            f'[[sensor]]\nname = "orders-db"\ntarget = "shop/agent"\nkind = "sqlite"\n'
            f'path = "{self.path}"\ntables = ["prices"]\n{lines}\n'
        )

    @staticmethod
    def rule(detectors: str, *, act: str = "auto", name: str = "mass-write", **more: str) -> str:
        keys = {"time_to_harm": '"5s"' if act != "advise" else '"1m"', **more}
        lines = "\n".join(f"{key} = {value}" for key, value in keys.items())
        return (
            f'[[rule]]\nname = "{name}"\ntarget = "shop/agent"\nharm = "wrong prices"\n'
            f'false_stop_cost = "minutes"\nact = "{act}"\ndetectors = [{detectors}]\n{lines}\n'
        )

    RATE = """{ kind = "rate", series = 'orders-db.rows_changed{table="prices"}', above = 50 }"""
    DELETED = """{ kind = "rate", series = 'orders-db.rows_deleted{table="prices"}', above = 20 }"""

    def start_watch(self, *tables: str) -> None:
        """Write the configuration and start watching by it; waits until it has looked once."""
        self.config.write_text("\n".join(tables))
        self.config.chmod(0o600)
        argv = [sys.executable, "-I", "-m", "offswitch.watch"]
        argv += ["--home", self.installation.home, "--run", self.installation.run_folder]
        with open(f"{self.installation.home}/watch.log", "ab") as log:
            self.watch = subprocess.Popen(argv, stderr=log, start_new_session=True)

    def seen(self, kind: str = "data", target: str = "shop/agent") -> dict[str, Any] | None:
        """Give what `status` says of a signal; None before its first reading."""
        rows = {row["target"]: row for row in self.installation.status()["targets"]}
        signal_ = rows.get(target, {}).get("signals", {}).get(kind)
        return signal_ if signal_ and signal_["age_ms"] is not None else None

    def run(self, journal: str = "wal") -> Running:
        """Start the agent in its cell and wait until it has opened the database."""
        script = self.installation.work / "agent.py"
        script.write_text(AGENT)
        orders = self.installation.work / "orders"
        if not orders.exists():
            os.mkfifo(orders, 0o666)
        shell = f"exec {PYTHON} -I agent.py orders.db {journal} <> orders"
        running = self.installation.run("sh", "-c", shell, target="shop/agent")
        assert running.line() == "ready", running.read()
        self._hang_up()
        self._orders = open(orders, "w", encoding="utf-8")  # noqa: SIM115 - held open
        return running

    def tell(self, running: Running, order: str) -> str:
        """Have the agent do something; gives its answer, empty if it died of it."""
        self.order(order)
        return running.line()

    def order(self, order: str) -> None:
        """Have the agent do something, and do not wait for it."""
        assert self._orders is not None
        self._orders.write(order + "\n")
        self._orders.flush()

    def level(self) -> str | None:
        rows = {row["target"]: row for row in self.installation.status()["targets"]}
        level: str | None = rows.get("shop/agent", {}).get("level")
        return level

    def wait_stopped(self, running: Running) -> dict[str, Any]:
        event = running.event("stopped")
        running.event("exited")
        return event

    def entries(self, kind: str) -> list[dict[str, Any]]:
        """Give the ledger's entries of one kind, oldest first."""
        return [one for one in self.installation.entries() if one.get("kind") == kind]

    def silences(self) -> list[dict[str, Any]]:
        """Give the findings that a source fell silent."""
        return [one for one in self.entries("finding") if one["detector"] == "silence"]

    def eye_of(self, role: str) -> int:
        """Give the eye that looks at the data set: the one that has inotify watches on it."""
        assert role == "data"
        inode = f"ino:{os.stat(self.path).st_ino:x} "
        for pid in self.eyes():
            for fd in os.listdir(f"/proc/{pid}/fdinfo"):
                if inode in Path(f"/proc/{pid}/fdinfo/{fd}").read_text():
                    return pid
        return 0

    def eyes(self) -> list[int]:
        """List the processes of watch's eyes."""
        assert self.watch is not None
        found = []
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                stat = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
                name = Path(f"/proc/{entry}/comm").read_text().strip()
            except OSError:
                continue
            if int(stat[1]) == self.watch.pid and stat[0] != "Z" and name == "offswitch-eye":
                found.append(int(entry))
        return found

    def close(self) -> None:
        if self.watch is not None:
            for pid in self.eyes():
                os.kill(pid, signal.SIGCONT)
            self.watch.terminate()
            try:
                self.watch.wait(10)
            except subprocess.TimeoutExpired:
                self.watch.kill()
                self.watch.wait()
        self._hang_up()

    def _hang_up(self) -> None:
        if self._orders is not None:
            # What an agent that is dead has not read is nobody's.
            with contextlib.suppress(BrokenPipeError):
                self._orders.close()
            self._orders = None


@pytest.fixture
def shop(tmp_path: Path, as_root: None) -> Iterator[Shop]:
    """Give an installation with its warden running, and a shop in it."""
    installation = Installation(tmp_path)
    one = Shop(installation)
    try:
        installation.start()
        yield one
    finally:
        one.close()
        installation.close()


__all__ = ["Shop", "until"]
