"""Fuzzing what our own processes say to each other: each end outlives the other's garbage."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fuzz.mutations import JSON, JUNK, budget
from needs import needs_root
from offswitch.control import frames
from offswitch.errors import OffswitchError
from offswitch.warden.children import launch
from offswitch.warden.keeper.grip import grip_of
from offswitch.warden.sweeper import REQUEST, RESULT
from raw import frame

NOTHING = {"name": "c", "path": "/nonexistent", "cgroup_id": 1, "uid": 1, "own_uid": False}


def start(module: str, kind: int, log: str) -> tuple[socket.socket, int]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
    with theirs:
        pid = launch(module, ["--link", str(theirs.fileno())], [theirs.fileno()], log)
    ours.settimeout(20)
    return ours, pid


@pytest.fixture(scope="module")
def observer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[socket.socket]:
    log = tmp_path_factory.mktemp("observer") / "log"
    link, pid = start("offswitch.warden.observer", socket.SOCK_STREAM, str(log))
    yield link
    link.close()
    os.waitpid(pid, 0)


@pytest.fixture(scope="module")
def sweeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[socket.socket]:
    needs_root()
    log = tmp_path_factory.mktemp("sweeper") / "log"
    link, pid = start("offswitch.warden.sweeper", socket.SOCK_SEQPACKET, str(log))
    yield link
    link.close()
    os.waitpid(pid, 0)


SAID = st.fixed_dictionaries(
    {"op": st.sampled_from(["look", "watch", "unwatch"]) | JSON},
    optional={
        "id": JSON,
        "name": JSON,
        "cell": JSON | JSON.map(lambda value: {**NOTHING, "path": value}),
        "layers": JSON | st.just(["process", "network", "sweep"]),
        "level": JSON,
        "deadline_ms": JSON | st.just(0),
    },
)


@budget(2_000)
@given(message=SAID)
@example(
    message={
        "op": "look",
        "id": 1,
        "cell": "x",
        "layers": ["process"],
        "level": "kill",
        "deadline_ms": 1,
    }
)
@example(
    message={
        "op": "look",
        "id": 1,
        "cell": NOTHING,
        "layers": ["process"],
        "level": "kill",
        "deadline_ms": float("inf"),
    }
)
@example(message={"op": "watch", "cell": {**NOTHING, "cgroup_id": "x"}, "level": "kill"})
def test_VER_2_an_observer_answers_the_next_question_whatever_the_last_one_was(
    observer: socket.socket, message: dict[str, Any]
) -> None:
    observer.sendall(frame(message))
    asked = {
        "op": "look",
        "id": 77,
        "cell": NOTHING,
        "layers": ["process"],
        "level": "kill",
        "deadline_ms": 0,
    }
    frames.send(observer, asked)
    while True:
        answer = frames.receive(observer)
        assert answer is not None, "it is gone"
        if answer[0].get("id") == 77 and answer[0].get("layer") == "process":
            assert answer[0]["seen"] is False
            return


@budget(1_000)
@given(request=JUNK.filter(lambda data: 0 < len(data) <= 60))
@example(request=REQUEST.pack(1, 0, True))
@example(request=REQUEST.pack(1, 1_899_999_999, True))
@example(request=b"\xff" * REQUEST.size)
def test_SR_9_a_sweeper_refuses_what_it_must_and_lives_on(
    sweeper: socket.socket, request: bytes
) -> None:
    """The last example vouches for user 2^32-1, which nobody can be."""
    if len(request) == REQUEST.size:
        number, uid, exclusive = REQUEST.unpack(request)
        if exclusive and uid not in {0, 1_899_999_999, 2**32 - 1}:
            request = REQUEST.pack(number, uid, False)  # else a stranger would be swept
    sweeper.sendall(request)
    sweeper.sendall(REQUEST.pack(4242, 0, True))
    while True:
        number, uid, left, _rounds = RESULT.unpack(sweeper.recv(64))
        if number == 4242:
            assert (uid, left) == (0, -1), "uid 0 is never swept"
            return


@budget(2_000)
@given(
    message=st.fixed_dictionaries(
        {},
        optional={
            "keys": JSON | st.just(["kill", "freeze", "events"]),
            "target": JSON,
            "labels": JSON | st.just({}),
            "facts": JSON | st.just({"name": "c"}),
            "slot": JSON,
        },
    ),
    count=st.integers(0, 4),
)
@example(message={"keys": [], "facts": "x", "labels": {}, "target": "a", "slot": 1}, count=0)
@example(message={"keys": [[]], "facts": {}, "labels": {}, "target": "a", "slot": 1}, count=1)
def test_SR_22_a_cell_that_is_handed_over_garbled_is_an_error_and_leaves_no_descriptor(
    message: dict[str, Any], count: int
) -> None:
    before = len(os.listdir("/proc/self/fd"))
    fds = [os.open(os.devnull, os.O_RDWR) for _ in range(count)]
    with contextlib.suppress(ValueError):  # as it promises
        grip_of(message, fds).hands.close()
    assert len(os.listdir("/proc/self/fd")) == before


@budget(4_000)
@given(
    parts=st.lists(JUNK | JSON.map(lambda value: frame({"a": value})), max_size=5),
    cuts=st.lists(st.integers(0, 400), max_size=5),
)
def test_a_decoder_gives_messages_or_names_what_is_wrong_with_them(
    parts: list[bytes], cuts: list[int]
) -> None:
    stream, decoder, found = b"".join(parts), frames.Decoder(), []
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    with contextlib.suppress(OffswitchError):
        for begin, end in pairwise(places):
            found += decoder.feed(stream[begin:end])
    whole, at = frames.Decoder(), []
    with contextlib.suppress(OffswitchError):
        at = whole.feed(stream)
    assert [str(each) for each in found] == [str(each) for each in at], "however it is cut"
