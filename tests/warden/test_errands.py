"""Errands: what may hang is never waited for, and never piles up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from offswitch.errors import NotFound, OffswitchError
from offswitch.warden.errands import Errands, tried
from offswitch.warden.loop import Loop


class Desk:
    """A loop with its errands, of which the first hangs until it is let go."""

    def __init__(self) -> None:
        self.loop = Loop(_fail)
        self.errands = Errands(self.loop, "the clerk")
        self.began, self.let_go = threading.Event(), threading.Event()
        self.heard: list[object] = []

    def hang(self, late: Callable[[str], None] = lambda _value: None) -> None:
        self.errands.send(self._hanging, self.heard.append, late, patience_s=0.01)
        assert self.began.wait(5)

    def _hanging(self) -> str:
        self.began.set()
        self.let_go.wait(10)
        return "at last"

    def until(self, count: int) -> None:
        end = time.monotonic() + 5
        while len(self.heard) < count and time.monotonic() < end:
            self.loop.turn(0.01)
        assert len(self.heard) == count


def _fail(error: BaseException) -> None:
    raise error


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    yield made
    made.let_go.set()


def test_what_hangs_is_answered_in_time_and_what_comes_later_goes_elsewhere(desk: Desk) -> None:
    late: list[str] = []
    desk.hang(late.append)
    desk.until(1)
    assert isinstance(desk.heard[0], TimeoutError)
    assert desk.heard[0].strerror == "the clerk does not answer"
    desk.let_go.set()
    desk.errands.send(lambda: "next", desk.heard.append)
    desk.until(2)
    assert (desk.heard[1], late) == ("next", ["at last"])


def test_where_too_much_waits_the_answer_comes_at_once_and_nothing_is_kept(desk: Desk) -> None:
    desk.hang()
    done: list[int] = []
    for number in range(5000):
        desk.errands.send(lambda n=number: done.append(n), desk.heard.append, patience_s=60.0)
    turned_away = 5000 - 1024
    desk.until(1 + turned_away)
    assert all(isinstance(answer, TimeoutError) for answer in desk.heard)
    desk.let_go.set()
    desk.until(1 + 5000)
    assert done == list(range(1024))


def test_a_refusal_is_handed_on_as_it_is_and_a_defect_as_an_error(desk: Desk) -> None:
    def refuse() -> str:
        raise NotFound("nobody")

    def break_down() -> str:
        raise KeyError("x")

    desk.errands.send(tried(refuse), desk.heard.append)
    desk.errands.send(break_down, desk.heard.append)
    desk.until(2)
    refused, broken = desk.heard
    assert isinstance(refused, OffswitchError)
    assert refused.message == "nobody"
    assert isinstance(broken, OSError)
    assert "KeyError" in str(broken)
