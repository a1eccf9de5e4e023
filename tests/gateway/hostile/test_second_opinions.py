"""Whatever we take, others read as we do: h11 and llhttp are asked about the same bytes (SEC-4).

Two ways lead upstream: the bytes as the client wrote them (so that nobody in front of us saw
something else), and the request as we write it anew (so that the server behind sees nothing else).
"""

from __future__ import annotations

import contextlib

import httptools
from hypothesis import example, given
from hypothesis import strategies as st

from fuzz.mutations import broken, budget
from gateway.hostile.opinions import Told, by_h11, by_llhttp, by_us
from offswitch.gateway.plan.upstream import Upstream
from offswitch.gateway.wire.emit import emit
from offswitch.gateway.wire.request import Requests
from offswitch.gateway.wire.rules import Rules
from offswitch.gateway.wire.strict import Begun

PIECES = st.sampled_from(
    [
        *(b"GET", b"POST", b"HEAD", b"/v1/x", b"/", b"http://a/", b" ", b"HTTP/1.1", b"HTTP/1.0"),
        *(b"\r\n", b"\n", b"\r", b"\t", b"\x0b", b"\x00", b":", b",", b";", b"+", b"0", b"3", b"5"),
        *(b"\r\n\r\n", b"\r\nHost: a", b"\r\nContent-Length: 3", b"\r\nContent-Length:"),
        *(b"\r\nTransfer-Encoding: chunked", b"\r\nTransfer-Encoding:", b"chunked", b"identity"),
        *(b"\r\nConnection: close", b"\r\nConnection: ", b"\r\nX: y", b"\r\n Folded", b"abc"),
        *(
            b"3\r\nabc\r\n0\r\n\r\n",
            b"0\r\n\r\n",
            b"\r\nExpect: 100-continue",
            b"%2e",
            b"../",
            b"#",
        ),
        b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    ]
)
LENGTH = b"POST /v1/x HTTP/1.1\r\nHost: a\r\nX: y\r\nContent-Length: 3\r\n\r\nabc"
CHUNKS = (
    b"POST /v1/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3;x=y\r\nabc\r\n0\r\nT: u\r\n\r\n"
)
BARE = b"GET /v1/x?a=b HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, x\r\nX: y\r\n\r\n"
DATA = (
    st.lists(PIECES, max_size=24).map(b"".join)
    | st.lists(st.sampled_from([LENGTH, CHUNKS, BARE]), min_size=1, max_size=3).map(b"".join)
    | broken(LENGTH + BARE)
    | broken(CHUNKS + LENGTH)
    | broken(BARE + CHUNKS)
)


def same(ours: list[Told], theirs: list[Told]) -> None:
    """Hold others to what we read: as many requests, and of each the same."""
    assert len(theirs) >= len(ours)
    for one, other in zip(ours, theirs, strict=False):
        assert (one.body, one.whole) == (other.body, other.whole)
        if other.target.startswith(b"/"):  # else it is an address, which we read as its path
            assert one.target == other.target
        left = iter(other.headers)
        assert all(any(field == each for each in left) for field in one.headers)
    assert not any(other.whole for other in theirs[len(ours) :])


@budget(6000)
@given(DATA)
@example(LENGTH + CHUNKS + BARE)
@example(CHUNKS + CHUNKS)
def test_SEC_4_what_we_take_h11_reads_as_we_do(data: bytes) -> None:
    ours, left = by_us(data)
    if not left:
        same(ours, by_h11(data))


@budget(6000)
@given(DATA)
@example(LENGTH + CHUNKS + BARE)
def test_SEC_4_what_we_take_llhttp_reads_as_we_do(data: bytes) -> None:
    ours, left = by_us(data)
    if left:
        return
    with contextlib.suppress(httptools.HttpParserUpgrade):
        theirs = by_llhttp(data)
        # It drops what comes behind `Connection: close`, where we leave that to the relay.
        same(ours[: len(theirs)], theirs)


@budget(6000)
@given(DATA, st.integers(1, 7))
@example(LENGTH + CHUNKS + BARE, 1)
@example(b"POST / HTTP/1.1\nHost: a", 1)
def test_however_the_bytes_come_they_mean_the_same(data: bytes, step: int) -> None:
    assert by_us(data) == by_us(data, step)
    small = Rules(head=40, target=5, fields=2)
    assert by_us(data, 0, small) == by_us(data, step, small)


@budget(6000)
@given(DATA)
@example(LENGTH)
@example(BARE)
def test_SEC_4_what_we_write_is_read_as_what_we_read(data: bytes) -> None:
    events = Requests(Rules()).feed(data)
    if not events or not isinstance(events[0], Begun):
        return
    begun = events[0]
    written = emit(begun.head, Upstream("upstream", 8000, prefix=b"/p"), begun.framing)
    body = b"3\r\nabc\r\n0\r\n\r\n" if begun.framing < 0 else b"x" * min(begun.framing, 1000)
    for read in (by_h11, by_llhttp):
        (told,) = read(written + body)
        assert told.target == b"/p" + begun.head.target
        assert dict(told.headers)[b"host"] == b"upstream:8000"
        assert told.whole == (begun.framing <= 1000)
        assert told.body == (b"abc" if begun.framing < 0 else body)
    assert written.count(b"\r\n\r\n") == 1
    assert len(written.splitlines()) == written.count(b"\r\n")
