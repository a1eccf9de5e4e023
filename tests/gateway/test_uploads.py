"""What goes up to a server waits where a stop finds it, and never piles up, nor meets another's."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from gate import Gate, upstream_at
from installation import until
from offswitch.gateway.plan.route import Route
from offswitch.model.level import Level
from scripted_upstream import ScriptedUpstream

TARGET = "shop/eu/checkout"
MB = 1 << 20
CHUNKED = b"POST /upload HTTP/1.1\r\nhost: gate\r\ntransfer-encoding: chunked\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Sink:
    """A server that reads only when it is told to."""

    def __init__(self) -> None:
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self.port: int = self._listener.getsockname()[1]
        self._socks: list[socket.socket] = []

    def accept(self) -> socket.socket:
        self._listener.settimeout(10)
        sock, _ = self._listener.accept()
        sock.settimeout(10)
        self._socks.append(sock)
        return sock

    def close(self) -> None:
        for sock in (self._listener, *self._socks):
            sock.close()


@pytest.fixture
def sink() -> Iterator[Sink]:
    one = Sink()
    yield one
    one.close()


def head_of(sock: socket.socket) -> bytes:
    """Read until a head has come whole; give what came."""
    got = b""
    while b"\r\n\r\n" not in got:
        data = sock.recv(1000)
        assert data, "closed before a head came"
        got += data
    return got


@pytest.mark.parametrize("path", ["/upload", "/v1/chat/completions"])
def test_SEC_4_a_server_that_answers_early_gets_no_other_request_among_the_rest(
    gate_of: Callable[..., Gate], sink: Sink, path: str
) -> None:
    gate = gate_of(Route(TARGET, upstream_at(sink.port)))
    client, other = gate.client(), gate.client()
    body = b'{"a": "%b"}' % (b"x" * 12 * MB)
    sender = threading.Thread(target=client.ask, args=(path, body), daemon=True)
    sender.start()
    early = sink.accept()
    head_of(early)
    early.sendall(OK)
    assert client.answer()[2] == b"ok"
    other.ask(path, b'{"b": 2}')
    second = sink.accept()
    got = head_of(second)
    while b'{"b": 2}' not in got:
        got += second.recv(1000)
    second.sendall(OK)
    assert other.answer()[2] == b"ok"
    client.close()
    sender.join(10)


def test_ACT_1_the_end_of_an_upload_waits_like_the_rest_of_it(
    gate: Gate, upstream: ScriptedUpstream
) -> None:
    client = gate.client()
    client.send(CHUNKED + b"3\r\none\r\n")
    until(
        lambda: any(flow.upstream is not None for flow in gate.table.flows()),
        "it goes on as it comes",
    )
    time.sleep(0.02)
    gate.word(TARGET, Level.FREEZE)
    client.send(b"0\r\n\r\n")
    time.sleep(0.15)
    assert upstream.visits == [], "so it takes no effect"
    gate.release(TARGET)
    assert client.answer()[0] == 200
    assert upstream.visit().body == b"one"


def test_ACT_4_an_upload_is_not_completed_after_the_word(
    gate_of: Callable[..., Gate], sink: Sink
) -> None:
    gate = gate_of(Route(TARGET, upstream_at(sink.port)))
    client = gate.client()
    client.send(CHUNKED + b"3\r\none\r\n")
    sock = sink.accept()
    got = head_of(sock)
    while not got.endswith(b"one\r\n"):
        got += sock.recv(1000)
    gate.word(TARGET, Level.KILL)
    client.send(b"0\r\n\r\n")
    with contextlib.suppress(ConnectionResetError):
        while data := sock.recv(1000):
            got += data
    assert got.endswith(b"one\r\n")
    assert client.answer()[0] == 503


def test_SEC_4_a_frozen_upload_piles_up_nowhere(gate_of: Callable[..., Gate], sink: Sink) -> None:
    gate = gate_of(Route(TARGET, upstream_at(sink.port)))
    client = gate.client()
    sent = 0

    def send() -> None:
        nonlocal sent
        client.send(b"PUT /file HTTP/1.1\r\nhost: g\r\ncontent-length: %d\r\n\r\n" % (900 * MB))
        while True:
            client.send(b"u" * MB)
            sent += MB

    def rests() -> bool:
        was = sent
        time.sleep(0.2)
        return sent == was

    sender = threading.Thread(target=ignoring(send), daemon=True)
    sender.start()
    sock = sink.accept()
    until(rests, "everything on the way is full", 20)
    before, passed = gate.memory, sent
    gate.swept(gate.stop(TARGET, Level.FREEZE))
    take(sock, 20 * MB)
    until(rests, "no more is taken of the client", 20)
    assert sent - passed < 10 * MB
    gate.swept(gate.release(TARGET))
    until(rests, "and no more than what the server takes", 20)
    assert sent - passed < 30 * MB
    assert gate.memory - before < 10 * MB
    client.sock.shutdown(socket.SHUT_RDWR)
    sender.join(10)


def ignoring(act: Callable[[], None]) -> Callable[[], None]:
    """Do it until the connection ends."""

    def run() -> None:
        with contextlib.suppress(OSError):
            act()

    return run


def take(sock: socket.socket, most: int) -> None:
    """Read for as long as something comes, up to so many bytes."""
    sock.settimeout(0.3)
    got = 0
    with contextlib.suppress(TimeoutError):
        while got < most:
            got += len(sock.recv(MB))
