"""A scripted gateway between clients and a server that streams, for tests of the warden's side."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from installation import Installation, until

SCRIPT = Path(__file__).with_name("scripted_gate.py")


class Upstream:
    """Sends a line every few milliseconds to whoever connects, as long as they listen."""

    def __init__(self, pause_s: float = 0.005) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = int(self.listener.getsockname()[1])
        self.pause_s = pause_s
        self.open: set[socket.socket] = set()
        self.closing = False
        threading.Thread(target=self._accept, daemon=True).start()
        threading.Thread(target=self._send, daemon=True).start()

    def _accept(self) -> None:
        while not self.closing:
            with contextlib.suppress(OSError):
                if not select.select([self.listener], [], [], 0.05)[0]:
                    continue
                sock, _address = self.listener.accept()
                sock.setblocking(False)
                self.open.add(sock)

    def _send(self) -> None:
        while not self.closing:
            for each in list(self.open):
                try:
                    each.send(b"token\n")
                except BlockingIOError:
                    continue
                except OSError:
                    self.open.discard(each)
                    each.close()
            time.sleep(self.pause_s)

    def close(self) -> None:
        self.closing = True
        time.sleep(0.06)
        for each in [self.listener, *self.open]:
            each.close()


class Client:
    """One stream of one target."""

    def __init__(self, port: int, target: str) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), 5)
        self.sock.sendall(f"{target}\n".encode())

    def streams(self) -> bool:
        """Whether more comes: a token within a quarter of a second."""
        with contextlib.suppress(OSError):
            while select.select([self.sock], [], [], 0)[0] and self.sock.recv(65536):
                pass
            if select.select([self.sock], [], [], 0.25)[0]:
                return b"token" in self.sock.recv(65536)
        return False

    def first(self) -> bytes:
        return self.sock.recv(65536)

    def close(self) -> None:
        self.sock.close()


class Ground:
    """An upstream, scripted gates, and clients."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.upstream = Upstream()
        self.gates: list[subprocess.Popen[str]] = []
        self.clients: list[Client] = []
        self.port = 0

    def gate(self, *targets: str, habits: str = "", port: int = 0) -> subprocess.Popen[str]:
        """Start a gate, and wait until it serves."""
        path, upstream = self.installation.place.warden_socket, str(self.upstream.port)
        argv = [sys.executable, "-I", str(SCRIPT), path, str(port), upstream, ",".join(targets)]
        gate = subprocess.Popen([*argv, habits], stdout=subprocess.PIPE, text=True)
        self.gates.append(gate)
        assert gate.stdout is not None
        self.port = int(gate.stdout.readline())
        until(lambda: "gateway" in self.readiness(targets[0]), "it attaches")
        until(lambda: self.readiness(targets[0])["gateway"] != "absent", "it attaches")
        return gate

    def readiness(self, target: str) -> dict[str, str]:
        rows = self.installation.status()["targets"]
        return next((dict(row["readiness"]) for row in rows if row["target"] == target), {})

    def client(self, target: str) -> Client:
        client = Client(self.port, target)
        self.clients.append(client)
        return client

    def close(self) -> None:
        for client in self.clients:
            client.close()
        for gate in self.gates:
            with contextlib.suppress(ProcessLookupError):
                os.kill(gate.pid, signal.SIGCONT)
            gate.kill()
            gate.communicate()
        self.upstream.close()


def layer(answer: dict[str, object], name: str = "gateway", which: int = 0) -> dict[str, object]:
    """Give a layer of a stop's answer."""
    targets = answer["targets"]
    assert isinstance(targets, list)
    found = [each for each in targets[which]["layers"] if each["layer"] == name]
    return dict(found[0]) if found else {}
