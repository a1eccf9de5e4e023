"""What goes up to a server waits where a stop finds it, and never piles up, nor meets another's."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from gate import Gate, upstream_at
from offswitch.gateway.plan.route import Route

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
