"""What watch reads is kept by a process apart, and can be read while watch goes on."""

from __future__ import annotations

import math
import os
import subprocess
import time
from pathlib import Path

import pytest

from offswitch.clock import SystemClock
from offswitch.errors import NotFound
from offswitch.watch.nursery import Child, launched
from offswitch.watch.onlookers import Batch
from offswitch.watch.readings.folder import folder_for
from offswitch.watch.readings.link import ReadingsLink
from offswitch.watch.readings.reader import kept
from offswitch.watch.sensors.contract import Signal

TARGET = "shop/agent"


def test_what_was_read_is_there_afterwards_with_its_details(tmp_path: Path) -> None:
    folder_for(str(tmp_path))
    clock = SystemClock()
    link = ReadingsLink(str(tmp_path / "readings"), 16 << 20, 10**12, clock, launched)
    now = clock.wall_us()
    for at in range(300):
        samples = [
            ("engine.load", float(at), {}),
            ("engine.calls", 1.0, {"tool": f"t{at}"}),
            ("engine.calls", 1.0, {"tool": "again"}),
            ("engine.odd", math.nan, {}),
        ]
        batch = Batch("engine", TARGET, Signal.METRICS, False, at, now + at, samples)
        link.take(batch)
        link.turn(clock.mono_us(), now)
    link.close()
    assert link._child is not None
    link._child.wait(20)
    found = dict(kept(str(tmp_path), None, 0, 2**62))
    assert found[TARGET, "engine.load"].values == [float(at) for at in range(300)]
    assert found[TARGET, "engine.load"].times_us[7] == now + 7
    tools = [found[TARGET, "engine.calls"].details[at]["tool"] for at in (0, 1, 2)]
    assert tools == ["t0", "again", "t1"]
    assert all(math.isnan(one) for one in found[TARGET, "engine.odd"].values)
    assert link.lost == 0


def test_without_a_store_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no readings"):
        list(kept(str(tmp_path), None, 0, 2**62))


def test_a_writer_that_hangs_costs_what_it_does_not_take_and_holds_nobody_up(
    tmp_path: Path,
) -> None:
    clock = SystemClock()
    held: list[int] = []

    def bear(fd: int, _needs: str) -> Child:
        held.append(os.dup(fd))
        return subprocess.Popen(["/bin/true"])

    link = ReadingsLink(str(tmp_path), 16 << 20, 10**12, clock, bear)
    begin = time.monotonic()
    samples = [(f"engine.{n}", 1.0, {}) for n in range(1000)]
    batch = Batch("engine", TARGET, Signal.METRICS, False, 0, 0, samples)
    for _ in range(2000):
        link.take(batch)
        link.turn(clock.mono_us(), 0)
    assert time.monotonic() - begin < 30
    assert link.lost > 0
    assert len(link._out) < 8 << 20
    os.close(held[0])
    link.close()
    assert link._child is not None
    link._child.wait(10)
