"""JSON-RPC, read strictly: what one reader takes otherwise than another is not taken at all."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offswitch.gateway.exchange import Malformed
from offswitch.gateway.tools.events import Cutter
from offswitch.gateway.tools.jsonrpc import Answer, Notice, Request, key_of, parse

CALL = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x"}}'


def test_the_three_kinds_of_messages_are_told_apart_and_batches_read() -> None:
    said = [
        {"jsonrpc": "2.0", "id": "a", "method": "ping"},
        {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}},
        {"jsonrpc": "2.0", "id": 7, "result": {}},
        {"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": "m"}},
    ]
    parsed = parse(json.dumps(said).encode())
    assert parsed.batch
    assert [type(one) for one in parsed.messages] == [Request, Notice, Answer, Answer]
    assert not parse(CALL.encode()).batch
    assert key_of(1) != key_of("1")


@pytest.mark.parametrize(
    "said",
    [
        '{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}',
        '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","name":"b"}}',
        '{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call"}',
        '{"jsonrpc":"2.0","id":1,"method":"ping","\\u006dethod":"tools/call"}',
        '{"jsonrpc":"2.0","id":1,"method":"ping","param\\u017f":{"name":"x"}}',
        '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","NAME":"b"}}',
        '{"jsonrpc":"1.0","id":1,"method":"ping"}',
        '{"id":1,"method":"ping"}',
        '{"jsonrpc":"2.0","id":1,"method":7}',
        '{"jsonrpc":"2.0","id":true,"method":"ping"}',
        '{"jsonrpc":"2.0","id":1.5,"method":"ping"}',
        '{"jsonrpc":"2.0","id":null,"method":"ping"}',
        '{"jsonrpc":"2.0","id":{},"method":"ping"}',
        '{"jsonrpc":"2.0","id":9223372036854775808,"method":"ping"}',
        '{"jsonrpc":"2.0","id":1,"method":"ping","params":[1]}',
        '{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}',
        '{"jsonrpc":"2.0","id":1}',
        '{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":"m"}}',
        '{"jsonrpc":"2.0","result":{}}',
        '{"jsonrpc":"2.0","id":NaN,"method":"ping"}',
        '{"jsonrpc":"2.0","id":1,"method":"a\\u0000b"}',
        '{"jsonrpc":"2.0","id":"\\ud800","method":"ping"}',
        "[]",
        "[[]]",
        "[1]",
        "7",
        "",
        "{",
        CALL + CALL,
        "[" * 100_000,
        '{"a":' * 100_000,
        "9" * 10_000,
        "\ufeff" + CALL,
    ],
)
def test_SR_6_what_might_be_read_in_two_ways_is_refused(said: str) -> None:
    with pytest.raises(Malformed):
        parse(said.encode())


@pytest.mark.parametrize("said", [b"\xff\xfe" + CALL.encode("utf-16-le"), CALL.encode("utf-16"),
                                  b'{"jsonrpc":"2.0","id":"\xff","method":"ping"}'])  # fmt: skip
def test_bytes_that_are_no_utf_8_are_refused(said: bytes) -> None:
    with pytest.raises(Malformed):
        parse(said)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_whatever_comes_is_read_or_refused(said: bytes) -> None:
    try:
        parse(said)
    except Malformed:
        pass


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([b"data: {}", b": c", b"id: 1", b"event: message", b"data"]),
                  st.sampled_from([b"\n", b"\r\n", b"\r"]),
                  st.booleans()),
        max_size=12,
    ),
    st.lists(st.integers(1, 9), min_size=1, max_size=20),
)  # fmt: skip
def test_a_stream_of_events_is_the_same_bytes_however_it_is_cut(
    lines: list[tuple[bytes, bytes, bool]], sizes: list[int]
) -> None:
    whole = b"".join(line + end + (end if blank else b"") for line, end, blank in lines)
    cutter = Cutter(1 << 20)
    out, at, number = b"", 0, 0
    events = []
    while at < len(whole):
        size = sizes[number % len(sizes)]
        events += cutter.feed(whole[at : at + size])
        at, number = at + size, number + 1
    out = b"".join(one.raw for one in events) + cutter.rest()
    assert out == whole
    at_once = Cutter(1 << 20)
    told = [one.data for one in at_once.feed(whole)]
    assert [one.data for one in events] == told


def test_an_event_that_is_too_long_is_given_in_parts_and_the_next_is_read() -> None:
    cutter = Cutter(100)
    events = []
    for piece in (b"data: " + b"x" * 150, b"y" * 150, b"\n", b"\ndata: next\n\n"):
        events += cutter.feed(piece)
    assert [one.part for one in events] == [True, True, True, False]
    assert [one.whole for one in events] == [False, False, True, True]
    assert events[-1].data == b"next"
    assert b"".join(one.raw for one in events).endswith(b"y\n\ndata: next\n\n")
