"""A real gateway for a test: one worker as a process of its own, and a page written by hand.

    with Gate([Route("shop", upstream)], folder) as gate:
        client = gate.client()
        client.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        gate.stop("shop")                   # the word, then the wake-up

Nothing of the warden is here; `gate.wake` does what the warden's event does.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import pickle
import select
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from bare_steward import bare_stewards
from offswitch.clock import boot_id
from offswitch.control.flows import FlowReader, FlowTable
from offswitch.control.page import FIRST_WORD, LEASE, LEASE_SECONDS, MAGIC, PAGE_SIZE, RUN
from offswitch.gateway.plan.front import Front, Limits, Listen
from offswitch.gateway.plan.route import Route
from offswitch.gateway.plan.upstream import Upstream
from offswitch.gateway.stewards import Stewards
from offswitch.model.level import Level
from one_worker import Setup

HERE = Path(__file__).resolve().parent


class HandPage:
    """A page that the test writes in the warden's place: aligned words, one a target."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("offswitch-test-page")
        os.ftruncate(self.fd, PAGE_SIZE)
        self._map = mmap.mmap(self.fd, PAGE_SIZE)
        self._map[:8] = MAGIC
        self._map[16:32] = bytes.fromhex(boot_id())
        self.words = memoryview(self._map).cast("Q")
        self.seconds = memoryview(self._map).cast("d")
        self.renew(120)

    def set(self, slot: int, word: int) -> None:
        self.words[FIRST_WORD + slot] = word

    def renew(self, seconds: float) -> None:
        deadline = time.clock_gettime(time.CLOCK_BOOTTIME) + seconds
        self.words[LEASE] = max(0, int(deadline * 1e9))
        self.seconds[LEASE_SECONDS] = deadline

    def close(self) -> None:
        self.words.release()
        self.seconds.release()
        self._map.close()
        os.close(self.fd)


class Client:
    """A client that knows bytes only."""

    def __init__(
        self, port: int, *, receive: int = 0, context: ssl.SSLContext | None = None
    ) -> None:
        self.sock = socket.socket()
        if receive:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        self.sock.settimeout(10)
        self.sock.connect(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is not None:
            with self.sock:  # wrapped, it is another one
                self.sock = context.wrap_socket(self.sock, server_hostname="gate.example")
        self.got = b""
        """What has come and is not taken."""

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def ask(self, path: str = "/v1/chat/completions", body: bytes = b'{"stream": true}') -> None:
        """Send a whole POST."""
        head = f"POST {path} HTTP/1.1\r\nhost: gate\r\ncontent-length: {len(body)}\r\n\r\n"
        self.send(head.encode() + body)

    def until(self, end: bytes) -> bytes:
        """Read up to and with `end`, and take it."""
        while end not in self.got:
            data = self.sock.recv(65536)
            if not data:
                message = f"closed before {end!r} came: {self.got[-500:]!r}"
                raise AssertionError(message)
            self.got += data
        at = self.got.index(end) + len(end)
        taken, self.got = self.got[:at], self.got[at:]
        return taken

    def answer(self) -> tuple[int, dict[bytes, bytes], bytes]:
        """Read one whole answer: its status, its headers and its body, out of its chunks."""
        head = self.until(b"\r\n\r\n")
        first, *lines = head.rstrip().split(b"\r\n")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (each.partition(b":") for each in lines)
        }
        if b"chunked" in headers.get(b"transfer-encoding", b""):
            return int(first.split()[1]), headers, b"".join(self.chunks())
        if b"content-length" in headers:
            length = int(headers[b"content-length"])
            while len(self.got) < length:
                data = self.sock.recv(65536)
                assert data, "closed within a body"
                self.got += data
            body, self.got = self.got[:length], self.got[length:]
            return int(first.split()[1]), headers, body
        return int(first.split()[1]), headers, b""

    def chunks(self) -> list[bytes]:
        """Read chunks to the last."""
        found = []
        while True:
            size = int(self.until(b"\r\n"), 16)
            data = self.until(b"\r\n") if not size else b""
            while size and len(self.got) < size + 2:
                more = self.sock.recv(65536)
                assert more, "closed within a chunk"
                self.got += more
            if not size:
                assert data == b"\r\n"
                return found
            found.append(self.got[:size])
            assert self.got[size : size + 2] == b"\r\n"
            self.got = self.got[size + 2 :]

    def rest(self) -> tuple[bytes, str]:
        """Read to the end; say how it came: `closed` or `reset`."""
        try:
            while data := self.sock.recv(65536):
                self.got += data
        except ConnectionResetError:
            return self.got, "reset"
        return self.got, "closed"

    def quiet(self, seconds: float = 0.05) -> bool:
        """Tell whether nothing comes for so long."""
        return not self.got and not select.select([self.sock], [], [], seconds)[0]

    def close(self) -> None:
        self.sock.close()


class Gate:
    """One worker, running."""

    def __init__(
        self,
        routes: Sequence[Route],
        folder: Path,
        *,
        limits: Limits = Limits(),  # noqa: B008 - a frozen value
        stewards: Stewards | None = None,
        rows: int = 4096,
        beside: Gate | None = None,
        **front: str,
    ) -> None:
        """Serve by these routes; `beside` another's socket; `front` may name certificates."""
        self.page = HandPage()
        self.turn = 0
        self._lines: list[str] = []
        self._clients: list[Client] = []
        if beside is None:
            self.listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        else:
            self.listener = beside.listener.dup()
        """As a supervisor does, we keep it, so that it outlives any worker."""
        listener = self.listener
        self.port: int = listener.getsockname()[1]
        here = (Listen("127.0.0.1", self.port),)
        self.front = Front("test", here, tuple(routes), limits, **front)  # type: ignore[arg-type]
        self.slots = {name: 3 + number for number, name in enumerate(self.front.targets)}
        for slot in self.slots.values():
            self.page.set(slot, RUN)
        _, table = FlowTable.create(rows)
        self.table = FlowReader(table)
        self._control, theirs = socket.socketpair()
        stewards = stewards or bare_stewards()
        fds = (self.page.fd, table, theirs.fileno(), listener.fileno())
        setup = Setup(self.front, self.slots, *fds[:3], [listener.fileno()], stewards)
        path = folder / f"setup-{theirs.fileno()}-{self.port}"
        path.write_bytes(pickle.dumps(setup))
        self.errors = folder / f"errors-{theirs.fileno()}-{self.port}"
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-I", str(HERE / "one_worker.py"), str(path)],
                pass_fds=fds,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        theirs.close()
        self._control.settimeout(20)
        if self._control.recv(64) != b"ready\n":
            message = self.errors.read_text()
            raise AssertionError(message)

    # --- words --------------------------------------------------------------------

    def word(self, target: str, level: Level | None) -> None:
        """Set a target's word, and wake nobody."""
        self.page.set(self.slots[target], RUN if level is None else RUN + level)

    def wake(self) -> int:
        """Tell the worker that words have changed; give the turn."""
        self.turn += 1
        self._control.send(b"%d\n" % self.turn)
        return self.turn

    def stop(self, target: str, level: Level = Level.KILL) -> int:
        self.word(target, level)
        return self.wake()

    def release(self, target: str) -> int:
        self.word(target, None)
        return self.wake()

    def swept(self, turn: int, seconds: float = 5.0) -> None:
        """Wait until the worker says that it has swept after a turn."""
        end = time.monotonic() + seconds
        while self.table.swept < turn:
            assert time.monotonic() < end, f"turn {turn} is not swept"
            time.sleep(0.0005)

    def drain(self, seconds: float) -> None:
        """Have the worker go down without losing a stream."""
        self._control.send(b"drain %.3f\n" % seconds)

    def drained(self) -> str:
        """Wait until it has: `drained`, or `cut` where something was still in flight."""
        return self._control.recv(64).decode().strip()

    @property
    def memory(self) -> int:
        """Bytes of memory that the worker has."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def said(self, lines: int) -> list[str]:
        """Wait for so many lines that the worker's stewards have printed."""
        assert self.process.stdout is not None
        while len(self._lines) < lines:
            assert select.select([self.process.stdout], [], [], 10)[0], self._lines
            self._lines += os.read(self.process.stdout.fileno(), 4096).decode().splitlines()
        found, self._lines = self._lines[:lines], self._lines[lines:]
        return found

    # --- clients ------------------------------------------------------------------

    def client(self, *, receive: int = 0, context: ssl.SSLContext | None = None) -> Client:
        self._clients.append(Client(self.port, receive=receive, context=context))
        return self._clients[-1]

    # --- the end ------------------------------------------------------------------

    def afresh(self) -> None:
        """Be as at the start, for the next test: no clients, no stops, a fresh lease."""
        for client in self._clients:
            client.close()
        self._clients.clear()
        for slot in self.slots.values():
            self.page.set(slot, RUN)
        self.page.renew(120)
        self.swept(self.wake())
        assert self.process.poll() is None, self.errors.read_text()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End it; what it complained of fails the test."""
        for client in self._clients:
            client.close()
        self._control.close()
        self.listener.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        self.process.kill()
        self.process.communicate()
        self.table.close()
        self.page.close()
        assert not self.errors.read_text(), self.errors.read_text()


def upstream_at(port: int) -> Upstream:
    return Upstream("127.0.0.1", port)
