"""Nobody holds a connection for nothing: each is waited for, and each wait has an end (SEC-4)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from gate import Client, Gate, upstream_at
from offswitch.gateway.plan.front import Limits
from offswitch.gateway.plan.route import Route
from offswitch.gateway.plan.upstream import Upstream
from offswitch.model.level import Level
from scale import runs
from scripted_upstream import ScriptedUpstream, Visit

SHOP = "shop"
SHORT = 0.2
LONG_BODY = b"POST /file HTTP/1.1\r\nhost: gate\r\ncontent-length: 1000000\r\n\r\n"


@pytest.fixture(scope="module")
def standing_hasty(
    standing: tuple[Gate, ScriptedUpstream], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gate]:
    """A gateway that waits for nothing longer than `SHORT`."""
    limits = Limits(header_s=SHORT, body_s=SHORT, idle_s=SHORT, connect_s=SHORT, connections=220)
    routes = [Route(SHOP, upstream_at(standing[1].port))]
    gate = Gate(routes, tmp_path_factory.mktemp("hasty"), limits=limits)
    yield gate
    gate.close()


@pytest.fixture
def hasty(standing_hasty: Gate, upstream: ScriptedUpstream) -> Gate:
    assert upstream
    standing_hasty.afresh()
    return standing_hasty


@pytest.fixture
def silent(upstream: ScriptedUpstream) -> Iterator[threading.Event]:
    """An upstream that begins a stream and then says nothing, until the event is set."""
    said = threading.Event()

    def script(visit: Visit) -> None:
        if b"stream" in visit.line:
            visit.begin()
            visit.event("one")
        said.wait(10)

    upstream.script = script
    yield said
    said.set()


def took(client: Client) -> float:
    """Wait until a connection is ended; give the seconds."""
    start = time.monotonic()
    client.rest()
    return time.monotonic() - start


def test_SEC_4_a_head_that_comes_too_slowly_is_given_up(hasty: Gate) -> None:
    clients = [hasty.client() for _ in range(runs(200))]
    start = time.monotonic()
    for byte in b"GET / HTTP/1.1\r\nhost: gate\r\nx: " + b"a" * 1000:
        for client in clients:
            try:
                client.send(bytes([byte]))
            except OSError:
                break
        if time.monotonic() - start > 4 * SHORT:
            break
        time.sleep(0.01)
    for client in clients:
        assert b" 408 " in client.rest()[0]
    assert time.monotonic() - start < 20 * SHORT


def test_a_connection_that_says_nothing_is_closed(hasty: Gate) -> None:
    client = hasty.client()
    assert SHORT * 0.7 < took(client) < 20 * SHORT
    assert not client.got


def test_a_connection_between_two_requests_is_closed_in_the_end(hasty: Gate) -> None:
    client = hasty.client()
    client.ask()
    assert client.answer()[0] == 200
    assert SHORT * 0.7 < took(client) < 20 * SHORT


@pytest.mark.parametrize("path", [b"/file", b"/v1/chat/completions"])
def test_a_body_that_does_not_come_is_given_up(hasty: Gate, path: bytes) -> None:
    client = hasty.client()
    client.send(LONG_BODY.replace(b"/file", path) + b"a" * 1000)
    assert b" 408 " in client.rest()[0]


def test_a_silent_upstream_is_given_up(
    hasty: Gate, upstream: ScriptedUpstream, silent: threading.Event
) -> None:
    client = hasty.client()
    client.send(b"GET /nothing HTTP/1.1\r\nhost: gate\r\n\r\n")
    assert client.answer()[0] == 504
    assert upstream.visit().gone() == "reset"
    client = hasty.client()
    client.send(b"GET /stream HTTP/1.1\r\nhost: gate\r\n\r\n")
    got, how = client.rest()
    assert b"data: one" in got
    assert b"timed-out" in got
    assert how == "closed"


def test_a_frozen_stream_has_all_time(
    hasty: Gate, upstream: ScriptedUpstream, silent: threading.Event
) -> None:
    client = hasty.client()
    client.send(b"GET /stream HTTP/1.1\r\nhost: gate\r\n\r\n")
    client.until(b"data: one\n\n\r\n")
    hasty.swept(hasty.stop(SHOP, Level.FREEZE))
    assert client.quiet(4 * SHORT)
    hasty.release(SHOP)
    assert b"timed-out" in client.rest()[0], "and then it is waited for again"


def test_a_reader_that_reads_nothing_is_given_up(hasty: Gate, upstream: ScriptedUpstream) -> None:
    upstream.script = lambda visit: visit.answer(b"x" * (32 << 20), "application/octet-stream")
    client = hasty.client(receive=4096)
    client.send(b"GET /file HTTP/1.1\r\nhost: gate\r\n\r\n")
    assert upstream.visit().gone() != "alive"
    got, how = client.rest()
    assert len(got) < 32 << 20
    assert how == "reset"


def test_a_reader_that_is_slow_but_reads_is_waited_for(
    hasty: Gate, upstream: ScriptedUpstream
) -> None:
    size = 300_000
    upstream.script = lambda visit: visit.answer(b"x" * size, "application/octet-stream")
    client = hasty.client(receive=16384)
    client.send(b"GET /file HTTP/1.1\r\nhost: gate\r\n\r\n")
    client.until(b"\r\n\r\n")
    start = time.monotonic()
    while len(client.got) < size:
        client.got += client.sock.recv(size // 16)
        time.sleep(0.04)
    assert time.monotonic() - start > 2 * SHORT


def test_an_upstream_that_accepts_nobody_is_given_up(gate_of: Callable[..., Gate]) -> None:
    nowhere = Upstream("192.0.2.1", 9)  # RFC 5737: nobody is there
    gate = gate_of(Route(SHOP, nowhere), limits=Limits(connect_s=SHORT))
    client = gate.client()
    client.ask()
    start = time.monotonic()
    assert client.answer()[0] in {502, 504}
    assert time.monotonic() - start < 20 * SHORT


def test_SEC_4_one_client_too_many_is_told_so(
    gate_of: Callable[..., Gate], upstream: ScriptedUpstream
) -> None:
    hasty = gate_of(Route(SHOP, upstream_at(upstream.port)), limits=Limits(connections=20))
    clients = [hasty.client() for _ in range(20)]
    for client in clients:
        client.ask()
        assert client.answer()[0] == 200
    late = hasty.client()
    status, headers, _ = late.answer()
    assert status == 503
    assert headers[b"connection"] == b"close"
    clients[0].ask()
    assert clients[0].answer()[0] == 200, "those that are there are served"
    clients[0].close()
    time.sleep(0.1)
    again = hasty.client()
    again.ask()
    assert again.answer()[0] in {200, 503}
