"""Presses while every core is taken: all of them are obeyed and proven, and what it took is told.

How long it takes is printed and not judged here: `benchmarks/` compares, tests decide.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Iterator

import pytest

from installation import PYTHON, Installation, until
from offswitch.control.client import Conversation
from offswitch.guard import Guard
from scale import runs

SPINNERS = 4
WRITER = """\
import os, time
fd = os.open('acts', os.O_CREAT | os.O_WRONLY)
while True: os.pwrite(fd, b'%020d' % time.monotonic_ns(), 0)
"""


@pytest.fixture
def saturated() -> Iterator[None]:
    """Take every core, as `stress -c 4` does."""
    spinners = [
        subprocess.Popen([PYTHON, "-I", "-S", "-c", "while True: pass"]) for _ in range(SPINNERS)
    ]
    try:
        yield
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.wait()


@pytest.mark.usefixtures("saturated")
def test_ACT_4_two_hundred_presses_on_saturated_cores_are_obeyed_and_proven(
    installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    """What acts writes the clock; its guard is asked by this process, which has to wait as well."""
    acts = installation.work / "acts"
    took: dict[str, list[float]] = {"guard refuses": [], "last act": [], "accepted": []}
    for number in range(runs(200)):
        name = f"busy/{number}"
        acts.unlink(missing_ok=True)
        installation.run(PYTHON, "-I", "-S", "-c", WRITER, target=name)
        until(lambda: acts.exists() and acts.read_bytes(), "it acts")
        guard = Guard.from_page(installation.place.page, installation.slot(name))
        assert guard.allowed()
        with Conversation(installation.place.warden_socket, 30.0) as conversation:
            pressed = time.monotonic_ns()
            conversation.send(installation.stop_message(name))
            while guard.allowed():
                assert time.monotonic_ns() - pressed < 20e9, "the guard never refused"
            refused = time.monotonic_ns()
            assert conversation.receive()
            accepted = time.monotonic_ns()
            final = conversation.receive()
        assert final is not None
        assert final["confirmed"] is True, final
        last = int(acts.read_bytes())
        assert last < accepted, "it acted after its stop was accepted"
        assert int(acts.read_bytes()) == last
        took["guard refuses"].append((refused - pressed) / 1e6)
        took["last act"].append(max(last - pressed, 0) / 1e6)
        took["accepted"].append((accepted - pressed) / 1e6)
    with capsys.disabled():
        print()
        for what, times in took.items():
            ordered = sorted(times)
            p99 = ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]
            middle = statistics.median(ordered)
            print(f"press → {what}: p50 {middle:.2f}, p99 {p99:.2f}, max {ordered[-1]:.2f} ms")
        cores = os.cpu_count()
        print(f"({len(ordered)} presses, {SPINNERS} spinners on {cores} cores)")
