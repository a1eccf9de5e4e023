"""Questions to a clerk of the archive: late answers are dropped, and none goes to another's."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from offswitch.control import frames
from offswitch.errors import Timeout, Unreachable
from offswitch.station.archive.link import Archive


class Clerk:
    """Echoes what it is asked once it may."""

    def __init__(self) -> None:
        ours, self._link = socket.socketpair()
        self.archive = Archive(ours, 0)
        self.may = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def _work(self) -> None:
        while (got := frames.receive(self._link)) is not None:
            self.may.wait(10)
            self._link.sendall(frames.encode(got[0], frames.MAX_ANSWER))

    def close(self) -> None:
        self.may.set()
        self.archive.close()
        self._thread.join()
        self._link.close()


@pytest.fixture
def clerk() -> Iterator[Clerk]:
    one = Clerk()
    yield one
    one.close()


def run(work: Coroutine[Any, Any, None]) -> None:
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()


def test_a_late_answer_is_dropped_and_the_next_question_gets_its_own(clerk: Clerk) -> None:
    async def story() -> None:
        for number in range(20):
            with pytest.raises(Timeout):
                await clerk.archive.ask({"op": number}, 0.01)
        assert not clerk.archive.gone
        clerk.may.set()
        asked = [clerk.archive.ask({"op": f"new {number}"}, 10) for number in range(3)]
        assert await asyncio.gather(*asked) == [{"op": f"new {number}"} for number in range(3)]

    run(story())


def test_whoever_waits_for_another_question_has_patience_of_their_own(clerk: Clerk) -> None:
    async def story() -> None:
        long = asyncio.create_task(clerk.archive.ask({"op": "long"}, 10))
        await asyncio.sleep(0)
        with pytest.raises(Timeout):
            await clerk.archive.ask({"op": "short"}, 0.01)
        clerk.may.set()
        assert await long == {"op": "long"}

    run(story())


def test_a_clerk_that_is_gone_answers_nobody(clerk: Clerk) -> None:
    async def story() -> None:
        clerk.archive.close()
        for _ in range(2):
            with pytest.raises(Unreachable):
                await clerk.archive.ask({"op": "x"}, 1)

    run(story())
