"""A warden that races stops against starts inside itself: `HOME RUN PAIRS SEED`.

The real starter, stopper, keeper, cells and programs, driven by the warden's own loop: in
each pair one stop and one start of the same target, either first, and the second any number
of the loop's turns later. At the end of a batch each of its targets must be latched and seen
to stand still, and nothing may live in any cell, by a reading of our own; then all is reset.
What came of it is written to `HOME/raced`.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from offswitch.clock import new_nonce
from offswitch.control.peer import Peer
from offswitch.control.place import Place
from offswitch.errors import Latched, OffswitchError
from offswitch.model.level import Level
from offswitch.model.order import Stop
from offswitch.model.scope import Scope
from offswitch.model.state import State
from offswitch.warden.cells import cell
from offswitch.warden.daemon import Warden
from offswitch.warden.door.request import Request
from offswitch.warden.loop import Loop

BATCH = 100
STOP_FIRST = 0.75
"""More often than not: a start that is refused at the door costs a hundredth of a birth."""
LATEST = 6
"""So many turns after its start a stop may come: its program has begun by then."""
PATIENCE_S = 30.0


class Nobody:
    """No one relays the target."""

    def stopped(self, order: str, level: str) -> None:
        pass

    def exited(self, code: int | None, signal: int | None, order: str | None) -> None:
        pass


class RacingLoop(Loop):
    race: Callable[[], None]

    def run(self) -> None:
        self.race()
        super().run()


class RacingWarden(Warden):
    def __init__(self, place: Place, pairs: int, rng: random.Random) -> None:
        super().__init__(place, private=False)
        self._loop = RacingLoop(self._defect)
        self._loop.race = self.race
        self._pairs = pairs
        self._rng = rng
        self.came: Counter[str] = Counter()

    def race(self) -> None:
        done = 0
        while done < self._pairs:
            names = [f"race/{number}" for number in range(min(BATCH, self._pairs - done))]
            self.came.update(self.pair(name)[0] for name in names)
            self.until(lambda: all(map(self.stopped, names)), "every target is seen stopped")  # noqa: B023
            self.nothing_lives()
            self.reset()
            done += len(names)
        path = Path(self._core.place.home, "raced")
        path.with_suffix(".new").write_text(json.dumps(self.came))
        path.with_suffix(".new").rename(path)

    def pair(self, name: str) -> list[str]:
        """Race one pair; what comes of its start stands in the list, now or later."""
        outcome: list[str] = []
        if self._rng.random() < STOP_FIRST:
            self.press(name)
            self.turn(self._rng.randrange(2))
            self.start(name, outcome, "refused at the door")
        else:
            self.start(name, outcome, "overtaken")
            self.turn(self._rng.randrange(LATEST))
            row = self._core.table.get(name)
            begun = row is not None and (row.leader is not None or bool(outcome))
            self.press(name)
            self.until(lambda: bool(outcome), "the start was answered")
            assert begun == (outcome == ["born and stopped"]), "a program began after its stop"
        return outcome

    def press(self, name: str) -> None:
        now = self._core.clock.wall_us()
        installation, nonce = self._core.installation, new_nonce()
        stop = Stop(installation, Scope(name), Level.KILL, "uid:0", "cli", nonce, now)
        self._stopper.press([stop])

    def start(self, name: str, outcome: list[str], refused: str) -> None:
        def failed(error: OffswitchError, _code: int) -> None:
            outcome.append(refused if isinstance(error, Latched) else f"failed: {error}")

        request = Request(
            name=name,
            argv=["/bin/sleep", "1000"],
            cwd="/",
            env={},
            user="root",
            tty=False,
            raw=True,
            detached=True,
            fds=[os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC) for _ in range(3)],
            peer=Peer(os.getpid(), 0, 0, (0,)),
            listener=Nobody(),
            born=lambda _answer, _log: outcome.append("born and stopped"),
            failed=failed,
            drop=lambda fds: [os.close(fd) for fd in fds] and None,
        )
        self._starter.run(request)

    # --- what must be true --------------------------------------------------------

    def turn(self, turns: int) -> None:
        for _ in range(turns):
            self._loop.turn(0.002)

    def until(self, what: Callable[[], bool], why: str) -> None:
        end = time.monotonic() + PATIENCE_S
        while not what():
            self._loop.turn(0.01)
            assert time.monotonic() < end, f"in vain: {why}"

    def stopped(self, name: str) -> bool:
        row = self._core.table.get(name)
        if row is None:  # refused before there was anything: nothing of it is there
            return True
        assert self._core.level(row) is Level.KILL, "not latched"
        return row.state is State.STOPPED and row.confirmed

    def nothing_lives(self) -> None:
        for procs in Path(cell.ground(self._core.place) or "").glob("*/cgroup.procs"):
            assert not procs.read_text(), f"something lives: {procs}"

    def reset(self) -> None:
        answers: list[dict[str, Any]] = []
        errors: list[OffswitchError] = []
        message = {"scope": "/", "reason": "the next batch", "nonce": new_nonce()}
        peer = Peer(os.getpid(), 0, 0, (0,))
        self._resetter.ask(message, peer, answers.append, errors.append)
        self.until(lambda: bool(answers or errors), "the reset is answered")
        assert not errors, errors
        assert not len(self._core.latch)


if __name__ == "__main__":
    home, run, pairs, seed = sys.argv[1:5]
    RacingWarden(Place(home, run), int(pairs), random.Random(seed)).serve()
