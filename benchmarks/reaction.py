"""From a spoilt row to a dead agent: the automatic path, measured through real processes.

    benchmarks/reaction.py [--quick] [--json] [--data DIR]

A warden, a watch and an agent in its cell. The agent writes sensible prices, then one that
is not; a rule on the column's largest value stops it. `auto-row` is the time from just
before the agent's statement to the moment at which the kernel reports the agent's end, as
this script sees it on a pidfd. The share of the sensor, from the same statement to the
decision (inotify, log, keyed diff, statistics, detector, vote), is printed beside it; the
rest is the order, the warden's cut and the end of the process.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import select
import shutil
import signal
import sqlite3
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

from figures import Figures

from offswitch.clock import new_nonce
from offswitch.control.client import Conversation, call
from offswitch.control.place import Place
from offswitch.errors import OffswitchError

ROWS = 1000
PATIENCE_S = 15.0
STAMP = struct.Struct("QQ")
AGENT = """\
import mmap, os, sqlite3, struct, sys, time
db = sqlite3.connect("orders.db", isolation_level=None, timeout=10)
with open("stamp", "r+b") as file:
    stamp = mmap.mmap(file.fileno(), 16)
n = 0
while not os.path.exists("spoil"):
    n += 1
    db.execute("UPDATE prices SET price = ? WHERE id = ?", (10.0 + n % 11, n % 1000))
    time.sleep(0.02)
struct.pack_into("QQ", stamp, 0, time.monotonic_ns(), time.time_ns())
db.execute("UPDATE prices SET price = 99999.0 WHERE id = 7")
time.sleep(60)
"""
CONFIG = """\
[[sensor]]
name = "orders-db"
target = "shop/agent"
kind = "sqlite"
path = "{path}"
tables = ["prices"]
every = "{every}"

[[rule]]
name = "spoilt-row"
target = "shop/agent"
harm = "wrong prices are charged"
time_to_harm = "5s"
false_stop_cost = "the shop is closed for minutes"
act = "auto"
detectors = [{{ kind = "threshold", series = 'orders-db.max{{column="price",table="prices"}}', above = 1000 }}]
"""  # noqa: E501 - a configuration's line
EVERY = "10ms"
"""The sensor's shortest interval."""


class Bench:
    """One installation with a warden and a watch."""

    def __init__(self, folder: str, run: str) -> None:
        self.work = f"{folder}/work"
        self.place = Place(f"{folder}/home", run)
        os.makedirs(self.work)
        os.makedirs(self.place.home)
        self.path = f"{self.work}/orders.db"
        with contextlib.closing(sqlite3.connect(self.path, isolation_level=None)) as db:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("CREATE TABLE prices (id INTEGER PRIMARY KEY, item TEXT, price REAL)")
            db.execute("BEGIN")
            rows = ((n, f"item {n}", 10.0 + n % 7) for n in range(ROWS))
            db.executemany("INSERT INTO prices VALUES (?, ?, ?)", rows)
            db.execute("COMMIT")
        with open(self.place.config, "w", encoding="utf-8") as file:
            file.write(CONFIG.format(path=self.path, every=EVERY))
        os.chmod(self.place.config, 0o600)
        with open(f"{self.work}/agent.py", "w", encoding="utf-8") as file:
            file.write(AGENT)
        with open(f"{self.work}/stamp", "wb") as file:
            file.write(bytes(STAMP.size))
        self.processes = [self._start("offswitch.warden")]
        self.wait(self._answers, "the warden answers")
        self.processes.append(self._start("offswitch.watch"))

    def _start(self, module: str) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-I", "-m", module, "--home", self.place.home]
        return subprocess.Popen([*argv, "--run", self.place.run], start_new_session=True)

    def _answers(self) -> bool:
        try:
            return bool(call(self.place, {"op": "ping"}).get("pong"))
        except OffswitchError:
            return False

    @staticmethod
    def wait(what: Any, why: str) -> Any:  # noqa: ANN401 - whatever it gives
        """Wait until `what()` is true."""
        end = time.monotonic() + PATIENCE_S
        while not (value := what()):
            if time.monotonic() > end:
                raise SystemExit(f"in vain: {why}")
            time.sleep(0.002)
        return value

    def row(self) -> dict[str, Any]:
        """Give the status of the agent."""
        rows = call(self.place, {"op": "status", "scope": None})["targets"]
        return next((dict(row) for row in rows if row["target"] == "shop/agent"), {})

    def watched(self) -> bool:
        """Whether the data set was looked at within the last half second."""
        data = self.row().get("signals", {}).get("data", {})
        return data.get("age_ms") is not None and data["age_ms"] < 500 and not data["stale"]

    def once(self) -> tuple[float, float]:
        """One run: milliseconds from the row to the agent's end, and to the decision."""
        with open(f"{self.work}/stamp", "r+b") as file:
            stamp = mmap.mmap(file.fileno(), STAMP.size)
        with Conversation(self.place.warden_socket, PATIENCE_S) as relay:
            null = os.open(os.devnull, os.O_RDWR)
            message = {
                "op": "run",
                "target": "shop/agent",
                "argv": ["/usr/bin/python3", "-I", "agent.py"],
                "cwd": self.work,
                "env": {"PATH": "/usr/bin:/bin"},
                "user": None,
                "tty": False,
                "detached": False,
                "raw": True,
            }
            born = relay.ask(message, (null, null, 2))
            os.close(null)
            pidfd = os.pidfd_open(int(born["pid"]))
            self.wait(self.watched, "the data set is watched")
            time.sleep(0.3)
            with open(f"{self.work}/spoil", "wb"):
                pass
            poll = select.poll()
            poll.register(pidfd, select.POLLIN)
            ended = bool(poll.poll(PATIENCE_S * 1000))
            dead_ns = time.monotonic_ns()
            os.close(pidfd)
        if not ended:
            raise SystemExit(f"the agent was not stopped: {self.row()}")
        written_ns, wall_ns = STAMP.unpack(stamp[:])
        status = call(self.place, {"op": "status", "scope": None})
        [stop] = status["latched"]
        decided_ms = (int(stop["time_us"]) * 1000 - wall_ns) / 1e6
        self._again()
        return (dead_ns - written_ns) / 1e6, decided_ms

    def _again(self) -> None:
        """Repair the row, and reset, so that the next run begins as the first did."""
        os.unlink(f"{self.work}/spoil")
        with contextlib.closing(sqlite3.connect(self.path, isolation_level=None)) as db:
            db.execute("UPDATE prices SET price = 10.0 WHERE id = 7")
        time.sleep(0.05)
        self.wait(lambda: self.row().get("confirmed"), "the stop is confirmed")
        message = {
            "op": "reset",
            "scope": "shop/agent",
            "reason": "benchmark",
            "nonce": new_nonce(),
            "time_us": time.time_ns() // 1000,
        }
        call(self.place, message, PATIENCE_S)
        self.wait(lambda: not self.row().get("latched"), "the reset is done")
        time.sleep(0.3)

    def close(self) -> None:
        """End both processes."""
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def installation() -> Iterator[Bench]:
    """Give an installation of its own, and leave no trace of it."""
    folder = tempfile.mkdtemp(prefix="offswitch-reaction-")
    run = tempfile.mkdtemp(prefix="offswitch-reaction-", dir="/dev/shm")
    os.chmod(run, 0o711)
    bench: Bench | None = None
    try:
        bench = Bench(folder, run)
        yield bench
    finally:
        if bench is not None:
            bench.close()
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(run, ignore_errors=True)


def main() -> None:
    """Measure and print."""
    figures = Figures("reaction", "from a spoilt row to a dead agent")
    if os.geteuid() != 0:
        figures.absent("auto-row", "the agent needs a cell, and so root")
        figures.show()
        return
    runs = figures.runs(40, 20)
    with installation() as bench:
        figures.say(f"{runs} agents spoil a row each")
        taken = [bench.once() for _ in range(runs)]
    dead = [one for one, _ in taken]
    sensor = statistics.median(one for _, one in taken)
    rest = statistics.median(one - decided for one, decided in taken)
    what = f"row → rule → agent dead; sensor's share {sensor:.2f} ms, order to end {rest:.2f} ms"
    figures.say(what)
    figures.value("auto-row", dead, "ms", what=what, target="≤ 20 ms")
    figures.show()


if __name__ == "__main__":
    main()
