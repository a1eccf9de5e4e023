"""The listener of sensors holds out against whoever speaks HTTP badly, slowly or all at once."""

from __future__ import annotations

import contextlib
import gzip
import socket
import time
import zlib
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from installation import until
from offswitch.watch.http.exchange import Answer, Door, Head, Request
from offswitch.watch.http.inflate import TooMuch, Unreadable, inflate
from offswitch.watch.http.listener import Listener, check_address
from scale import runs
from watch.net.speaking import TOKEN, Spoken, asked, free_port, raw, spoken

KEYS = {"kind": "otlp"}
OURS = {"authorization": f"Bearer {TOKEN}", "content-type": "application/x-protobuf"}


@pytest.fixture(scope="module")
def eye() -> Iterator[Spoken]:
    with spoken(KEYS) as one:
        yield one


def alive(eye: Spoken) -> bool:
    """Whether an honest sender is heard."""
    return asked(eye.port, "/v1/logs", b"", OURS).status == 200


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", 404),
        (b"POST /v1/logs HTTP/1.1\r\nhost: a\r\n\r\n", 401),
        (b"POST /v1/logs HTTP/1.1\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(300), 400),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 5000, 431),
        (b"POST /v1/logs HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n", 400),
        (
            b"POST /v1/logs HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
            400,
        ),
        (b"POST /v1/logs HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\n", 401),
        (b"GET http://elsewhere/ HTTP/1.1\r\nhost: a\r\n\r\n", 404),
        (b"CONNECT elsewhere:80 HTTP/1.1\r\nhost: a\r\n\r\n", 404),
    ],
)
def test_what_is_no_request_of_a_senders_is_answered_and_hung_up_on(
    eye: Spoken, said: bytes, status: int
) -> None:
    begin = time.monotonic()
    answer = raw(eye.port, said)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode()), answer[:80]
    assert time.monotonic() - begin < 4, "the end comes soon"
    assert alive(eye)


def test_a_stranger_sends_no_body_and_no_second_request(eye: Spoken) -> None:
    with socket.create_connection(("127.0.0.1", eye.port), 5) as sock:
        sock.sendall(b"POST /v1/logs HTTP/1.1\r\nhost: a\r\ncontent-length: 8000000\r\n\r\n")
        assert sock.recv(4096).startswith(b"HTTP/1.1 401")
        end = time.monotonic() + 10
        with contextlib.suppress(ConnectionError):
            while time.monotonic() < end:
                sock.sendall(b"x" * 65536)
                time.sleep(0.01)
        assert time.monotonic() < end, "it is hung up on"
    assert alive(eye)


def test_a_chunked_body_without_an_end_is_cut_off() -> None:
    with spoken(KEYS) as eye:
        head = "".join(f"{name}: {text}\r\n" for name, text in OURS.items())
        start = f"POST /v1/logs HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n{head}\r\n"
        chunk = b"100000\r\n" + bytes(1 << 20) + b"\r\n"
        answer = raw(eye.port, start.encode(), *[chunk] * 12)
        assert answer.startswith(b"HTTP/1.1 413") or not answer
        assert alive(eye)
        until(lambda: eye.sums()["broken"] == 1, "it is counted")


def test_many_requests_at_once_are_answered_in_turn_and_100_continue_is_said(eye: Spoken) -> None:
    head = "".join(f"{name}: {text}\r\n" for name, text in OURS.items())
    one = f"POST /v1/logs HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n{head}\r\n".encode()
    last = one.replace(b"host: a\r\n", b"host: a\r\nconnection: close\r\n")
    assert raw(eye.port, one * 20 + last).count(b"HTTP/1.1 200") == 21
    waiting = one.replace(b"length: 0\r\n", b"length: 2\r\nexpect: 100-continue\r\n")
    with socket.create_connection(("127.0.0.1", eye.port), 5) as sock:
        sock.sendall(waiting)
        assert sock.recv(4096).startswith(b"HTTP/1.1 100")
        sock.sendall(b"\n\x00")
        assert sock.recv(4096).startswith(b"HTTP/1.1 200")


class Held:
    """A listener on a clock of its own."""

    def __init__(self) -> None:
        self.port = free_port()
        self.listener = Listener(f"127.0.0.1:{self.port}")
        self.taken: list[Request] = []
        self.door = Door(frozenset({"/hook"}), TOKEN, self._take)
        self.listener.mount(self.door)
        self.now_us = 0
        self.turn()

    def _take(self, request: Request) -> Answer:
        self.taken.append(request)
        return Answer(200)

    def turn(self, later_us: int = 0) -> int | None:
        self.now_us += later_us
        return self.listener.turn(self.now_us)

    def join(self, said: bytes = b"") -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.port), 5)
        sock.sendall(said)
        return sock


@pytest.fixture
def held() -> Iterator[Held]:
    one = Held()
    yield one
    one.listener.close()


def over(sock: socket.socket) -> bool:
    sock.setblocking(False)
    try:
        return sock.recv(4096) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def test_who_is_slow_is_hung_up_on_however_often_a_byte_comes(held: Held) -> None:
    sock = held.join(b"POST /ho")
    held.turn()
    for _ in range(6):
        sock.sendall(b"o")
        due_us = held.turn(900_000)
    assert due_us is None
    assert over(sock)
    head = f"POST /hook HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\nauthorization: Bearer {TOKEN}"
    body = held.join(f"{head}\r\n\r\nabc".encode())
    held.turn()
    held.turn(11_000_000)
    assert body.recv(4096).startswith(b"HTTP/1.1 408")
    sock.close()
    body.close()


def test_strangers_who_say_nothing_keep_nobody_out(held: Held) -> None:
    strangers = []
    for _ in range(3):
        strangers += [held.join() for _ in range(50)]
        held.turn()
    head = f"POST /hook HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\nauthorization: Bearer {TOKEN}"
    honest = held.join(f"{head}\r\n\r\nab".encode())
    held.turn()
    held.turn()
    assert honest.recv(4096).startswith(b"HTTP/1.1 200")
    strangers += [held.join() for _ in range(80)]
    held.turn()
    honest.sendall(f"{head}\r\n\r\ncd".encode())
    held.turn()
    assert honest.recv(4096).startswith(b"HTTP/1.1 200"), "who is known is not hung up on first"
    assert [one.body for one in held.taken] == [b"ab", b"cd"]
    assert held.listener.turned_away >= 150 + 80 - 64
    for sock in [*strangers, honest]:
        sock.close()


def test_a_defect_of_ours_costs_one_request_and_is_told(held: Held) -> None:
    def fail(_request: Request) -> Answer:
        raise RuntimeError("ours")

    held.door.take = fail
    head = f"POST /hook HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\nauthorization: Bearer {TOKEN}"
    sock = held.join(f"{head}\r\n\r\nab".encode())
    held.turn()
    assert sock.recv(4096).startswith(b"HTTP/1.1 500")
    assert (held.door.broken, "ours" in held.door.defect) == (1, True)
    held.door.take = held._take
    sock.sendall(f"{head}\r\n\r\ncd".encode())
    held.turn()
    assert sock.recv(4096).startswith(b"HTTP/1.1 200")
    sock.close()


def test_the_password_of_basic_authentication_is_the_token_too() -> None:
    door = Door(frozenset({"/"}), TOKEN, lambda _request: Answer(200))
    knows = {
        "Bearer " + TOKEN: True,
        "bearer " + TOKEN: True,
        "Basic dTphLXRva2VuLXRoYXQtbm9ib2R5LWd1ZXNzZXM=": True,
        "Basic dTp4": False,
        "Basic": False,
        "Digest x": False,
        TOKEN: False,
        "Bearer \xff": False,
        "": False,
    }
    for said, known in knows.items():
        assert door.knows(Head("POST", "/", {"authorization": said})) is known, said
    assert not Door(frozenset({"/"}), "", door.take).knows(
        Head("POST", "/", {"authorization": "Bearer "})
    )


@pytest.mark.parametrize(
    ("said", "address"),
    [
        ("127.0.0.1:4318", "127.0.0.1:4318"),
        ("localhost:4318", "127.0.0.1:4318"),
        ("[::1]:4318", "[::1]:4318"),
        ("example.com:80", None),
        ("127.0.0.1", None),
        ("127.0.0.1:0", None),
        ("127.0.0.1:70000", None),
        ("127.0.0.1:\u0661", None),
    ],
)
def test_an_address_is_in_numbers(said: str, address: str | None) -> None:
    if address is not None:
        assert check_address(said) == address
        return
    with pytest.raises(ValueError, match="write it as"):
        check_address(said)


@settings(max_examples=runs(500), deadline=None)
@given(st.binary(max_size=200), st.sampled_from(["gzip", "deflate"]), st.integers(0, 300))
def test_what_was_packed_comes_out_whole_or_not_at_all(data: bytes, coding: str, most: int) -> None:
    packed = gzip.compress(data) if coding == "gzip" else zlib.compress(data)
    if len(data) > most:
        with pytest.raises(TooMuch):
            inflate(packed, coding, most)
    else:
        assert inflate(packed, coding, most) == data
    for cut in (packed[:-1], packed + b"x", b""):
        with pytest.raises((TooMuch, Unreadable)):
            inflate(cut, coding, most)


def test_archives_in_a_row_are_one_and_too_many_are_none() -> None:
    one = gzip.compress(b"ab")
    assert inflate(one * 3, "gzip", 100) == b"ababab"
    with pytest.raises(Unreadable):
        inflate(gzip.compress(b"") * 1000, "gzip", 100)


@settings(max_examples=runs(800), deadline=None)
@given(said=st.binary(max_size=300))
def test_no_bytes_end_the_listener(said: bytes) -> None:
    held = Held()
    try:
        for start in (
            b"",
            b"POST /hook HTTP/1.1\r\nhost: a\r\nauthorization: Bearer " + TOKEN.encode() + b"\r\n",
        ):
            held.join(start + said).close()
        for _ in range(3):
            held.turn()
        held.turn(400_000_000)
        assert not held.listener._open
    finally:
        held.listener.close()
