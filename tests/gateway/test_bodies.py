"""However the bytes of an answer are cut into reads, its body is the same."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offswitch.gateway.wire.answer import read_answer
from offswitch.gateway.wire.bodies import Body, Chunked, Counted, UntilClose
from offswitch.gateway.wire.events import MOST_KEPT, Events
from offswitch.gateway.wire.rules import Refusal

HEAD = b"HTTP/1.1 200 OK\r\n"


def cut(data: bytes, at: list[int]) -> list[bytes]:
    """Cut into pieces; none is empty."""
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in at)})
    return [data[a:b] for a, b in pairwise(edges)]


def through(body: Body, pieces: list[bytes]) -> tuple[bytes, bytes]:
    """Give what was body, and what came behind it."""
    found, behind = b"", b""
    for piece in pieces:
        if body.done:
            behind += piece
        else:
            found += body.take(piece)
            behind += piece[body.used :]
    return found, behind


@given(
    st.lists(st.binary(min_size=1, max_size=300), max_size=6),
    st.lists(st.integers(0, 5000), max_size=12),
    st.sampled_from([b"", b"x-sum: 1\r\n"]),
)
def test_a_chunked_body_is_the_same_however_it_is_cut(
    chunks: list[bytes], places: list[int], trailers: bytes
) -> None:
    end = b"0\r\n" + trailers + b"\r\n"
    data = b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in chunks) + end + b"behind"
    body = Chunked()
    assert through(body, cut(data, places)) == (b"".join(chunks), b"behind")
    assert body.done


@given(st.binary(max_size=500), st.lists(st.integers(0, 5000), max_size=8))
def test_a_counted_body_ends_where_it_was_said(data: bytes, places: list[int]) -> None:
    body = Counted(len(data))
    assert through(body, cut(data + b"behind", places)) == (data, b"behind")


def test_it_is_known_when_nothing_has_begun() -> None:
    body = Chunked()
    for piece, even in (
        (b"3\r\nabc\r\n", True),
        (b"3\r\nab", False),
        (b"c\r\n", True),
        (b"3", False),
    ):
        body.take(piece)
        assert body.even is even, piece


@pytest.mark.parametrize(
    "data",
    [
        b"x\r\n",
        b"-1\r\n",
        b"0x1\r\na\r\n",
        b"1_0\r\n",
        b" 1\r\na\r\n",
        b"1\r\nab\r\n",
        b"3\r\nabc\rx",
    ],
)
def test_chunks_that_can_be_read_in_two_ways_are_refused(data: bytes) -> None:
    with pytest.raises(Refusal):
        Chunked().take(data)


@pytest.mark.parametrize(
    "lines",
    [
        b"content-length: 3\r\ntransfer-encoding: chunked",
        b"content-length: 3\r\ncontent-length: 4",
        b"content-length: +3",
        b"transfer-encoding: gzip, chunked",
        b"x: a\nb",
        b"x : a",
        b" folded",
    ],
)
def test_heads_that_can_be_read_in_two_ways_are_refused(lines: bytes) -> None:
    with pytest.raises(Refusal):
        read_answer(HEAD + lines, b"GET")


def test_what_is_between_two_hops_is_left_out() -> None:
    lines = b"connection: close, x-hop\r\nx-hop: 1\r\nkeep-alive: timeout=5\r\nx-kept: 2"
    answer = read_answer(HEAD + lines, b"GET")
    assert answer.headers == [(b"x-kept", b"2")]
    assert not answer.keep
    assert isinstance(answer.body, UntilClose)


EVENTS = st.lists(
    st.sampled_from(
        [b"data: one\n\n", b"data: two\r\n\r\n", b": hello\n\n", b"event: x\rdata: 3\r\r"]
    ),
    max_size=8,
)


@given(EVENTS, st.lists(st.integers(0, 5000), max_size=10))
def test_events_are_handed_on_whole_and_unchanged(all_of: list[bytes], places: list[int]) -> None:
    events = Events()
    data = b"".join(all_of)
    out = []
    for piece in cut(data, places):
        out.append(events.feed(piece))
        assert events.whole
        assert not out[-1] or out[-1].endswith((b"\n\n", b"\n\r\n", b"\r\r", b"\r\r\n"))
    assert b"".join(out) + events.rest() == data


def test_an_event_that_does_not_end_is_not_kept_for_ever() -> None:
    events = Events()
    assert events.feed(b"data: 1\n\ndata: ") == b"data: 1\n\n"
    passed, piece = b"", b"x" * 10_000
    for _ in range(MOST_KEPT // len(piece) + 2):
        passed += events.feed(piece)
    assert len(passed) >= MOST_KEPT
    assert not events.whole, "so it is known that it cannot be ended well here"
    assert events.feed(b"\n\ndata: 2\n\n") == b"\n\ndata: 2\n\n"
    assert events.whole
