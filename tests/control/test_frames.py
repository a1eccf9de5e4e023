"""Frames as hostile and broken peers send them: garbage ends the talk, and nothing before it."""

from __future__ import annotations

import array
import json
import os
import random
import socket
import struct
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offswitch.control import frames
from offswitch.control.frames import MAX_ANSWER, MAX_FRAME, Decoder, encode, receive, send
from offswitch.errors import Unreachable, Usage
from values import whole

messages = st.dictionaries(whole, whole | st.integers(-(2**70), 2**70) | st.none(), max_size=4)


def frame(body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + body


GARBAGE = [
    struct.pack(">I", MAX_FRAME + 1),
    b"\xff\xff\xff\xff",
    b"GET / HTTP/1.1\r\n\r\n",
    frame(b""),
    frame(b"nonsense"),
    frame(b"\xff\xfe"),
    frame(b"[1]"),
    frame(b'"stop"'),
    frame(b"null"),
    frame(b'{"op":"stop"'),
    frame(b'{"op":"stop"}}'),
    frame(b"[" * 100_000),
    frame(b'{"n":' + b"9" * 5000 + b"}"),
]


@given(st.lists(messages, max_size=5), st.integers(1, 40))
def test_messages_come_out_as_they_went_in_however_they_drip(
    sent: list[dict[str, object]], size: int
) -> None:
    data = b"".join(map(encode, sent))
    decoder = Decoder()
    got = []
    for at in range(0, len(data), size):
        got += decoder.feed(data[at : at + size])
    assert got == sent
    assert not decoder.broken


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda garbage: repr(garbage[:20]))
def test_garbage_is_an_error_once_and_for_good(garbage: bytes) -> None:
    decoder = Decoder()
    with pytest.raises(Usage):
        decoder.feed(garbage)
    for data in (b"", encode({"op": "stop"})):
        with pytest.raises(Usage):
            decoder.feed(data)


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda garbage: repr(garbage[:20]))
def test_what_was_whole_before_the_garbage_is_given(garbage: bytes) -> None:
    """A stop is a stop, whatever follows it in the same packet."""
    decoder = Decoder()
    assert decoder.feed(encode({"op": "stop"}) + garbage + encode({"op": "no"})) == [{"op": "stop"}]
    assert decoder.garbled
    with pytest.raises(Usage):
        decoder.feed(b"")


@given(st.binary(max_size=64), st.randoms(use_true_random=False))
def test_no_bytes_break_the_decoder(data: bytes, choose: random.Random) -> None:
    """It gives objects or raises `Usage`, at every length at which the stream is cut."""
    decoder = Decoder()
    cut = choose.randrange(len(data) + 1)
    try:
        for part in (data[:cut], data[cut:]):
            assert all(isinstance(message, dict) for message in decoder.feed(part))
    except Usage:
        assert decoder.garbled


def test_a_flipped_bit_never_makes_another_message_unnoticed_by_its_length(
    rng: random.Random,
) -> None:
    data = encode({"op": "stop", "scopes": ["shop/eu"], "nonce": "a" * 32})
    for _ in range(500):
        bad = bytearray(data)
        bad[rng.randrange(len(bad))] ^= 1 << rng.randrange(8)
        decoder = Decoder()
        try:
            got = decoder.feed(bytes(bad))
        except Usage:
            continue
        assert len(got) <= 1
        assert got or decoder.broken


def test_a_lone_surrogate_spoils_no_answer_that_repeats_it() -> None:
    body = rb'{"op":"stop","reason":"a \ud800 b","\udfff":["\ud83d\ude00"]}'
    (got,) = Decoder().feed(frame(body))
    assert got == {"op": "stop", "reason": "a ? b", "?": ["\U0001f600"]}
    assert Decoder().feed(encode(got)) == [got]


def test_a_cut_off_frame_shows() -> None:
    data = encode({"op": "stop"})
    for cut in range(1, len(data)):
        decoder = Decoder()
        assert decoder.feed(data[:cut]) == []
        assert decoder.broken


def test_the_longest_frame_passes_and_one_byte_more_does_not() -> None:
    room = MAX_FRAME - len('{"a":""}')
    longest = {"a": "x" * room}
    assert Decoder().feed(encode(longest)) == [longest]
    with pytest.raises(Usage, match="bytes"):
        encode({"a": "x" * (room + 1)})
    assert encode({"a": "x" * (room + 1)}, MAX_ANSWER)


@pytest.mark.parametrize("value", ["\ud800", b"bytes", {1}, object()])
def test_what_has_no_frame_is_refused_before_it_is_sent(value: object) -> None:
    with pytest.raises(Usage):
        encode({"value": value})
    circle: dict[str, object] = {}
    circle["circle"] = circle
    with pytest.raises(Usage):
        encode(circle)


# --- over a real socket ---------------------------------------------------------------


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.settimeout(5)
    theirs.settimeout(5)
    yield ours, theirs
    ours.close()
    theirs.close()


def open_fds() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def pass_on(sock: socket.socket, data: bytes, fds: list[int]) -> None:
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
    assert sock.sendmsg([data], rights) == len(data)


def test_a_message_and_its_descriptors_arrive(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    reader, writer = os.pipe()
    send(ours, {"op": "run"}, (writer, writer, writer))
    os.close(writer)
    got = receive(theirs)
    assert got is not None
    message, fds = got
    assert message == {"op": "run"}
    assert len(fds) == 3
    assert not any(os.get_inheritable(fd) for fd in fds), "no child may inherit them unasked"
    os.write(fds[2], b"here")
    for fd in fds:
        os.close(fd)
    assert os.read(reader, 10) == b"here"
    os.close(reader)


def test_an_answer_may_be_longer_than_a_question(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    ours.setblocking(False)
    answer = {"targets": ["x" * 1000] * 3000}
    data = memoryview(encode(answer, MAX_ANSWER))
    pid = os.fork()
    if pid == 0:
        ours.setblocking(True)
        ours.sendall(data)
        os._exit(0)
    got = receive(theirs)
    os.waitpid(pid, 0)
    assert got == (answer, [])


def test_a_clean_end_is_none_and_a_dirty_one_an_error(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    ours.sendall(encode({"a": 1}) + encode({"b": 2})[:-1])
    ours.shutdown(socket.SHUT_WR)
    assert receive(theirs) == ({"a": 1}, [])
    with pytest.raises(Unreachable):
        receive(theirs)
    theirs.shutdown(socket.SHUT_WR)
    assert receive(ours) is None


@pytest.mark.parametrize(
    "data",
    [
        b"\0\0",
        encode({"a": 1})[:-1],
        struct.pack(">I", MAX_ANSWER + 1),
        frame(b"nonsense"),
        frame(json.dumps([1]).encode()),
    ],
    ids=["short head", "short body", "oversized", "garbled", "no object"],
)
def test_descriptors_that_came_with_garbage_are_closed(
    pair: tuple[socket.socket, socket.socket], data: bytes
) -> None:
    ours, theirs = pair
    before = open_fds()
    pass_on(ours, data, [0] * 8)
    ours.shutdown(socket.SHUT_WR)
    with pytest.raises((Unreachable, Usage)):
        receive(theirs)
    assert open_fds() == before


def test_more_descriptors_than_expected_do_not_leak(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    before = open_fds()
    pass_on(ours, encode({"op": "x"}), [0] * 200)
    got = receive(theirs)
    assert got is not None
    assert len(got[1]) <= frames.MAX_FDS
    for fd in got[1]:
        os.close(fd)
    assert open_fds() == before
