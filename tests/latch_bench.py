"""A latch store on folders of its own, for tests: home on a disk, run on tmpfs."""

from __future__ import annotations

import os
import select
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from offswitch.control.place import Place
from offswitch.model.level import Level
from offswitch.model.order import Reset, Stop
from offswitch.model.scope import parse_scope
from offswitch.warden.latch.store import LatchStore, Loaded

INSTALLATION = "a" * 32


def stop(scope: str, nonce: str = "", level: Level = Level.KILL) -> Stop:
    """Make a stop; equal arguments make equal stops."""
    return Stop(
        INSTALLATION, parse_scope(scope), level, "uid:0", "cli", nonce, 1_700_000_000_000_000
    )


def reset(scope: str, *stops: Stop, when_us: int | None = None) -> Reset:
    """Make a reset that names `stops`."""
    names = tuple(sorted(each.digest for each in stops))
    now = time.time_ns() // 1000 if when_us is None else when_us
    return Reset(INSTALLATION, parse_scope(scope), names, "uid:0", "cli", "", now, "a test")


class Bench:
    """One installation's two folders."""

    def __init__(self, home: Path) -> None:
        self.run = tempfile.mkdtemp(prefix="offswitch-test-", dir="/dev/shm")
        home.mkdir(parents=True, exist_ok=True)
        self.place = Place(str(home), self.run)

    def load(self) -> tuple[LatchStore, Loaded]:
        store = LatchStore(self.place)
        return store, store.load()

    def latched(self) -> set[str]:
        """What a warden that comes up now finds latched."""
        store, loaded = self.load()
        store.close()
        return {live.stop.scope.text for live in loaded.latch}

    def damage(self) -> str | None:
        store, loaded = self.load()
        store.close()
        if loaded.damage is not None:
            assert "/" in {live.stop.scope.text for live in loaded.latch}, "everything is latched"
        return loaded.damage

    def reboot(self) -> None:
        """Lose what lies on tmpfs."""
        for name in os.listdir(self.run):
            os.unlink(f"{self.run}/{name}")

    def close(self) -> None:
        shutil.rmtree(self.run)


def keep(store: LatchStore, *orders: Stop | Reset) -> None:
    """Note orders, and wait until they are durable."""
    for order in orders:
        store.note(order)
    store.sync()
    end = time.monotonic() + 20
    while not all(store.durable(order.digest) for order in orders):
        assert time.monotonic() < end, store.problem
        select.select([store.fileno()], [], [], 0.2)
        try:
            os.eventfd_read(store.fileno())
        except BlockingIOError:
            continue


@contextmanager
def bench(home: Path) -> Iterator[Bench]:
    """Put it up and take it down."""
    made = Bench(home)
    try:
        yield made
    finally:
        made.close()
