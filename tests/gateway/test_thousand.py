"""A thousand streams at once: cut, each ended well, and nobody else's touched (ACT-4, DEC-5).

The figures of a quiet machine are the benchmark's; what is shown here must hold on any machine.
"""

from __future__ import annotations

import contextlib
import resource
import selectors
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gate import Gate, upstream_at
from installation import until
from offswitch.gateway.plan.route import Route
from scale import runs

ENDING = b'data: {"error": "stopped"}\n\n'
EVENT = b"data: token\n\n"
CHUNK = b"%x\r\n%b\r\n" % (len(EVENT), EVENT)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
ASK = b"POST /%b/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}"
TARGETS = ("cut", "kept")


class Fountain:
    """A server of one thread that streams to whoever asks, ten events a second each."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self.streams: dict[socket.socket, bool] = {}
        self.over = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        waits = selectors.DefaultSelector()
        waits.register(self._listener, selectors.EVENT_READ)
        due = time.monotonic()
        while not self.over:
            for key, _ in waits.select(max(0, due - time.monotonic())):
                if key.fileobj is self._listener:
                    self._accept(waits)
                else:
                    self._read(key.fileobj, waits)
            if time.monotonic() >= due:
                due = time.monotonic() + 0.1
                for sock in list(self.streams):
                    try:
                        sock.send(CHUNK)
                    except OSError:
                        self._end(sock, waits)
        for key in list(waits.get_map().values()):
            key.fileobj.close()

    def _accept(self, waits: selectors.BaseSelector) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                waits.register(self._listener.accept()[0], selectors.EVENT_READ)

    def _read(self, sock: socket.socket, waits: selectors.BaseSelector) -> None:
        try:
            data = sock.recv(65536)
        except OSError:
            data = b""
        if data:
            sock.send(HEAD)
            self.streams[sock] = True
        else:
            self._end(sock, waits)

    def _end(self, sock: socket.socket, waits: selectors.BaseSelector) -> None:
        self.streams.pop(sock, None)
        waits.unregister(sock)
        sock.close()

    def close(self) -> None:
        self.over = True
        self._thread.join()


@pytest.fixture
def fountain() -> Iterator[Fountain]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    one = Fountain()
    yield one
    one.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_ACT_4_DEC_5_a_thousand_streams_end_well_and_the_others_go_on(
    fountain: Fountain, tmp_path: Path
) -> None:
    count, upstream = runs(1000), upstream_at(fountain.port)
    routes = [Route(name, upstream, path=f"/{name}/".encode()) for name in TARGETS]
    with Gate(routes, tmp_path) as gate:
        clients = {name: [gate.client() for _ in range(count)] for name in TARGETS}
        for name in TARGETS:
            for client in clients[name]:
                client.send(ASK % name.encode())
        for client in (each for some in clients.values() for each in some):
            client.until(CHUNK)
        assert len(fountain.streams) == 2 * count
        gate.swept(gate.stop("cut"), 10)
        assert {flow.slot for flow in gate.table.flows()} == {gate.slots["kept"]}
        for client in clients["cut"]:
            assert b"".join(client.chunks()).replace(EVENT, b"") == ENDING
            assert client.rest() == (b"", "closed")
        until(lambda: len(fountain.streams) == count, "the upstream has heard of it")
        for client in clients["kept"]:
            client.got = b""
            client.until(CHUNK)
