"""A whole gateway for tests: parent, supervisor and workers, attached to a real warden."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from gate import Client
from installation import Installation, until
from offswitch.errors import Unconfirmed
from scripted_upstream import ScriptedUpstream, Visit


def talker(visit: Visit) -> None:
    """Stream events until the gateway goes away."""
    visit.begin()
    while True:
        visit.event("token")
        time.sleep(0.01)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


class Stand:
    """One gateway of two targets: `/us` belongs to `shop/us`, all else to `shop/eu`."""

    def __init__(self, installation: Installation, *, workers: int = 1) -> None:
        self.installation = installation
        self.upstream = ScriptedUpstream(talker)
        self.port = free_port()
        self.workers = workers
        self.clients: list[Client] = []
        self.configure()
        self.process: subprocess.Popen[bytes] | None = None

    def configure(self, more: str = "") -> None:
        path = Path(self.installation.home, "offswitch.toml")
        path.parent.mkdir(exist_ok=True)
        path.write_text(
            f'[[gateway]]\nname = "models"\nlisten = ["127.0.0.1:{self.port}"]\n'
            f'upstream = "http://127.0.0.1:{self.upstream.port}"\nworkers = {self.workers}\n'
            f'[[gateway.route]]\ntarget = "shop/us"\npath = "/us/"\n{more}'
            '[[gateway.route]]\ntarget = "shop/eu"\n'
        )
        path.chmod(0o600)

    def start(self) -> Stand:
        place = self.installation.place
        argv = [sys.executable, "-I", "-m", "offswitch.gateway"]
        argv += ["--home", place.home, "--run", place.run]
        with open(f"{place.home}/gateway.log", "ab") as log:
            self.process = subprocess.Popen(argv, stderr=log, cwd="/", start_new_session=True)
        until(self.serves, f"it serves: {self.said()}")
        return self

    def said(self) -> str:
        with contextlib.suppress(OSError):
            return Path(self.installation.home, "gateway.log").read_text()
        return ""

    def serves(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.said()
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port)).close()
            return len(self.worker_pids()) == self.workers
        return False

    def client(self, path: str = "/v1/chat/completions") -> Client:
        client = Client(self.port)
        self.clients.append(client)
        client.ask(path)
        return client

    def stream(self, path: str = "/v1/chat/completions") -> Client:
        """Begin a stream, and wait for its first event."""
        client = self.client(path)
        client.until(b"token")
        return client

    def supervisor(self) -> int:
        assert self.process is not None
        return children(self.process.pid)[-1]

    def worker_pids(self) -> list[int]:
        assert self.process is not None
        return [pid for each in children(self.process.pid) for pid in children(each)]

    def afresh(self) -> None:
        """Latch nothing, have nothing in flight, serve what is declared at first."""
        for client in self.clients:
            client.sock.close()
        self.clients.clear()
        self.upstream.afresh()
        self.upstream.script = talker
        for live in self.installation.status()["latched"]:
            until(lambda scope=live["scope"]: self._reset(scope), "it is reset")
        until(self.serves, "it serves")

    def _reset(self, scope: str) -> bool:
        try:
            self.installation.reset(scope)
        except Unconfirmed:
            return False
        return True

    def close(self) -> None:
        for client in self.clients:
            client.sock.close()
        if self.process is not None and self.process.poll() is None:
            pids = [self.supervisor(), *self.worker_pids()] if children(self.process.pid) else []
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(12)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.upstream.close()


def children(pid: int) -> list[int]:
    """List the living children of a process."""
    with contextlib.suppress(OSError):
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [int(one) for one in found if alive(int(one))]
    return []


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2][:1] != b"Z"
    return False
