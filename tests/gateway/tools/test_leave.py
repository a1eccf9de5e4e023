"""A worker asks watch's desk for leave: over a real socket, in one loop with a real desk."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from offswitch.clock import SystemClock
from offswitch.control.peer import Peer
from offswitch.gateway.tools.leave import DeskLeaves
from offswitch.gateway.tools.steward import AskedCall
from offswitch.watch.desk.door import Desk, listen
from offswitch.watch.desk.leaves import Leaves
from offswitch.watch.desk.visitors import Visitors

CALL = AskedCall("shop/a", "pay", {"amount": 7, "odd": "\ud800"}, "s")


class Record:
    """Records nothing."""

    def add(self, *_: object) -> None:
        return


class World:
    """A desk, a worker that asks, and a person."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        clock = SystemClock()
        self.visitors = Visitors(os.geteuid(), os.getegid())
        self.visitors.hear([], [])
        self.leaves = Leaves(clock, self.visitors, Record())  # type: ignore[arg-type]
        self.clock = clock
        self.desk: Desk | None = None
        self.asker = DeskLeaves(f"{folder}/watch")
        self.heard: list[str] = []

    def open(self) -> None:
        sock, gid = listen(str(self.folder))
        self.desk = Desk(sock, self.clock, os.geteuid(), gid)

    def serve(self, peer: Peer, message: dict[str, Any]) -> dict[str, Any]:
        work = {"ask-leave": self.leaves.ask, "leaves": self.leaves.told,
                "withdraw": self.leaves.withdraw}  # fmt: skip
        return work[message["op"]](peer, message)

    async def until(self, what: Callable[[], object]) -> None:
        for _ in range(2000):
            if self.desk is not None:
                self.desk.turn(self.serve)
            if what():
                return
            await asyncio.sleep(0.005)
        raise AssertionError("in vain")

    def answer(self, op: str) -> None:
        peer = Peer(os.getpid(), os.geteuid(), os.getegid(), ())
        for row in self.leaves.rows():
            digest = str(row["decision"])
            self.leaves.answer(peer, {"op": op}, digest, self.visitors.who(peer))

    def close(self) -> None:
        self.asker.close()
        if self.desk is not None:
            self.desk.close()


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("offswitch.gateway.tools.leave._EVERY_S", 0.01)


def play(folder: Path, story: Callable[[World], Any]) -> None:
    async def played() -> None:
        world = World(folder)
        try:
            await story(world)
        finally:
            world.close()

    asyncio.run(played())


@pytest.mark.parametrize(("op", "why_not"), [("approve", ""), ("deny", "a person")])
def test_DEC_3_a_person_answers_at_the_desk_and_the_worker_hears_it(
    tmp_path: Path, op: str, why_not: str
) -> None:
    async def story(world: World) -> None:
        world.open()
        world.asker.ask([CALL, CALL], world.heard.append)
        await world.until(lambda: len(world.leaves.rows()) == 2)
        assert world.leaves.rows()[0]["tool"] == "pay"
        assert world.heard == []
        world.answer(op)
        await world.until(lambda: world.heard)
        assert world.heard[0].startswith(why_not)
        assert bool(world.heard[0]) == bool(why_not)

    play(tmp_path, story)


def test_DEC_3_without_a_desk_silence_is_no(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.asker.ask([replace(CALL, within_s=0.2)], world.heard.append)
        await world.until(lambda: world.heard)
        assert "silence is no" in world.heard[0]

    play(tmp_path, story)


def test_DEC_3_a_watch_that_comes_back_and_remembers_nothing_denies(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.asker.ask([CALL], world.heard.append)
        world.open()
        await world.until(lambda: len(world.leaves.rows()) == 1)
        assert world.desk is not None
        world.desk.close()
        world.leaves = Leaves(world.clock, world.visitors, Record())  # type: ignore[arg-type]
        world.open()
        await world.until(lambda: world.heard)
        assert world.heard != [""]

    play(tmp_path, story)


def test_DEC_3_whoever_goes_away_takes_the_question_along(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.open()
        withdraw = world.asker.ask([CALL], world.heard.append)
        await world.until(lambda: len(world.leaves.rows()) == 1)
        withdraw()
        await world.until(lambda: not world.leaves.rows())
        assert world.heard == []

    play(tmp_path, story)
