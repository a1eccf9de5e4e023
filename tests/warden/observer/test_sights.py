"""Looks elsewhere: what one says that is nonsense is nothing seen, and ends no observer."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from offswitch.control import frames
from offswitch.warden.observer.looks import Seen
from offswitch.warden.observer.sights import HandLook, Sights


class Ground:
    """One look, played by the test."""

    def __init__(self) -> None:
        self.epoll = select.epoll()
        self.sights = Sights(self.epoll)
        self.other, ours = socket.socketpair()
        self.fd = ours.detach()
        self.sights.show(1, self.fd)
        self.look = HandLook([1], self.sights, every_s=0.001)

    def asked(self) -> dict[str, Any]:
        self.look.once()
        found = frames.receive(self.other)
        assert found is not None
        return found[0]

    def answer(self, said: bytes) -> Seen:
        self.other.sendall(said)
        assert self.sights.hear(self.fd)
        return self.look.once()

    def close(self) -> None:
        self.sights.hide(1)
        self.other.close()
        self.epoll.close()


@pytest.fixture
def ground() -> Iterator[Ground]:
    made = Ground()
    yield made
    made.close()


def test_VER_1_what_a_look_says_counts(ground: Ground) -> None:
    number = ground.asked()["id"]
    said = {"id": number, "stands": True, "detail": "gone" * 1000}
    seen = ground.answer(frames.encode(said))
    assert seen.stands is True
    assert len(seen.detail) == 1000


@pytest.mark.parametrize(
    "said",
    [
        frames.encode({}),
        frames.encode({"id": "one", "stands": True, "detail": ""}),
        frames.encode({"id": [], "stands": True, "detail": ""}),
        b"\0\0\0\2[]",
    ],
)
def test_VER_1_nonsense_is_nothing_seen_and_its_look_is_let_go(ground: Ground, said: bytes) -> None:
    ground.asked()
    assert ground.answer(said).stands is None
    assert ground.look.once().stands is None, "nobody is there any more"


@pytest.mark.parametrize("stands", [1, "yes", None, [True]])
def test_VER_1_only_a_plain_yes_is_one(ground: Ground, stands: object) -> None:
    number = ground.asked()["id"]
    assert (
        ground.answer(frames.encode({"id": number, "stands": stands, "detail": ""})).stands is None
    )


def test_VER_1_an_answer_to_another_question_is_none(ground: Ground) -> None:
    number = ground.asked()["id"]
    ground.other.sendall(frames.encode({"id": number - 1, "stands": True, "detail": "old"}))
    assert ground.sights.hear(ground.fd)
    assert ground.look.pending
    assert ground.look.once().stands is None
