"""The link to a helper: nothing waits, nothing is cut in two, and garbage is an end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator

import pytest

from offswitch.control import frames
from offswitch.warden.helper_link import HelperLink
from offswitch.warden.loop import Loop

Later = list[Callable[[], None]]


@pytest.fixture
def ends() -> Iterator[tuple[HelperLink, socket.socket, Later]]:
    later: Later = []
    ours, theirs = socket.socketpair()
    link = HelperLink(ours, 0, lambda _seconds, action: later.append(action))
    yield link, theirs, later
    link.close()
    theirs.close()


def drained(theirs: socket.socket, decoder: frames.Decoder) -> list[int]:
    theirs.setblocking(False)
    found: list[int] = []
    try:
        while data := theirs.recv(1 << 16):
            found += [int(message["n"]) for message in decoder.feed(data)]
    except BlockingIOError:
        pass
    return found


def test_what_does_not_fit_is_sent_later_though_the_helper_says_nothing(
    ends: tuple[HelperLink, socket.socket, Later],
) -> None:
    link, theirs, later = ends
    decoder = frames.Decoder()
    for number in range(40):
        assert link.say({"n": number, "text": "x" * 16_000})
    assert len(later) == 1, "once, however much waits"
    found: list[int] = []
    while later:
        found += drained(theirs, decoder)
        later.pop()()
    assert found + drained(theirs, decoder) == list(range(40))


def test_a_message_with_a_descriptor_goes_at_once_and_whole_or_not_at_all(
    ends: tuple[HelperLink, socket.socket, Later],
) -> None:
    """What the kernel takes a part of is sent to its end: the stream stays whole."""
    link, theirs, later = ends
    decoder = frames.Decoder()
    null = os.open(os.devnull, os.O_RDONLY)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    assert link.say({"n": 0, "text": "x" * 900_000}, null), "a part of it is taken"
    assert later, "and the rest waits"
    assert not link.say({"n": 1}, null), "behind what waits no descriptor can go"
    assert link.say({"n": 2})
    found: list[int] = []
    while later:
        found += drained(theirs, decoder)
        later.pop()()
    assert found + drained(theirs, decoder) == [0, 2]
    os.close(null)


@pytest.mark.parametrize("garbage", [b"\xff" * 64, frames.encode({"a": 1})[:-1]])
def test_garbage_or_half_a_message_and_an_end_count_as_gone(
    ends: tuple[HelperLink, socket.socket, Later], garbage: bytes
) -> None:
    link, theirs, _later = ends
    theirs.sendall(garbage)
    theirs.shutdown(socket.SHUT_WR)
    assert link.messages() == []
    assert link.messages() == []
    assert not link.alive()
    assert not link.say({"n": 1})


@pytest.mark.parametrize("garbage", [b"\xff" * 64, frames.encode({"a": 1})[:-1], b""])
def test_a_helper_that_hangs_up_and_lives_is_ended_and_wakes_the_loop_no_more(
    garbage: bytes,
) -> None:
    """Else its end of file would be news at every turn of a loop that has real-time priority."""
    ours, theirs = socket.socketpair()
    helper = subprocess.Popen(["sleep", "1000"])
    loop = Loop(lambda error: pytest.fail(str(error)))
    link = HelperLink(ours, helper.pid)
    woken = []

    def heard(_events: int) -> None:
        woken.append(link.heard(loop))

    loop.watch(link.fileno(), heard)
    theirs.sendall(garbage)
    theirs.close()
    for _ in range(20):
        loop.turn(0.01)
    assert len(woken) <= 2
    assert helper.wait(20) == -signal.SIGKILL
    link.close()
