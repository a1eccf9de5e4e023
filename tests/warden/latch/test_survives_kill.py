"""`kill -9` at any instruction: no stop that was noted is lost, no reset is invented (SR-16).

A child writes a known history and kills itself at the n-th bytecode that it executes in the
store, its thread included; the parent, as the next warden, reads what is left. The child
says on a pipe what was noted and what it saw durable *before* that instruction.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from latch_bench import Bench, bench, keep, reset, stop
from offswitch.model.order import Reset
from scale import LONG, runs

FILES = ("latch/store.py", "latch/disk.py", "latch/records.py")
BATCHES = [
    [stop("shop/a")],
    [stop("shop/b"), stop("tenant=acme")],
    [reset("shop/a", stop("shop/a"), when_us=1_700_000_000_000_001)],
    [stop("lab"), stop("shop/a", "again")],
    [reset("/", stop("shop/b"), stop("lab"), when_us=1_700_000_000_000_002)],
]


class Clockwork:
    """Counts the bytecodes that the store executes; at the chosen one the process is killed."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.count = 0

    def trace(self, frame: FrameType, event: str, _argument: object) -> Callable[..., Any] | None:
        if not frame.f_code.co_filename.endswith(FILES):
            return None
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        if event == "opcode":
            self.count += 1
            if self.count == self.at:
                os.kill(os.getpid(), signal.SIGKILL)
        return self.trace


def _history(place: Bench, told: int, at: int) -> int:
    """Write the history as a warden would, killed at one point; give how many points there are."""
    clockwork = Clockwork(at)
    threading.settrace(clockwork.trace)
    sys.settrace(clockwork.trace)
    store, _ = place.load()
    for number, batch in enumerate(BATCHES):
        for order in batch:
            store.note(order)
        os.write(told, b"noted %d\n" % number)
        keep(store, *batch)
        os.write(told, b"durable %d\n" % number)
    store.close()
    sys.settrace(None)
    threading.settrace(None)  # type: ignore[arg-type]
    return clockwork.count


def _lived(place: Bench, at: int) -> tuple[int, int, int]:
    """Fork one; give how many batches were noted and durable, and the points if it lived on."""
    here, there = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            count = _history(place, there, at)
            os.write(there, b"points %d\n" % count)
        finally:
            os._exit(0)
    os.close(there)
    with os.fdopen(here) as said:
        lines = [line.split() for line in said.read().splitlines()]
    os.waitpid(pid, 0)
    last = {"noted": -1, "durable": -1, "points": 0}
    last.update((word, int(number)) for word, number in lines)
    return last["noted"] + 1, last["durable"] + 1, last["points"]


def _after(batches: int) -> set[str]:
    live = {}
    for batch in BATCHES[:batches]:
        for order in batch:
            if isinstance(order, Reset):
                for name in order.clears:
                    live.pop(name, None)
            else:
                live[order.digest] = order.scope.text
    return set(live.values())


def _stops(batches: int) -> set[str]:
    """All stops that were ever given, less what durable resets may have cleared."""
    return {
        order.scope.text
        for batch in BATCHES[:batches]
        for order in batch
        if not isinstance(order, Reset)
    }


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path / "home") as made:
        yield made


@pytest.mark.parametrize("then", ["crash", "reboot"])
def test_SR_16_kill_at_any_instruction_loses_no_stop(
    place: Bench, rng: random.Random, then: str
) -> None:
    _, _, points = _lived(place, 0)
    assert points > 3000
    chosen = range(1, points + 1) if LONG and points < 20_000 else ()
    for at in chosen or sorted(rng.sample(range(1, points + 1), runs(1000))):
        for folder in (place.run, place.place.home):
            for name in os.listdir(folder):
                os.unlink(f"{folder}/{name}")
        noted, durable, _ = _lived(place, at)
        known = noted if then == "crash" else durable
        if then == "reboot":
            place.reboot()
        store, loaded = place.load()
        store.close()
        found = {live.stop.scope.text for live in loaded.latch}
        where = f"killed at {at} of {points}, noted {noted}, durable {durable}"
        assert loaded.damage is None or "/" in found, where
        if "/" in found:
            continue  # everything is latched: a needless stop, never a lost one
        later = min(len(BATCHES), known + 1)  # what was under way may have gone either way
        lost = (_after(known) & _after(later)) - found
        assert not lost, f"{where}: lost {lost}"
        assert found <= _stops(later), where


def test_SR_16_kill_at_any_instruction_seldom_latches_everything(
    place: Bench, rng: random.Random
) -> None:
    """Safe and useless would be to latch everything after every crash."""
    _, _, points = _lived(place, 0)
    everything = 0
    rounds = runs(400)
    for at in rng.sample(range(1, points + 1), rounds):
        for folder in (place.run, place.place.home):
            for name in os.listdir(folder):
                os.unlink(f"{folder}/{name}")
        _lived(place, at)
        everything += "/" in place.latched()
    assert everything <= max(1, rounds // 50)
