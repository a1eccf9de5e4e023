"""The part of `layers.py` about all layers at once: do they hold each other up?

Five targets, each with one layer: a cell that sends datagrams, a PostgreSQL role with four busy
sessions, and three servers that are told by a signed message. A sixth one has all five layers. In
each round each is stopped once, in turn; its last effect is what somebody outside saw: the last
datagram that arrived, the last row by the server's clock, the arrival of the message. The sixth
one's last effect is compared with that of the slowest of the five, round by round. Whoever sees
runs under SCHED_FIFO, so that it is not late itself; what acts goes on only while it is stopped.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from figures import Figures

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from hooked_world import KEY, declared
from installation import PYTHON, Installation, until
from postgres_server import PostgresServer, programs

KEYS = ("all-over-slowest",)
_ROUNDS = 200
_TOLD = ("credentials", "serving", "relay")
_AGENT = """
import socket, sys, time
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
while True:
    try:
        sock.sendto(sys.argv[2].encode(), ("127.0.0.1", int(sys.argv[1])))
    except OSError:
        pass
    time.sleep(0.001)
"""
_WRITER = """
import sys, threading, time, psycopg
def write():
    while True:
        try:
            with psycopg.connect(sys.argv[1], autocommit=True, prepare_threshold=0) as db:
                while True:
                    db.execute("INSERT INTO acts VALUES (session_user, clock_timestamp())")
                    time.sleep(0.0005)
        except psycopg.Error:
            time.sleep(0.05)
for _ in range(4):
    threading.Thread(target=write).start()
"""
_AS_A_WITNESS = "import os; os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))"


class _World:
    """A server that is told, in a process of its own that nothing here can put off."""

    def __init__(self) -> None:
        module = Path(__file__).resolve().parents[1] / "tests" / "hooked_world.py"
        run = f"import runpy; {_AS_A_WITNESS}; runpy.run_path({str(module)!r}, run_name='__main__')"
        argv = [sys.executable, "-c", run]
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        self.line = http.client.HTTPConnection(self.url.removeprefix("http://"))

    def _ask(self, method: str, path: str) -> dict[str, Any]:
        self.line.request(method, path, "{}" if method == "POST" else None)
        found: dict[str, Any] = json.loads(self.line.getresponse().read())
        return found

    def again(self) -> None:
        self._ask("POST", "/again")

    def stopped_ns(self) -> int:
        """When its first stop came (CLOCK_MONOTONIC)."""
        return int(self._ask("GET", "/state")["stops"][0])

    def close(self) -> None:
        self.line.close()
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


class _Witness:
    """Takes datagrams, and knows when the last one of each name came."""

    def __init__(self) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.port = int(self.sock.getsockname()[1])
        self.last: dict[str, int] = {}
        self.thread = threading.Thread(target=self._take)
        self.thread.start()

    def _take(self) -> None:
        while (data := self.sock.recv(64)) != b"end":
            self.last[data.decode()] = time.monotonic_ns()

    def close(self) -> None:
        self.sock.sendto(b"end", ("127.0.0.1", self.port))
        self.thread.join()
        self.sock.close()


class _Target:
    """One target and its layers."""

    def __init__(self, stage: _Stage, name: str, layers: tuple[str, ...]) -> None:
        self.stage = stage
        self.name = name
        self.layers = layers
        self.role = f"agent_{name.rpartition('/')[2]}"
        self.worlds = {layer: _World() for layer in layers if layer in _TOLD}
        self.writer: subprocess.Popen[bytes] | None = None
        if "data" in layers:
            stage.server.execute(f"CREATE ROLE {self.role}", database="shop")
            self._give()
            argv = [sys.executable, "-c", _WRITER]
            argv += [f"{stage.server.tcp('shop', self.role)} password=agent"]
            self.writer = subprocess.Popen(argv, stderr=subprocess.DEVNULL)
            self.writer.send_signal(signal.SIGSTOP)  # it writes while its target is stopped

    def _give(self) -> None:
        self.stage.server.execute(
            f"ALTER ROLE {self.role} LOGIN PASSWORD 'agent'",
            f"GRANT INSERT ON acts TO {self.role}",
            database="shop",
        )

    def actuators(self) -> list[dict[str, Any]]:
        short = self.name.rpartition("/")[2]
        found = [
            declared(world.url, f"{short}-{layer}", self.name, self.stage.key, layer)
            for layer, world in self.worlds.items()
        ]
        if "data" in self.layers:
            settings = {
                "name": f"{short}-data",
                "target": self.name,
                "kind": "postgres",
                "dsn": self.stage.server.tcp("shop", "keeper"),
                "password_file": str(self.stage.password),
                "role": self.role,
                "prove": "1h",
            }
            about = {"name": settings["name"], "target": self.name, "kind": "postgres"}
            told = {**about, "layer": "data", "settings": settings, "files": []}
            found.append({**told, "deadline_us": 1_000_000, "prove_us": 3_600_000_000})
        for each in found:
            each["settings"]["prove"] = "1h"  # none of them proves itself while it is measured
        return found

    def stop(self) -> float:
        """Stop it; give the milliseconds until its last effect, and let it go on."""
        stage = self.stage
        if "cell" in self.layers:
            stage.witness.last.pop(self.name, None)
            argv = (PYTHON, "-c", _AGENT, str(stage.witness.port), self.name)
            running = stage.home.run(*argv, target=self.name)
            until(lambda: self.name in stage.witness.last, "it sends")
        if self.writer is not None:
            self._give()
            stage.server.execute("TRUNCATE acts", database="shop")
            self.writer.send_signal(signal.SIGCONT)
            until(lambda: self._rows() > 40, "it writes")
        for world in self.worlds.values():
            world.again()
        began, wall = time.monotonic_ns(), time.time()
        answer = stage.home.stop(self.name)
        if not answer["confirmed"]:
            raise AssertionError(f"not confirmed: {answer['targets']}")
        effects = [world.stopped_ns() - began for world in self.worlds.values()]
        if "cell" in self.layers:
            effects.append(max(0, stage.witness.last[self.name] - began))
            running.close()
        if self.writer is not None:
            self.writer.send_signal(signal.SIGSTOP)
            effects.append(int((self._last() - wall) * 1e9))
        stage.let_go(self.name)
        return max(effects) / 1e6

    def _ask(self, query: str) -> Any:  # noqa: ANN401 - whatever the database gives
        with self.stage.server.connect("shop") as db:
            row = db.execute(query.encode(), [self.role]).fetchone()
        return row[0] if row else 0

    def _rows(self) -> int:
        return int(self._ask("SELECT count(*) FROM acts WHERE who = %s"))

    def _last(self) -> float:
        return float(self._ask("SELECT extract(epoch FROM max(at)) FROM acts WHERE who = %s"))

    def close(self) -> None:
        for world in self.worlds.values():
            world.close()
        if self.writer is not None:
            self.writer.kill()
            self.writer.wait()


class _Stage:
    """A server, a warden, six targets."""

    def __init__(self, folder: Path, server: PostgresServer) -> None:
        self.server = server
        self.key, self.password = folder / "key", folder / "password"
        for path, text in ((self.key, KEY), (self.password, "keeper")):
            path.write_text(text)
            path.chmod(0o600)
        server.database("shop")
        server.execute(
            "CREATE ROLE keeper SUPERUSER LOGIN PASSWORD 'keeper'",
            "CREATE UNLOGGED TABLE acts (who text, at timestamptz)",
            database="shop",
        )
        self.witness = _Witness()
        self.home = Installation(folder)
        self.home.start()
        alone = ("cell", "data", *_TOLD)
        self.alone = [_Target(self, f"bench/{layer}", (layer,)) for layer in alone]
        self.all = _Target(self, "bench/all", alone)
        targets = [*self.alone, self.all]
        self.home.ask(
            {
                "op": "declare",
                "targets": [{"name": each.name} for each in targets],
                "actuators": [one for each in targets for one in each.actuators()],
            }
        )
        until(lambda: all(map(self._proven, targets)), "every hand is proven", 40)

    def _proven(self, target: _Target) -> bool:
        hands = self.home.ask({"op": "target", "name": target.name})["hands"]
        return all(one["state"] in {"ready", "degraded"} for one in hands)

    def let_go(self, name: str) -> None:
        def done() -> bool:
            with contextlib.suppress(Exception):
                return bool(self.home.reset(name)["state"] == "done")
            return False

        until(done, f"{name} is reset")

    def close(self) -> None:
        for each in [*self.alone, self.all]:
            each.close()
        self.home.close()
        self.witness.close()


def measure(figures: Figures, seconds: float | None) -> None:
    """Take the figure; `seconds` is how long it may take, None: as long as it takes."""
    if os.geteuid() != 0 or programs() is None:
        figures.absent("all-over-slowest", "it takes root and a PostgreSQL")
        return
    folder = Path(tempfile.mkdtemp(prefix="offswitch-layers-"))
    together: list[float] = []
    slowest: list[float] = []
    try:
        with PostgresServer.started() as server:
            stage = _Stage(folder, server)
            try:
                over = time.monotonic() + (seconds or 3600.0)
                for _ in range(_ROUNDS):
                    slowest.append(max(each.stop() for each in stage.alone))
                    together.append(stage.all.stop())
                    if time.monotonic() > over:
                        break
            finally:
                stage.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    figures.against(
        "all-over-slowest",
        together,
        slowest,
        "ms",
        target="≤ 1.1 ×, or 1 ms more",
        what="last effect of five layers together over that of the slowest of them alone",
    )
