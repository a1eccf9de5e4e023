"""A real server behind a gateway, one thread a connection, that does what a script says.

    def script(visit):            # called for each request
        visit.begin("text/event-stream")
        visit.event("one"); …; visit.finish()

What came is in `upstream.visits`; how a connection ended, in `visit.gone()`.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable


class Visit:
    """One request, and the socket that it came by."""

    def __init__(self, sock: socket.socket, head: bytes, body: bytes) -> None:
        self.sock = sock
        self.head = head
        self.body = body
        self.line = head.split(b"\r\n", 1)[0]
        self.headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(b":") for line in head.split(b"\r\n")[1:] if line)
        }
        self.keep = True
        self._how = "alive"
        self._lock = threading.Lock()

    def send(self, data: bytes) -> None:
        try:
            self.sock.sendall(data)
        except ConnectionResetError:
            self._how = "reset"
            raise

    def begin(self, kind: str = "text/event-stream", status: str = "200 OK") -> None:
        """Begin an answer in chunks."""
        head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n"
        self.send(head.encode())

    def chunk(self, data: bytes) -> None:
        self.send(b"%x\r\n%b\r\n" % (len(data), data))

    def event(self, text: str) -> None:
        self.chunk(f"data: {text}\n\n".encode())

    def finish(self) -> None:
        self.send(b"0\r\n\r\n")

    def answer(self, body: bytes, kind: str = "application/json", more: str = "") -> None:
        head = (
            f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n{more}\r\n"
        )
        self.send(head.encode() + body)

    def end(self) -> None:
        """Close the connection once the script is done."""
        self.keep = False

    def went(self, how: str) -> None:
        """Note how it ended, without the lock: whoever has it waits for us."""
        if self._how == "alive":
            self._how = how

    def gone(self, seconds: float = 10.0) -> str:
        """Wait until the other side has ended it: `reset` or `closed`; `alive` if it does not."""
        if self._how == "alive" and self.sock.fileno() >= 0:
            select.select([self.sock], [], [], seconds)
        with self._lock:  # a reset is told once
            if self._how == "alive" and self.sock.fileno() >= 0:
                try:
                    with socket.socket(fileno=os.dup(self.sock.fileno())) as plain:  # not TLS
                        got = plain.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
                    if not got:
                        time.sleep(0.02)  # the script may just have met a reset, and not said so
                        self._how = "closed" if self._how == "alive" else self._how
                except ConnectionResetError:
                    self._how = "reset"
                except OSError:
                    pass  # nothing has come; or the script met it in this very moment
            return self._how


Script = Callable[[Visit], None]


def _answer(visit: Visit) -> None:
    visit.answer(b'{"ok": true}')


class ScriptedUpstream:
    """The server."""

    def __init__(self, script: Script | None = None, context: ssl.SSLContext | None = None) -> None:
        """Speak TLS if there is a `context`."""
        self._context = context
        self.script: Script = script or _answer
        self.visits: list[Visit] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port: int = self._listener.getsockname()[1]
        self._socks: list[socket.socket] = []
        self._over = False
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socks.append(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.ExitStack() as held, contextlib.suppress(OSError):
            held.enter_context(sock)
            if self._context is not None:
                sock = held.enter_context(self._context.wrap_socket(sock, server_side=True))
            data = b""
            visit = None
            while not self._over:
                while b"\r\n\r\n" not in data:
                    try:
                        more = sock.recv(65536)
                    except ConnectionResetError:
                        if visit is not None:
                            visit.went("reset")
                        raise
                    if not more:
                        if visit is not None:
                            visit.went("closed")
                        return
                    data += more
                head, _, data = data.partition(b"\r\n\r\n")
                body, data = self._body(sock, head, data)
                visit = Visit(sock, head, body)
                self.visits.append(visit)
                try:
                    self.script(visit)
                except OSError:
                    visit.gone()
                    raise
                if not visit.keep:
                    sock.shutdown(socket.SHUT_RDWR)
                    return

    def _body(self, sock: socket.socket, head: bytes, data: bytes) -> tuple[bytes, bytes]:
        lower = head.lower()
        if b"content-length:" in lower:
            length = int(lower.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
            while len(data) < length:
                data += sock.recv(65536)
            return data[:length], data[length:]
        if b"transfer-encoding: chunked" not in lower:
            return b"", data
        body = b""
        while True:
            while b"\r\n" not in data:
                data += sock.recv(65536)
            line, _, data = data.partition(b"\r\n")
            size = int(line, 16)
            while len(data) < size + 2:
                data += sock.recv(65536)
            body, data = body + data[:size], data[size + 2 :]
            if not size:
                return body, data

    def afresh(self) -> None:
        """Be as at the start, for the next test."""
        self.script = _answer
        for sock in self._socks:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self._socks = [sock for sock in self._socks if sock.fileno() >= 0]
        self.visits.clear()

    def visit(self, number: int = 0, seconds: float = 10.0) -> Visit:
        """Wait for a request."""
        end = time.monotonic() + seconds
        while len(self.visits) <= number:
            assert time.monotonic() < end, f"no request {number} came to the upstream"
            time.sleep(0.001)
        return self.visits[number]

    def close(self) -> None:
        self._over = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._socks:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
