"""Websockets: opened as the server says, carried as they are, cut in frames that a client reads."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.mutations import budget
from gate import Client, Gate, upstream_at
from installation import until
from offswitch.gateway.plan.front import Limits
from offswitch.gateway.plan.route import Route
from offswitch.gateway.wire import frames
from offswitch.gateway.wire.frames import Frames, accepts
from offswitch.model.level import Level
from scripted_upstream import ScriptedUpstream, Visit

TARGET = "shop/eu/checkout"
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ASK = (
    b"GET /v1/realtime?model=m-7 HTTP/1.1\r\nhost: gate\r\nconnection: keep-alive, Upgrade\r\n"
    b"upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: " + KEY + b"\r\n"
    b"sec-websocket-protocol: realtime\r\n\r\n"
)
OPEN = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Protocol: realtime\r\nSec-WebSocket-Accept: %b\r\n\r\n"
)


def frame(payload: bytes, first: int = 0x82, mask: bytes = b"") -> bytes:
    size = len(payload)
    bit = 0x80 if mask else 0
    if size < 126:
        head = bytes((first, bit | size))
    elif size < 1 << 16:
        head = struct.pack("!BBH", first, bit | 126, size)
    else:
        head = struct.pack("!BBQ", first, bit | 127, size)
    return head + mask + payload


def frames_of(data: bytes) -> list[tuple[int, bytes]]:
    """Take a server's whole frames apart: first bytes and payloads."""
    found = []
    while data:
        size, at = data[1] & 0x7F, 2
        if size == 126:
            size, at = int.from_bytes(data[2:4], "big"), 4
        elif size == 127:
            size, at = int.from_bytes(data[2:10], "big"), 10
        assert len(data) >= at + size, "a frame that is cut in two"
        found.append((data[0], data[at : at + size]))
        data = data[at + size :]
    return found


def opening(visit: Visit) -> None:
    assert visit.headers[b"upgrade"] == b"websocket"
    visit.send(OPEN % accepts(visit.headers[b"sec-websocket-key"]))


def echoing(visit: Visit) -> None:
    """Open it and say back what comes, as it came."""
    opening(visit)
    while data := visit.sock.recv(65536):
        visit.send(data)
    visit.end()


def opened(gate: Gate) -> Client:
    client = gate.client()
    client.send(ASK)
    head = client.until(b"\r\n\r\n").lower()
    assert head.startswith(b"http/1.1 101 ")
    assert b"sec-websocket-accept: " + accepts(KEY).lower() in head
    assert b"sec-websocket-protocol: realtime\r\n" in head
    assert b"\r\nupgrade: websocket\r\n" in head
    return client


@pytest.fixture
def talking(upstream: ScriptedUpstream) -> Iterator[threading.Event]:
    """An upstream that says a message each 2 ms until the event is set."""
    enough = threading.Event()

    def script(visit: Visit) -> None:
        opening(visit)
        while not enough.wait(0.002):
            visit.send(frame(b"token " * 20, 0x81))

    upstream.script = script
    yield enough
    enough.set()


def test_a_websocket_carries_bytes_as_they_are(gate: Gate, upstream: ScriptedUpstream) -> None:
    upstream.script = echoing
    client = opened(gate)
    mask = b"\x01\x02\x03\x04"
    for payload in (b"", b"hello", b"x" * 200, b"y" * 70_000, b"z" * 1_000_000):
        said = frame(payload, mask=mask)
        client.send(said)
        while len(client.got) < len(said):
            client.got += client.sock.recv(65536)
        assert client.got == said
        client.got = b""
    assert upstream.visits[0].line == b"GET /v1/realtime?model=m-7 HTTP/1.1"


def test_what_comes_before_the_server_has_opened_waits(
    gate: Gate, upstream: ScriptedUpstream
) -> None:
    said = frame(b"early", mask=b"abcd")

    def script(visit: Visit) -> None:
        time.sleep(0.05)
        echoing(visit)

    upstream.script = script
    client = gate.client()
    client.send(ASK + said)
    assert client.until(b"early").endswith(said)


@pytest.mark.parametrize("woken", [True, False], ids=["woken", "by the piece"])
def test_ACT_1_a_websocket_is_cut_at_a_frame_with_an_error_and_a_close(
    gate: Gate, upstream: ScriptedUpstream, talking: threading.Event, *, woken: bool
) -> None:
    client = opened(gate)
    client.until(b"token")
    if woken:
        gate.stop(TARGET)
    else:
        gate.word(TARGET, Level.KILL)
    got, how = client.rest()
    assert how == "closed"
    *_, error, end = frames_of(client_frames(got))
    assert error[0] == 0x81
    assert json.loads(error[1])["type"] == "error"
    assert end == (0x88, struct.pack("!H", 1008) + b"stopped: " + TARGET.encode())
    assert upstream.visit().gone() == "reset"
    assert not talking.is_set()


def client_frames(got: bytes) -> bytes:
    """Give what comes from the first whole frame on, the first having been read in part."""
    return got[got.index(b"\x81") :]


def test_ACT_1_a_word_of_a_client_reaches_nobody_after_a_stop(
    gate: Gate, upstream: ScriptedUpstream
) -> None:
    heard: list[bytes] = []

    def script(visit: Visit) -> None:
        opening(visit)
        with contextlib.suppress(ConnectionResetError):
            while data := visit.sock.recv(65536):
                heard.append(data)
        over.append("gone")

    over: list[str] = []
    upstream.script = script
    client = opened(gate)
    client.send(frame(b"one", mask=b"abcd"))
    gate.word(TARGET, Level.KILL)
    client.send(frame(b"two", mask=b"abcd"))
    got, _ = client.rest()
    assert frames_of(got)[-1][1][:2] == struct.pack("!H", 1008)
    until(lambda: over, "the upstream's connection has ended")
    assert b"two" not in b"".join(heard)


def test_ACT_1_in_the_middle_of_a_message_only_a_close_follows(
    gate: Gate, upstream: ScriptedUpstream
) -> None:
    def script(visit: Visit) -> None:
        opening(visit)
        visit.send(frame(b"begun", 0x01) + frame(b"goes on", 0x80)[:3])
        visit.gone()

    upstream.script = script
    client = opened(gate)
    client.until(b"begun")
    gate.stop(TARGET)
    assert [first for first, _ in frames_of(client.rest()[0])] == [0x88]


def test_ACT_1_within_a_frame_that_is_too_long_to_wait_for_it_is_aborted(
    gate: Gate, upstream: ScriptedUpstream
) -> None:
    def script(visit: Visit) -> None:
        opening(visit)
        visit.send(frame(b"x" * 1_000_000)[:500_000])
        visit.gone()

    upstream.script = script
    client = opened(gate)
    while len(client.got) < 500_000:
        client.got += client.sock.recv(65536)
    gate.stop(TARGET)
    assert client.rest()[1] == "reset"


def test_ACT_1_a_frozen_websocket_goes_on_where_it_was(
    gate: Gate, upstream: ScriptedUpstream
) -> None:
    upstream.script = echoing
    client = opened(gate)
    said = [frame(b"%d" % number, mask=b"abcd") for number in range(3)]
    client.send(said[0])
    client.until(said[0])
    gate.swept(gate.stop(TARGET, Level.FREEZE))
    client.send(said[1])
    assert client.quiet()
    gate.release(TARGET)
    client.send(said[2])
    assert client.until(said[2]) == said[1] + said[2]


def test_a_latched_target_opens_no_websocket(gate: Gate, upstream: ScriptedUpstream) -> None:
    gate.swept(gate.stop(TARGET))
    client = gate.client()
    client.send(ASK)
    assert client.answer()[0] == 503
    assert not upstream.visits


def test_a_close_of_the_server_is_the_end(gate: Gate, upstream: ScriptedUpstream) -> None:
    def script(visit: Visit) -> None:
        opening(visit)
        visit.send(frames.close(1000, "done"))
        visit.end()

    upstream.script = script
    got, how = opened(gate).rest()
    assert frames_of(got) == [(0x88, struct.pack("!H", 1000) + b"done")]
    assert how == "closed"


def test_a_server_that_breaks_off_is_told_as_such(gate: Gate, upstream: ScriptedUpstream) -> None:
    def script(visit: Visit) -> None:
        opening(visit)
        visit.send(frame(b"one") + frame(b"two")[:2])
        visit.end()

    upstream.script = script
    one, error, end = frames_of(opened(gate).rest()[0])
    assert one == (0x82, b"one")
    assert json.loads(error[1])["error"]["cause"] == "upstream"
    assert end[1][:2] == struct.pack("!H", 1011)


def test_a_client_that_goes_takes_its_upstream_along(
    gate: Gate, upstream: ScriptedUpstream, talking: threading.Event
) -> None:
    client = opened(gate)
    client.until(b"token")
    client.close()
    assert upstream.visit().gone() == "reset"
    assert not talking.is_set()


@pytest.mark.parametrize(
    "answer",
    [
        OPEN % b"x",
        OPEN.replace(b"Sec-WebSocket-Accept: %b\r\n", b""),
        (OPEN % accepts(KEY)).replace(b"\r\n\r\n", b"\r\nsec-websocket-accept: y\r\n\r\n"),
    ],
    ids=["another key", "no key", "two keys"],
)
def test_SEC_4_a_server_that_opens_something_else_is_not_believed(
    gate: Gate, upstream: ScriptedUpstream, answer: bytes
) -> None:
    ended: list[str] = []

    def script(visit: Visit) -> None:
        visit.send(answer)
        ended.append(visit.gone())

    upstream.script = script
    client = gate.client()
    client.send(ASK)
    assert client.answer()[0] == 502
    until(lambda: ended == ["reset"], "its connection is ended")


def test_SEC_4_a_switch_that_nobody_asked_for_is_not_believed(
    gate: Gate, upstream: ScriptedUpstream
) -> None:
    upstream.script = lambda visit: visit.send(OPEN % accepts(KEY))
    client = gate.client()
    client.send(b"GET / HTTP/1.1\r\nhost: gate\r\n\r\n")
    assert client.answer()[0] == 502


def test_a_server_that_declines_answers_as_ever(gate: Gate, upstream: ScriptedUpstream) -> None:
    upstream.script = lambda visit: visit.answer(b"no")
    client = gate.client()
    client.send(ASK)
    assert client.answer()[::2] == (200, b"no")
    client.ask()
    assert client.answer()[0] == 200


def test_a_websocket_in_which_nobody_speaks_is_given_up(
    gate_of: Callable[..., Gate], upstream: ScriptedUpstream
) -> None:
    upstream.script = echoing
    gate = gate_of(Route(TARGET, upstream_at(upstream.port)), limits=Limits(idle_s=0.3))
    client = opened(gate)
    start = time.monotonic()
    assert frames_of(client.rest()[0])[-1][0] == 0x88
    assert 0.2 < time.monotonic() - start < 5


def test_a_gateway_that_goes_down_says_so_in_a_frame(
    gate_of: Callable[..., Gate], upstream: ScriptedUpstream, talking: threading.Event
) -> None:
    gate = gate_of(Route(TARGET, upstream_at(upstream.port)))
    client = opened(gate)
    client.until(b"token")
    gate.drain(0.2)
    end = frames_of(client_frames(client.rest()[0]))[-1]
    assert end[1][:2] == struct.pack("!H", 1001)
    assert gate.drained() == "cut"
    assert not talking.is_set()


def test_many_bytes_for_a_slow_reader_wait_at_the_upstream(
    gate: Gate, upstream: ScriptedUpstream
) -> None:
    sent = 0

    def script(visit: Visit) -> None:
        nonlocal sent
        opening(visit)
        visit.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        visit.sock.settimeout(1)
        while True:
            visit.send(frame(b"x" * 50_000))
            sent += 50_000

    upstream.script = script
    client = gate.client(receive=4096)
    client.send(ASK)
    client.until(b"\r\n\r\n")

    def rests() -> bool:
        before = sent
        time.sleep(0.15)
        return sent == before > 0

    until(rests, "it is not read any more")
    assert sent < 8_000_000


SENT = st.lists(
    st.tuples(st.sampled_from([0x01, 0x81, 0x00, 0x80, 0x89, 0xC1]), st.integers(0, 300)),
    max_size=8,
).map(lambda parts: [frame(b"p" * size, first) for first, size in parts])


@budget(2000)
@given(SENT, st.integers(1, 40), st.integers(0, 2000))
def test_frames_are_handed_on_whole_however_they_come(
    sent: list[bytes], step: int, cut: int
) -> None:
    data = b"".join(sent)[:cut]
    follower = Frames()
    out = b""
    for at in range(0, len(data), step):
        out += follower.feed(data[at : at + step])
        assert follower.whole
        frames_of(out)
    assert data.startswith(out)
    whole = b""
    for one in sent:
        if len(whole) + len(one) > len(data):
            break
        whole += one
    assert out == whole


@budget(2000)
@given(st.lists(st.binary(max_size=400), max_size=6))
def test_no_bytes_end_the_reader_of_frames(pieces: list[bytes]) -> None:
    follower = Frames()
    out = b"".join(follower.feed(piece) for piece in pieces)
    assert b"".join(pieces).startswith(out)


def test_a_reason_has_room_in_a_close_frame() -> None:
    end = frames.close(1008, "ü" * 200)
    assert len(end) == 2 + end[1] <= 127
    end[4:].decode()
