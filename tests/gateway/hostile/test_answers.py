"""Answers that are none, or that two could read in two ways, reach no client as if they were whole.

h11, as a client, reads both what the upstream sent and what we made of it.
"""

from __future__ import annotations

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fuzz.mutations import broken, budget
from gateway.hostile.relayed import Relayed, relay

COUNTED = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nx: y\r\n\r\nhello"
CHUNKS = (
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    b"3;a=b\r\nhel\r\n2\r\nlo\r\n0\r\nt: u\r\n\r\n"
)
EVENTS = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    b"9\r\ndata: a\n\n\r\n4\r\ndata\r\n5\r\n: b\n\n\r\n0\r\n\r\n"
)
CLOSING = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhello"
INTERIM = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"
PIECES = st.sampled_from(
    [
        *(b"HTTP/1.1 200 OK", b"HTTP/1.0 200 OK", b"HTTP/1.1 100 Continue\r\n\r\n", b" ", b"\x00"),
        *(b"\r\n", b"\n", b"\r", b"\r\n\r\n", b":", b",", b"5", b"0", b"hello", b"x: y"),
        *(b"\r\ncontent-length: 5", b"\r\ncontent-length: 6", b"\r\ntransfer-encoding: chunked"),
        *(b"\r\nconnection: close", b"\r\ntransfer-encoding: gzip", b"\r\n folded"),
        *(b"5\r\nhello\r\n", b"0\r\n\r\n", b"0\r\nt: u\r\n\r\n", COUNTED, CHUNKS, EMPTY, INTERIM),
    ]
)
DATA = (
    st.lists(PIECES, max_size=16).map(b"".join)
    | broken(COUNTED)
    | broken(INTERIM + CHUNKS)
    | broken(EVENTS)
    | broken(CLOSING)
)


def read_by_h11(data: bytes, method: bytes = b"GET") -> tuple[int, bytes]:
    """Give status and body as h11 reads an answer, the connection ending with it; it may raise."""
    client = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    client.send(h11.Request(method=method, target="/", headers=[("host", "a")]))
    client.send(h11.EndOfMessage())
    if data:
        client.receive_data(data)
    client.receive_data(b"")
    status, body = 0, b""
    while True:
        event = client.next_event()
        if isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            return status, body
        elif not isinstance(event, h11.InformationalResponse):
            message = f"h11 sees {event}"
            raise h11.RemoteProtocolError(message)


FAULTY = {
    "both length and coding": COUNTED.replace(b"x: y", b"transfer-encoding: chunked"),
    "two lengths": COUNTED.replace(b"x: y", b"content-length: 6"),
    "a list of lengths": COUNTED.replace(b": 5", b": 5, 6"),
    "+5": COUNTED.replace(b": 5", b": +5"),
    "-5": COUNTED.replace(b": 5", b": -5"),
    "another coding": COUNTED.replace(b"content-length: 5", b"transfer-encoding: gzip"),
    "two codings": CHUNKS.replace(b": chunked", b": gzip, chunked"),
    "coding twice": CHUNKS.replace(b"\r\n\r\n", b"\r\ntransfer-encoding: chunked\r\n\r\n", 1),
    "chunks in HTTP/1.0": CHUNKS.replace(b"1.1", b"1.0"),
    "a folded header": COUNTED.replace(b"x: y", b"x: y\r\n z"),
    "a bare LF": COUNTED.replace(b"x: y", b"x: y\nz: 1"),
    "a bare CR": COUNTED.replace(b"x: y", b"x: y\rz: 1"),
    "NUL": COUNTED.replace(b"x: y", b"x: \x00"),
    "a blank before the colon": COUNTED.replace(b"x:", b"x :"),
    "no status": COUNTED.replace(b" 200", b" "),
    "a status of four digits": COUNTED.replace(b" 200", b" 2000"),
    "HTTP/2": COUNTED.replace(b"HTTP/1.1", b"HTTP/2.0"),
    "not HTTP": b"SSH-2.0-x\r\n\r\n",
    "not even that": b"\x00" * 100,
    "a body too short": COUNTED[:-1],
    "no last chunk": CHUNKS[:-8],
    "no end of trailers": CHUNKS[:-2],
    "a chunk too long": CHUNKS.replace(b"hel", b"help"),
    "a chunk too short": CHUNKS.replace(b"hel", b"he"),
    "a size that is none": CHUNKS.replace(b"\r\n2\r\n", b"\r\nzz\r\n"),
    "a size below zero": CHUNKS.replace(b"\r\n2\r\n", b"\r\n-2\r\n"),
    "a size beyond all bounds": CHUNKS.replace(b"\r\n2\r\n", b"\r\n" + b"f" * 16 + b"\r\n"),
    "a chunk's end without CR": CHUNKS.replace(b"hel\r\n", b"hel\n"),
    "an extension with LF": CHUNKS.replace(b"a=b", b"a=\nb"),
    "a trailer that is none": CHUNKS.replace(b"t: u", b"t u"),
    "a trailer with LF": CHUNKS.replace(b"t: u", b"t: u\n\nHTTP/1.1 200 OK"),
    "only a head that never ends": b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 20000,
    "announced for ever": INTERIM * 1000 + COUNTED,
    "nothing": b"",
}


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize("case", FAULTY)
def test_SEC_4_an_answer_that_is_none_never_looks_whole(case: str, step: int) -> None:
    told = relay(FAULTY[case], step=step)
    assert told.how == "faulty"
    assert not told.keep
    if told.sent:
        with pytest.raises(h11.RemoteProtocolError):
            read_by_h11(told.sent)


@pytest.mark.parametrize("data", [COUNTED, CHUNKS, CLOSING, EVENTS, INTERIM + COUNTED])
@pytest.mark.parametrize("minor", [0, 1])
def test_a_whole_answer_arrives_whole(data: bytes, minor: int) -> None:
    for step in range(1, len(data) + 1):
        told = relay(data, minor=minor, step=step)
        assert told.how == "whole"
        assert read_by_h11(told.sent) == read_by_h11(data) == (200, told.body)
        assert told.closing == (minor == 0)


@pytest.mark.parametrize("cut", range(1, len(CHUNKS)))
def test_an_answer_that_breaks_off_anywhere_never_looks_whole(cut: int) -> None:
    for data in (CHUNKS[:cut], COUNTED[: min(cut, len(COUNTED) - 1)], EVENTS[: cut + 40]):
        told = relay(data)
        assert told.how == "faulty"
        if told.sent:
            with pytest.raises(h11.RemoteProtocolError):
                read_by_h11(told.sent)


def test_the_answer_to_HEAD_keeps_its_length_and_has_no_body() -> None:
    told = relay(COUNTED[:-5], method=b"HEAD", ends=False)
    assert told.how == "whole"
    assert told.keep
    assert b"content-length: 5\r\n" in told.sent
    assert told.sent.endswith(b"\r\n\r\n")
    assert not relay(COUNTED, method=b"HEAD").keep, "a body came all the same"


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_an_answer_that_has_no_body_ends_with_its_head(status: bytes) -> None:
    told = relay(b"HTTP/1.1 " + status + b"\r\netag: a\r\n\r\n", ends=False)
    assert told.how == "whole"
    assert told.keep
    assert read_by_h11(told.sent)[1] == b""


def test_SEC_4_what_comes_behind_an_answer_reaches_nobody() -> None:
    for data in (COUNTED, CHUNKS, EMPTY):
        told = relay(data + b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nsmuggled")
        assert told.how == "whole"
        assert not told.keep
        assert b"smuggled" not in told.sent


def test_what_is_between_two_hops_comes_no_further() -> None:
    hop = b"connection: x-hop, close\r\nx-hop: 1\r\nkeep-alive: timeout=5\r\nupgrade: h2c\r\nx: y"
    told = relay(COUNTED.replace(b"x: y", hop))
    assert sorted(told.sent.split(b"\r\n")) == sorted(COUNTED.split(b"\r\n"))
    assert not told.keep


def outcome(told: Relayed) -> tuple[str, int, bytes, bool]:
    return told.how, told.status, told.body if told.how == "whole" else b"", told.keep


@budget(6000)
@given(DATA, st.sampled_from([b"GET", b"HEAD"]), st.integers(1, 7))
@example(CHUNKS, b"GET", 1)
@example(EVENTS, b"GET", 3)
def test_however_an_answer_comes_it_means_the_same(data: bytes, method: bytes, step: int) -> None:
    whole, pieces = (relay(data, method=method, step=each) for each in (0, step))
    assert outcome(whole)[:3] == outcome(pieces)[:3]


@budget(6000)
@given(DATA, st.sampled_from([b"GET", b"HEAD"]))
@example(CHUNKS, b"GET")
@example(EVENTS, b"GET")
@example(CLOSING, b"GET")
def test_SEC_4_what_a_client_reads_is_what_the_upstream_said(data: bytes, method: bytes) -> None:
    told = relay(data, method=method)
    if told.how == "whole":
        assert read_by_h11(told.sent, method) == (told.status, told.body)
        assert read_by_h11(data, method) == (told.status, told.body)
    elif told.sent:
        with pytest.raises(h11.RemoteProtocolError):
            read_by_h11(told.sent, method)
