"""A private warden goes when nothing is left to do, and never while anything is latched."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gate_ground import Ground
from installation import until
from offswitch.control.client import Conversation
from offswitch.control.place import Place
from offswitch.model.latch import Latch
from offswitch.model.level import Level
from offswitch.model.order import Stop
from offswitch.model.scope import EVERYTHING
from offswitch.model.target import Target
from offswitch.warden import loop
from offswitch.warden.daemon import Warden
from offswitch.warden.table import Table, Tracked
from scripted import Scripted, scripted


class Simulated:
    """A warden's loop, latch and table, real ones, under a clock that a test moves."""

    def __init__(self, place: Place, patch: pytest.MonkeyPatch) -> None:
        self.now_s = 0.0
        patch.setattr(loop, "time", SimpleNamespace(monotonic_ns=lambda: int(self.now_s * 1e9)))
        self.warden = Warden(place, private=True)
        self.row = Tracked(Target("a"))
        table = Table(place, 0)
        table.put(self.row)
        core: Any = SimpleNamespace(latch=Latch(), table=table)
        self.warden._core = self.core = core
        self.warden._loop._running = True

    def at(self, now_s: float) -> bool:
        """Let the clock come to `now_s`; tell whether the warden still serves."""
        self.now_s = now_s
        self.warden._loop.turn(0)
        return self.warden._loop._running

    def idle(self) -> None:
        """What starter and resetter call when something ended."""
        self.warden._maybe_end()


@pytest.fixture
def simulated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Simulated:
    return Simulated(Place(str(tmp_path / "home"), str(tmp_path / "run")), monkeypatch)


def test_its_ten_seconds_count_from_its_last_cell(simulated: Simulated) -> None:
    """An older timer, of a cell before, ends nothing."""
    simulated.idle()
    simulated.at(3)
    simulated.row.cell = SimpleNamespace()  # type: ignore[assignment]
    simulated.at(7)
    simulated.row.cell = None
    simulated.idle()
    assert simulated.at(10.5), "ten seconds after the first, three after the last"
    assert simulated.at(16.9)
    assert not simulated.at(17.1)


def test_a_cell_that_is_there_when_the_time_is_up_keeps_it(simulated: Simulated) -> None:
    simulated.idle()
    simulated.row.cell = SimpleNamespace()  # type: ignore[assignment]
    assert simulated.at(60)
    simulated.row.cell = None
    simulated.idle()
    assert simulated.at(69.9)
    assert not simulated.at(70.1)


def test_while_anything_is_latched_it_stays(simulated: Simulated) -> None:
    simulated.idle()
    simulated.core.latch.add(Stop("0" * 32, EVERYTHING, Level.RESTRICT, "uid:0", "cli", "n", 1))
    simulated.idle()
    assert simulated.at(10_000)
    simulated.core.latch = Latch()
    simulated.idle()
    assert not simulated.at(10_010.1)


@pytest.fixture
def hasty(tmp_path: Path) -> Iterator[Scripted]:
    yield from scripted(tmp_path, "hasty_warden")


def latched(hasty: Scripted) -> Scripted:
    """Bring it up with a short patience, and with something latched, so that it waits for us."""
    hasty.words = ("60", "3")
    hasty.start()
    hasty.stop("nobody")
    hasty.kill_warden()
    hasty.words = ("0.2", "3")
    hasty.restart()
    return hasty


def gone(hasty: Scripted) -> bool:
    assert hasty.warden is not None
    return hasty.warden.poll() is not None


def test_a_real_one_stays_while_latched_and_goes_after_the_reset(hasty: Scripted) -> None:
    latched(hasty)
    time.sleep(0.5)
    assert not gone(hasty)
    assert hasty.reset("nobody")["state"] == "done"
    until(lambda: gone(hasty), "it ends by itself")


def test_a_gateway_keeps_it_and_its_end_lets_it_go(hasty: Scripted) -> None:
    latched(hasty)
    ground = Ground(hasty)
    try:
        gate = ground.gate("shop/eu")
        assert hasty.reset("nobody")["state"] == "done"
        time.sleep(0.5)
        assert not gone(hasty)
        gate.kill()
        until(lambda: gone(hasty), "it ends by itself")
    finally:
        ground.close()


def test_a_start_that_came_to_nothing_does_not_keep_it(hasty: Scripted) -> None:
    """Its cell was there when the last target ended, and is taken down when nobody wants it."""
    latched(hasty)
    last = hasty.run("sleep", "1000", target="last")
    assert hasty.reset("nobody")["state"] == "done"
    keeper = hasty.pids()["keeper"]
    os.kill(keeper, signal.SIGSTOP)
    run = {"op": "run", "target": "a", "argv": ["true"], "cwd": "/", "env": {}, "raw": True}
    null = os.open(os.devnull, os.O_RDWR)
    with Conversation(hasty.place.warden_socket) as asked:
        asked.send(run, (null, null, null))
        os.close(null)
        until(lambda: len(hasty.status()["targets"]) == 2, "its cell waits for the keeper")
        os.kill(last.born["pid"], signal.SIGKILL)
        last.event("exited")
    time.sleep(0.5)
    assert not gone(hasty), "a start is under way"
    os.kill(keeper, signal.SIGCONT)
    until(lambda: gone(hasty), "it ends by itself")
