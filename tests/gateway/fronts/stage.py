"""A real HAProxy in front of a server that streams without an end."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
from pathlib import Path

from installation import until
from needs import needs_program

TARGET = "shop/chat"


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class FrontStage:
    """An upstream that streams without an end, and HAProxy in front of it."""

    def __init__(self, folder: Path, check: int = 0) -> None:
        program = needs_program("haproxy")
        self.open: list[socket.socket] = []
        self.upstream = socket.create_server(("127.0.0.1", 0))
        self.port, self.socket = free_port(), str(folder / "admin")
        how = f"check addr 127.0.0.1 port {check} inter 50ms fall 1 rise 1" if check else ""
        how += " on-marked-down shutdown-sessions" if check else ""
        config = folder / "haproxy.cfg"
        config.write_text(
            f"""global
    stats socket {self.socket} mode 600 level admin
defaults
    mode http
    timeout connect 2s
    timeout client 1m
    timeout server 1m
frontend models
    bind 127.0.0.1:{self.port}
    default_backend engines
backend engines
    {f"option httpchk GET /{TARGET}" if check else ""}
    server engine 127.0.0.1:{self.upstream.getsockname()[1]} {how}
"""
        )
        threading.Thread(target=self._serve, daemon=True).start()
        self._argv = [program, "-db", "-f", str(config)]
        self.start()

    def start(self) -> None:
        """Start HAProxy, or start it anew."""
        self.process = subprocess.Popen(self._argv, stderr=subprocess.DEVNULL)
        until(lambda: os.path.exists(self.socket), "haproxy is up")

    def stop(self) -> None:
        """End it, with all that it knows."""
        self.process.terminate()
        self.process.wait(5)
        os.unlink(self.socket)

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _peer = self.upstream.accept()
                self.open.append(sock)
                sock.recv(4096)
                sock.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nto~\r\n")

    def ask(self) -> tuple[socket.socket, bytes]:
        """Ask; give the connection and what came first."""
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=5)
        self.open.append(sock)
        sock.sendall(b"GET /v1/chat/completions HTTP/1.1\r\nhost: a\r\n\r\n")
        return sock, sock.recv(4096)

    def streams(self) -> socket.socket:
        """Give a stream that flows."""
        sock, said = self.ask()
        while b"to~" not in said:
            said += sock.recv(4096)
        assert said.startswith(b"HTTP/1.1 200")
        return sock

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(5)
        for sock in (self.upstream, *self.open):
            sock.close()
