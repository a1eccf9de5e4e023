"""The part of `layers.py` about PostgreSQL: order → last write that busy sessions commit.

Four sessions of pgbench insert rows as fast as they can, on a server that writes its log to disk as
servers do. The order goes to a real warden, which tells the hand; the last write is the latest
commit by the server's own word (`track_commit_timestamp`), counted from when the order was
accepted. Both clocks are this machine's, compared before each run. Beside it what a person with an
open session would do: take the login, and end the sessions.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from figures import Figures

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from installation import Installation, until
from offswitch.control import frames
from offswitch.control.client import Conversation
from postgres_server import PostgresServer, programs

KEYS = ("postgres-last-write",)
_TARGET = "bench/writer"
_RUNS = 60
_FEWEST = 10
_BUSY = 200
"""So many rows are written before the cut."""
_SETTLE_S = 0.05


class _Stage:
    """A server, a warden with one hand, and a role that writes."""

    def __init__(self, folder: Path, server: PostgresServer) -> None:
        self.server = server
        self.script = folder / "insert.sql"
        self.script.write_text("INSERT INTO acts (n) VALUES (:client_id);\n")
        password = folder / "password"
        password.write_text("may stop")
        password.chmod(0o600)
        server.database("shop")
        server.execute(
            "CREATE ROLE off SUPERUSER LOGIN PASSWORD 'may stop'",
            "CREATE ROLE agent",
            "CREATE TABLE acts (n int)",
            database="shop",
        )
        self.person = server.connect("shop")
        self.home = Installation(folder).start()
        about = {"name": "acts", "target": _TARGET, "kind": "postgres"}
        settings = {"dsn": server.tcp("shop", "off"), "password_file": str(password)}
        settings |= {**about, "role": "agent", "prove": "1h"}
        hand = {**about, "layer": "data", "settings": settings, "files": [str(password)]}
        hand |= {"deadline_us": 1_000_000, "prove_us": 3_600_000_000}
        self._give()
        message = {"op": "declare", "targets": [{"name": _TARGET}], "actuators": [hand]}
        self.home.ask(message)
        until(self._proven, "the hand is proven", 20)

    def _proven(self) -> bool:
        ready = self.home.target(_TARGET)["readiness"].get("data")
        return ready in {"ready", "degraded"}

    def _give(self) -> None:
        self.server.execute(
            "TRUNCATE acts", "ALTER ROLE agent LOGIN", "GRANT INSERT ON acts TO agent",
            database="shop",
        )  # fmt: skip

    @contextlib.contextmanager
    def _busy(self) -> Iterator[None]:
        """Four sessions write, and have written."""
        self._give()
        argv = [f"{programs()}/pgbench", "-n", "-c", "4", "-j", "2", "-T", "600"]
        argv += ["-f", str(self.script), self.server.dsn("shop", "agent")]
        with open(os.devnull, "wb") as null:
            writers = subprocess.Popen(argv, stdout=null, stderr=null)
        try:
            until(lambda: self._one("SELECT count(*) FROM acts") > _BUSY, "they write", 10)
            time.sleep(_SETTLE_S)
            yield
        finally:
            writers.kill()
            writers.wait()

    def _one(self, query: str) -> float:
        [(value,)] = self.person.execute(query.encode()).fetchall()
        return float(value)

    def _last_ns(self) -> int:
        """Give when the last write was committed, by the wall clock."""
        query = "SELECT extract(epoch FROM max(pg_xact_commit_timestamp(xmin))) * 1e6 FROM acts"
        return int(self._one(query)) * 1000

    def by_order(self) -> float:
        """Milliseconds from the order's acceptance to the last write."""
        conversation = Conversation(self.home.place.warden_socket, 10.0)
        order = frames.encode(self.home.stop_message(_TARGET))
        with self._busy():
            off_ns = time.time_ns() - time.monotonic_ns()
            conversation.sock.sendall(order)
            accepted, final = conversation.receive(), conversation.receive()
        conversation.close()
        assert accepted is not None
        assert final is not None
        assert final["confirmed"], final["targets"]
        last = self._last_ns() - off_ns - int(accepted["accepted_ns"])
        until(lambda: self.home.reset(_TARGET)["state"] == "done", "it is reset", 10)
        return max(last, 0) / 1e6

    def by_hand(self) -> float:
        """Milliseconds of NOLOGIN and the sessions' end, on a session that was open."""
        end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'agent'"
        with self._busy():
            began_ns = time.time_ns()
            self.person.execute("ALTER ROLE agent NOLOGIN")
            self.person.execute(end.encode())
            query = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'agent'"
            until(lambda: not self._one(query), "they end", 10)
        return max(self._last_ns() - began_ns, 0) / 1e6

    def close(self) -> None:
        self.person.close()
        self.home.close()


def measure(figures: Figures, seconds: float | None) -> None:
    """Take the figure; `seconds` is how long it may take, None: as long as it takes."""
    [key] = KEYS
    if os.geteuid() != 0 or programs() is None:
        figures.absent(key, "it takes root and a PostgreSQL")
        return
    figures.say(key)
    folder = Path(tempfile.mkdtemp(prefix="offswitch-layers-"))
    ours: list[float] = []
    theirs: list[float] = []
    over = time.monotonic() + (seconds or 3600.0)
    try:
        settings = {"track_commit_timestamp": "on", "fsync": "on", "full_page_writes": "on"}
        with PostgresServer.started(**settings) as server:
            stage = _Stage(folder, server)
            try:
                while len(ours) < _RUNS and (len(ours) < _FEWEST or time.monotonic() < over):
                    ours.append(stage.by_order())
                    if seconds is None or len(ours) % 2:
                        theirs.append(stage.by_hand())
            finally:
                stage.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    figures.value(
        key,
        ours,
        "ms",
        what="order → last write that four busy sessions commit; beside it NOLOGIN and terminate",
        target="≤ 3 ms",
        baseline=theirs,
    )
