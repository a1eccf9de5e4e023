"""A target with three effects on the world, and witnesses outside of it that see them (ACT-2).

In one cell, as a user of its own, a program serves a stream behind the gateway and sends datagrams
(output), writes rows by a PostgreSQL session and acts by a token (action), and computes.

    gateway      ends the stream             data          takes the role's rights, login, sessions
    network      denies, destroys sockets    credentials   has the token refused
    process      kills the cell              sweep         kills what its user runs
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import threading
import time
from pathlib import Path

import psycopg

from gateway_stand import Stand, free_port
from hooked_world import KEY, HookedWorld
from installation import PYTHON, Installation, until
from postgres_server import PostgresServer

__all__ = ["EFFECTS", "LAYERS", "TARGET", "Scene"]

TARGET = "shop/eu"
LAYERS = ("gateway", "network", "process", "sweep", "data", "credentials")
EFFECTS = {
    "output": {"gateway", "network", "process", "sweep"},
    "action": {"network", "process", "sweep", "data", "credentials"},
    "compute": {"process", "sweep"},
}
"""End effect → the layers by which it can be ended here."""
_STILL_S = 0.25
_AGENT = """
import http.client, os, socket, subprocess, sys, threading, time
serve, witness, act, psql = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
def stream():
    door = socket.create_server(("127.0.0.1", serve))
    while True:
        one, _ = door.accept()
        threading.Thread(target=speak, args=(one,), daemon=True).start()
def speak(one):
    one.recv(65536)
    one.sendall(b"HTTP/1.1 200 OK\\r\\ncontent-type: text/event-stream\\r\\n"
                b"transfer-encoding: chunked\\r\\n\\r\\n")
    while True:
        event = b"data: token\\n\\n"
        one.sendall(b"%x\\r\\n%s\\r\\n" % (len(event), event))
        time.sleep(0.005)
def shout():
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    while True:
        try:
            sock.sendto(b"x", ("127.0.0.1", witness))
        except OSError:
            pass
        time.sleep(0.005)
def write():
    while True:
        db = subprocess.Popen(psql, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            while db.poll() is None:
                db.stdin.write(b"INSERT INTO acts DEFAULT VALUES;\\n")
                db.stdin.flush()
                time.sleep(0.005)
        except OSError:
            pass
        time.sleep(0.02)
def spend():
    while True:
        try:
            line = http.client.HTTPConnection("127.0.0.1", act, timeout=1)
            while True:
                line.request("POST", "/act", b"{}")
                line.getresponse().read()
                time.sleep(0.005)
        except OSError:
            time.sleep(0.01)
for work in (stream, shout, write, spend):
    threading.Thread(target=work, daemon=True).start()
while True:
    sum(range(20000))
    time.sleep(0.001)
"""


class Witness:
    """Takes datagrams, counts them."""

    def __init__(self) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.port = int(self.sock.getsockname()[1])
        self.count = 0
        self.thread = threading.Thread(target=self._take)
        self.thread.start()

    def _take(self) -> None:
        while self.sock.recv(64) != b"end":
            self.count += 1

    def close(self) -> None:
        self.sock.sendto(b"end", ("127.0.0.1", self.port))
        self.thread.join()
        self.sock.close()


class Scene:
    """One target at work, a warden of which `off` does nothing, and the witnesses."""

    def __init__(self, folder: Path, server: PostgresServer, off: tuple[str, ...] = ()) -> None:
        self.server = server
        server.execute(
            "DROP TABLE IF EXISTS acts",
            "DROP ROLE IF EXISTS agent",
            "DROP ROLE IF EXISTS keeper",
            "CREATE ROLE agent LOGIN PASSWORD 'agent'",
            "CREATE ROLE keeper SUPERUSER LOGIN PASSWORD 'keeper'",
            "CREATE TABLE acts (id bigserial PRIMARY KEY)",
            "GRANT INSERT ON acts TO agent",
            "GRANT USAGE ON SEQUENCE acts_id_seq TO agent",
            database="shop",
        )
        self.world = HookedWorld()
        self.witness = Witness()
        self.home = Installation(folder)
        without = Path(__file__).with_name("without.py")
        self.home.program = [self.home.program[0], "-I", str(without), ",".join(off)]
        self.stand: Stand | None = None
        try:
            self._begin(folder)
        except BaseException:
            self.close()
            raise

    def _begin(self, folder: Path) -> None:
        self.home.start()
        key, password = folder / "key", folder / "password"
        for path, text in ((key, KEY), (password, "keeper")):
            path.write_text(text)
            path.chmod(0o600)
        self.stand = Stand(self.home)
        self.stand.upstream.close()
        self.stand.upstream.port = free_port()
        self.stand.configure()
        self.stand.start()
        told = self.world.declared("token", TARGET, key)
        self.home.ask(
            {
                "op": "declare",
                "targets": [{"name": TARGET}],
                "actuators": [told, self._data(password)],
            }
        )
        psql = [shutil.which("psql") or "/usr/bin/psql", "-q", "-X"]
        psql += [f"{self.server.tcp('shop', 'agent')} password=agent"]
        ports = (self.stand.upstream.port, self.witness.port, self.world.url.rpartition(":")[2])
        self.home.run(PYTHON, "-c", _AGENT, *map(str, ports), *psql, target=TARGET)
        until(lambda: self.witness.count and self.world.acts and self.rows(), "it acts")
        self.client = self.stand.stream()
        until(self._armed, "every layer is there")

    def _data(self, password: Path) -> dict[str, object]:
        settings = {
            "name": "rows",
            "target": TARGET,
            "kind": "postgres",
            "dsn": self.server.tcp("shop", "keeper"),
            "password_file": str(password),
            "role": "agent",
        }
        told = {"name": "rows", "target": TARGET, "kind": "postgres", "layer": "data"}
        told |= {"settings": settings, "files": [str(password)]}
        return {**told, "deadline_us": 1_000_000, "prove_us": 1_000_000}

    def _armed(self) -> bool:
        ready = self.home.target(TARGET)["readiness"]
        return all(ready.get(layer) in {"ready", "degraded"} for layer in LAYERS)

    def rows(self) -> int:
        """Count what it has written."""
        with self.server.connect("shop") as db:
            row = db.execute("SELECT count(*) FROM acts").fetchone()
        return int(row[0]) if row is not None else 0

    # --- what is seen from outside --------------------------------------------------

    def _spent(self) -> int:
        """Give the processor time of its user's processes, in ticks."""
        uid, spent = self.uid, 0
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError, IndexError):
                if path.stat().st_uid == uid:
                    fields = (path / "stat").read_text().rpartition(")")[2].split()
                    spent += int(fields[11]) + int(fields[12])
        return spent

    def goes_on(self) -> set[str]:
        """Watch for a while; name the effects that it still has."""
        assert self.stand is not None
        self.client.sock.settimeout(0.01)
        with contextlib.suppress(OSError):
            while self.client.sock.recv(65536):
                pass  # what was on its way before
        began = self.witness.count, self.rows(), self.world.acts, self._spent()
        time.sleep(_STILL_S)
        found = set()
        streams = b""
        with contextlib.suppress(OSError):
            streams = self.client.sock.recv(65536)
        if self.witness.count > began[0] or b"token" in streams:
            found.add("output")
        if self.rows() > began[1] or self.world.acts > began[2]:
            found.add("action")
        if self._spent() > began[3]:
            found.add("compute")
        return found

    def stop(self) -> dict[str, dict[str, object]]:
        """Stop it; give what is said of each layer."""
        self.uid = int(self.home.ask({"op": "target", "name": TARGET})["cell"]["uid"])
        answer = self.home.stop(TARGET)
        [target] = answer["targets"]
        return {layer["layer"]: layer for layer in target["layers"]}

    def close(self) -> None:
        self.world.close()
        if self.stand is not None:
            self.stand.close()
        self.home.close()
        self.witness.close()
        with contextlib.suppress(psycopg.Error):
            self.server.execute("DROP TABLE acts", "DROP ROLE agent", database="shop")
