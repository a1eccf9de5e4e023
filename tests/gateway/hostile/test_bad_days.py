"""Bad days: readers by the thousand that do not read, answers without end, servers that die midway.

Memory is bounded by what is in flight, never by what is asked for or answered.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from gate import Client, Gate, upstream_at
from installation import until
from offswitch.gateway.plan.front import Limits
from offswitch.gateway.plan.route import Route
from scale import LONG
from scripted_upstream import ScriptedUpstream, Visit

TARGET = "shop/eu/checkout"
MB = 1 << 20
READERS = 1000 if LONG else 50
HUGE = 10_000 * MB if LONG else 200 * MB
GET = b"GET /file HTTP/1.1\r\nhost: gate\r\n\r\n"


@pytest.fixture
def alone(gate_of: Callable[..., Gate], upstream: ScriptedUpstream) -> Gate:
    """A gateway whose memory is not another test's."""
    return gate_of(Route(TARGET, upstream_at(upstream.port)))


class Flood:
    """A server in one thread that sends to all who ask as fast as they take it, and counts."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.sent = 0
        self.asked = 0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
        self.port: int = self._listener.getsockname()[1]
        self._over = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._listener.settimeout(0.02)
        left: dict[socket.socket, int] = {}
        piece = b"x" * 65536
        while not self._over:
            with contextlib.suppress(TimeoutError, OSError):
                while True:
                    sock, _ = self._listener.accept()
                    sock.settimeout(5)
                    while b"\r\n\r\n" not in sock.recv(65536):
                        pass
                    self.asked += 1
                    sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % self.size)
                    sock.setblocking(False)
                    left[sock] = self.size
            moved = True
            while moved and not self._over:
                moved = False
                for sock in list(left):
                    try:
                        done = sock.send(piece[: left[sock]])
                    except BlockingIOError:
                        continue
                    except OSError:
                        left.pop(sock)
                        sock.close()
                        continue
                    moved = True
                    self.sent += done
                    left[sock] -= done
                    if not left[sock]:
                        left.pop(sock)
                        sock.close()
        for sock in left:
            sock.close()

    def close(self) -> None:
        self._over = True
        self._thread.join(5)
        self._listener.close()


@pytest.fixture
def flood() -> Iterator[Flood]:
    server = Flood(HUGE)
    yield server
    server.close()


@pytest.mark.timeout(600 if LONG else 120)
def test_SEC_4_many_readers_that_do_not_read_take_little_memory(
    gate_of: Callable[..., Gate], flood: Flood
) -> None:
    gate = gate_of(Route(TARGET, upstream_at(flood.port)))
    before = gate.memory
    clients = [gate.client(receive=4096) for _ in range(READERS)]
    for client in clients:
        client.send(GET)
    until(lambda: flood.asked == READERS, "all have asked", 60)

    def rests() -> bool:
        was = flood.sent
        time.sleep(0.2)
        return flood.sent == was

    until(rests, "nothing more is read from the upstream", 60)
    each = (gate.memory - before) / READERS
    assert each < 700_000, f"{each:.0f} bytes a reader"
    assert flood.sent / READERS < 16 * MB, "the rest waits where it comes from"
    reader = gate.client()
    reader.send(
        b"GET /.offswitch/probe HTTP/1.1\r\nhost: g\r\nx-offswitch-target: %b\r\n\r\n"
        % TARGET.encode()
    )
    start = time.monotonic()
    assert reader.answer()[0] == 200
    assert time.monotonic() - start < 1, "others are served meanwhile"
    start = time.monotonic()
    gate.swept(gate.stop(TARGET))
    for client in clients:
        client.sock.settimeout(5)
        _, how = client.rest()
        assert how == "reset", "what was cut short does not look whole"


@pytest.mark.timeout(900 if LONG else 120)
def test_SEC_4_an_answer_without_end_takes_no_more_memory_than_another(
    gate_of: Callable[..., Gate], flood: Flood
) -> None:
    gate = gate_of(Route(TARGET, upstream_at(flood.port)))
    client = gate.client()
    client.send(GET)
    client.until(b"\r\n\r\n")
    got, most, into = len(client.got), 0, bytearray(MB)
    while got < HUGE:
        read = client.sock.recv_into(into)
        assert read, "it breaks off"
        got += read
        if got % 64 < 8:
            most = max(most, gate.memory)
    first = gate.memory
    assert got == HUGE
    assert max(most, first) < 120 * MB


def test_SEC_4_an_upload_is_passed_on_as_it_comes(gate_of: Callable[..., Gate]) -> None:
    size = HUGE // 4
    server = socket.create_server(("127.0.0.1", 0))
    gate = gate_of(Route(TARGET, upstream_at(server.getsockname()[1])))
    before = gate.memory
    client = gate.client()

    def upload() -> None:
        client.send(b"PUT /file HTTP/1.1\r\nhost: g\r\ncontent-length: %d\r\n\r\n" % size)
        piece = b"u" * MB
        for _ in range(size // MB):
            client.send(piece)

    sender = threading.Thread(target=upload, daemon=True)
    sender.start()
    sock, _ = server.accept()
    with sock, server:
        time.sleep(0.2)  # it takes nothing yet, so nothing may pile up
        assert gate.memory - before < 20 * MB
        got = sock.recv(65536)
        head, _, body = got.partition(b"\r\n\r\n")
        assert b"content-length: %d" % size in head
        came, into, most = len(body), bytearray(MB), 0
        while came < size:
            came += sock.recv_into(into)
            most = max(most, gate.memory)
        sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        assert client.answer()[2] == b"ok"
        sender.join(5)
    assert most - before < 20 * MB


COUNTED = (
    b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 12\r\n\r\n{"ok": true}'
)
CHUNKED = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    b'6\r\n{"ok":\r\n6\r\n true}\r\n0\r\n\r\n'
)
EVENTS = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    b"b\r\ndata: one\n\n\r\nb\r\ndata: two\n\n\r\n0\r\n\r\n"
)


def look(gate: Gate, request: bytes = GET) -> tuple[str, bytes]:
    """Ask, and say how what came looks to a client: `whole`, `broken`, or `error`."""
    client = gate.client()
    client.send(request)
    got, how = client.rest() if b"connection: close" in request else (b"", "")
    if not how:
        try:
            status, _, body = client.answer()
        except (AssertionError, ConnectionError, ValueError):
            return "broken", client.got
        return ("whole" if status == 200 else "error"), body
    return how, got


@pytest.mark.parametrize("how", ["closes", "resets"])
@pytest.mark.parametrize("answer", [COUNTED, CHUNKED, EVENTS], ids=["counted", "chunked", "events"])
def test_a_server_that_dies_at_any_point_leaves_nothing_that_looks_whole(
    gate: Gate, upstream: ScriptedUpstream, answer: bytes, how: str
) -> None:
    cuts = range(len(answer)) if LONG else range(0, len(answer), 7)
    head = answer.index(b"\r\n\r\n") + 4
    cut = 0

    def script(visit: Visit) -> None:
        visit.send(answer[:cut])
        if how == "resets":
            time.sleep(0.002)
            visit.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            visit.sock.close()
        visit.end()

    upstream.script = script
    for cut in cuts:
        looks, body = look(gate)
        if cut < head:
            assert looks == "error", cut
            assert b"upstream" in body
        elif answer is not EVENTS:
            assert looks in {"broken", "error"}, cut
        elif looks == "whole":
            # A stream of events is ended in words: its client reads an error, not an end.
            assert body.endswith(b'data: {"error": "upstream"}\n\n'), cut


def test_SEC_4_what_is_too_large_is_told_so(
    gate_of: Callable[..., Gate], upstream: ScriptedUpstream
) -> None:
    limits = Limits(head=1000, body=10_000)
    gate = gate_of(Route(TARGET, upstream_at(upstream.port)), limits=limits)
    chat = b"POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\n"
    for status, data in (
        (431, GET[:-2] + b"x: " + b"a" * 1000),
        (431, GET[:-2] + b"x: y\r\n" * 120 + b"\r\n"),
        (413, chat + b"content-length: 20000000\r\n\r\n" + b"a" * 200_000),
        (413, chat + b"transfer-encoding: chunked\r\n\r\n" + b"1000\r\n" + b"a" * 4096 + b"\r\n"),
    ):
        client = gate.client()
        client.send(data)
        if b"chunked" in data:
            for _ in range(2):
                client.send(b"1000\r\n" + b"a" * 4096 + b"\r\n")
        assert client.answer()[0] == status
        assert client.rest() == (b"", "closed")
    assert not upstream.visits
    big = gate.client()
    big.send(b"POST /file HTTP/1.1\r\nhost: g\r\ncontent-length: 100000\r\n\r\n" + b"a" * 100_000)
    assert big.answer()[0] == 200, "what is not read is not bounded"


def test_pipelined_requests_are_answered_in_their_order(
    gate: Gate, upstream: ScriptedUpstream
) -> None:
    def script(visit: Visit) -> None:
        number = int(visit.line.split()[1][2:])
        time.sleep(0.02 if number % 3 == 0 else 0)
        visit.answer(b"%d" % number)

    upstream.script = script
    client = gate.client()
    client.send(b"".join(b"GET /n%d HTTP/1.1\r\nhost: g\r\n\r\n" % number for number in range(30)))
    assert [client.answer()[2] for _ in range(30)] == [b"%d" % number for number in range(30)]
    client.send(
        b"POST /n1 HTTP/1.1\r\nhost: g\r\ncontent-length: 3\r\n\r\nabc" * 3 + b"JUNK\r\n\r\n"
    )
    assert [client.answer()[0] for _ in range(4)] == [200, 200, 200, 400]
    assert client.rest() == (b"", "closed")


def test_a_client_that_sends_without_end_is_not_read_without_end(
    alone: Gate, upstream: ScriptedUpstream
) -> None:
    held = threading.Event()

    def script(visit: Visit) -> None:
        held.wait(10)
        visit.answer(b"ok")

    upstream.script = script
    client = alone.client()
    client.sock.setblocking(False)
    before, sent = alone.memory, 0
    for _ in range(400):
        with contextlib.suppress(BlockingIOError):
            sent += client.sock.send(GET * 1000)
        time.sleep(0.001)
    assert alone.memory - before < 4 * MB
    assert sent < 12 * MB
    held.set()


def test_whoever_waits_for_leave_gets_it_before_the_body_is_sent(
    gate: Gate, upstream: ScriptedUpstream
) -> None:
    for path in (b"/file", b"/v1/chat/completions"):
        client = gate.client()
        head = b"POST %b HTTP/1.1\r\nhost: g\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n"
        client.send(head % path)
        assert client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(b"{}")
        assert client.answer()[0] == 200
    assert [visit.body for visit in upstream.visits] == [b"{}", b"{}"]
    assert b"expect" not in upstream.visits[0].headers


def test_ACT_1_whoever_waits_for_leave_is_refused_before_the_body_is_sent(gate: Gate) -> None:
    gate.swept(gate.stop(TARGET))
    client = gate.client()
    client.send(
        b"POST /file HTTP/1.1\r\nhost: g\r\n"
        b"expect: 100-continue\r\ncontent-length: 20000000\r\n\r\n"
    )
    assert client.answer()[0] == 503


def test_answers_without_bodies_pass_and_the_connection_goes_on(
    gate: Gate, upstream: ScriptedUpstream
) -> None:
    answers = {
        b"/204": b"HTTP/1.1 204 No Content\r\nx: y\r\n\r\n",
        b"/304": b"HTTP/1.1 304 Not Modified\r\netag: a\r\ncontent-length: 5\r\n\r\n",
        b"/head": b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n",
        b"/hints": b"HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n" + COUNTED,
    }
    upstream.script = lambda visit: visit.send(answers[visit.line.split()[1]])
    client = gate.client()
    for _ in range(2):
        client.send(b"HEAD /head HTTP/1.1\r\nhost: g\r\n\r\n")
        assert b"content-length: 500\r\n" in client.until(b"\r\n\r\n")
        for path in (b"/204", b"/304"):
            client.send(b"GET %b HTTP/1.1\r\nhost: g\r\n\r\n" % path)
            assert client.until(b"\r\n\r\n").startswith(b"HTTP/1.1 %b" % path[1:])
        client.send(b"GET /hints HTTP/1.1\r\nhost: g\r\n\r\n")
        assert client.answer()[2] == b'{"ok": true}'
    assert upstream.visits[0].sock is upstream.visits[7].sock


def test_an_answer_that_ends_with_its_connection_is_told_as_whole(
    gate: Gate, upstream: ScriptedUpstream
) -> None:
    def script(visit: Visit) -> None:
        visit.send(b"HTTP/1.0 200 OK\r\ncontent-type: text/plain\r\n\r\nuntil the end")
        visit.end()

    upstream.script = script
    client = gate.client()
    for _ in range(2):
        client.send(GET)
        status, headers, body = client.answer()
        assert (status, body) == (200, b"until the end")
        assert headers[b"transfer-encoding"] == b"chunked"
    old = gate.client()
    old.send(b"GET / HTTP/1.0\r\n\r\n")
    got, how = old.rest()
    assert got.endswith(b"\r\n\r\nuntil the end")
    assert b"chunked" not in got
    assert how == "closed"


def test_SEC_4_a_garbled_answer_is_a_502_and_its_connection_is_not_used_again(
    gate: Gate, upstream: ScriptedUpstream
) -> None:
    garbled = [
        COUNTED.replace(b"content-length", b"transfer-encoding: chunked\r\ncontent-length"),
        COUNTED.replace(b": 12", b": 12\r\ncontent-length: 13"),
        b"220 smtp.example ESMTP\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n folded: x\r\n\r\n",
    ]
    upstream.script = lambda visit: visit.send(garbled[len(upstream.visits) - 1])
    for number in range(len(garbled)):
        assert look(gate)[0] == "error"
        assert upstream.visit(number).gone() == "reset"


def test_SEC_4_an_answer_that_nobody_asked_for_reaches_nobody(
    gate: Gate, upstream: ScriptedUpstream
) -> None:
    def script(visit: Visit) -> None:
        visit.answer(b"first")
        time.sleep(0.02)
        with contextlib.suppress(OSError):
            visit.answer(b"smuggled")

    upstream.script = script
    client = gate.client()
    client.send(GET)
    assert client.answer()[2] == b"first"
    until(lambda: upstream.visits[0].gone(0) == "reset", "the connection is ended")
    client.send(GET)
    assert client.answer()[2] == b"first"


def test_a_client_that_half_closes_is_taken_for_gone(
    gate: Gate, upstream: ScriptedUpstream
) -> None:
    def script(visit: Visit) -> None:
        visit.begin()
        visit.event("one")
        visit.gone()

    upstream.script = script
    client = gate.client()
    client.ask()
    client.until(b"data: one")
    client.sock.shutdown(socket.SHUT_WR)
    assert upstream.visit().gone() == "reset"


@pytest.mark.parametrize("rounds", [10 if LONG else 1])
def test_a_reload_loses_no_stream_and_no_request(
    gate_of: Callable[..., Gate], upstream: ScriptedUpstream, rounds: int
) -> None:
    def script(visit: Visit) -> None:
        if b"stream" not in visit.body:
            visit.answer(b"ok")
            return
        visit.begin()
        for number in range(60):
            visit.event(f"<{number}>")
            time.sleep(0.005)
        visit.finish()

    upstream.script = script
    route = Route(TARGET, upstream_at(upstream.port))
    old = gate_of(route)
    failed: list[str] = []
    over = threading.Event()

    def ask() -> None:
        """Ask again and again, by new connections and by kept ones."""
        client = Client(old.port)
        while not over.is_set():
            client.ask(body=b"{}")
            status, headers, _ = client.answer()
            if status != 200:
                failed.append(f"{status}")
            if headers.get(b"connection") == b"close":
                client.close()
                client = Client(old.port)
        client.close()

    askers = [threading.Thread(target=ask) for _ in range(4)]
    for asker in askers:
        asker.start()
    for _ in range(rounds):
        streams = [old.client() for _ in range(10)]
        for stream in streams:
            stream.ask()
        for stream in streams:
            stream.until(b"\r\n\r\n")
        new = gate_of(route, beside=old)
        old.drain(1.5)
        late = new.client()
        late.ask(body=b"{}")
        assert late.answer()[0] == 200
        for stream in streams:
            rest = b"".join(stream.chunks())
            assert [rest.count(b"<%d>" % number) for number in range(60)] == [1] * 60
        assert old.drained() == "drained"
        old = new
    over.set()
    for asker in askers:
        asker.join(10)
        assert not asker.is_alive()
    assert not failed
