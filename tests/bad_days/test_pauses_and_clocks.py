"""All of it pauses, the lid is closed, the clock jumps: guards refuse, cells wait, nothing dies.

The machine's own clock is everybody's, so it is not set here. A wall clock that jumps is a
library laid under every process of ours (clock_gettime for CLOCK_REALTIME, and nothing else);
a CLOCK_BOOTTIME that went on through a suspend is a time namespace's.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from installation import PYTHON, Installation, until
from keeper_stage import KeeperStage, gone, keeper_stage
from needs import needs_program, needs_root
from offswitch.errors import Latched
from scale import LONG
from wall_clock import WallClock

SLEEP = ("sleep", "100000")
DAY_S = 86_400
GUARDED = """\
import sys, time
from offswitch.guard import Guard
guard = Guard.from_env()
while True:
    print(guard.allowed(), flush=True)
    sys.stdin.readline()
"""


@contextmanager
def paused(pids: list[int], tree: str) -> Iterator[None]:
    """Stop processes, and freeze all cells with them, as a machine that is not scheduled."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    Path(tree, "cgroup.freeze").write_text("1")
    try:
        yield
    finally:
        Path(tree, "cgroup.freeze").write_text("0")
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def test_SR_22_a_pause_of_everything_kills_nothing_and_all_goes_on(
    installation: Installation,
) -> None:
    """Longer than the lease every day, longer than the keeper's limit in a long run."""
    one = installation
    script = "import time\nwhile True: print(time.monotonic(), flush=True); time.sleep(0.02)"
    running = one.run(PYTHON, "-c", script, target="a")
    one.run(*SLEEP, target="c")
    kept = one.stop("c")["order"]
    [tree] = [path for path in one.cgroups() if "unified" in path or path.count("/") == 4][:1]
    guard = subprocess.Popen(
        [sys.executable, "-I", "-c", GUARDED],
        env={"OFFSWITCH_PAGE": one.place.page, "OFFSWITCH_WORD": str(one.slot("a"))},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    one.children.append(guard)
    assert guard.stdout is not None
    assert guard.stdin is not None
    assert guard.stdout.readline() == "True\n"
    with paused(list(one.pids().values()), tree):
        time.sleep(11 if LONG else 3.2)
        guard.stdin.write("\n")
        guard.stdin.flush()
        assert guard.stdout.readline() == "False\n", "a guard that runs again first refuses"
    resumed = time.monotonic()
    until(lambda: float(running.line()) > resumed, "it goes on")
    assert one.target("a")["state"] == "running"
    assert {live["digest"] for live in one.status()["latched"]} == {kept}, "nobody stopped it"
    assert one.target("c")["pids"] == 0
    guard.stdin.write("\n")
    guard.stdin.flush()
    assert guard.stdout.readline() == "True\n"
    assert one.stop("a")["confirmed"] is True


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[KeeperStage]:
    needs_root()
    with keeper_stage(tmp_path) as one:
        yield one


def test_SR_22_what_the_keeper_slept_through_does_not_count_against_a_cell(
    stage: KeeperStage,
) -> None:
    """The warden was lost just before everything paused: on waking it gets its whole time."""
    cast = stage.cast(lease_s=0.2, kill_after_s=1.6)
    cell = stage.cell()
    stage.hand(cast, cell, "a")
    cast.signal(signal.SIGSTOP)
    until(cell.frozen, "the lease ran out")
    os.kill(cast.keeper, signal.SIGSTOP)
    time.sleep(2.0)
    os.kill(cast.keeper, signal.SIGCONT)
    time.sleep(0.4)
    assert cell.populated(), "not killed for a time in which nobody could have come back"
    cast.signal(signal.SIGCONT)
    cast("renew", 3600.0, 3.0)
    until(lambda: not cell.frozen(), "the warden is back")
    assert stage.left() == []


def test_SR_21_after_a_suspend_a_guard_refuses_before_anybody_acted(
    installation: Installation,
) -> None:
    """CLOCK_BOOTTIME went on by a day for this guard, CLOCK_MONOTONIC did not: as in a suspend."""
    one = installation
    one.run(*SLEEP, target="a")
    env = {"OFFSWITCH_PAGE": one.place.page, "OFFSWITCH_WORD": str(one.slot("a"))}
    script = (
        "import time\nfrom offswitch.guard import Guard\nguard = Guard.from_env()\n"
        "print(guard.allowed(), round(time.clock_gettime(time.CLOCK_BOOTTIME)"
        " - time.clock_gettime(time.CLOCK_MONOTONIC)))\n"
    )
    argv = [sys.executable, "-I", "-c", script]
    for slept in (0, DAY_S, -3000):
        shifted = [needs_program("unshare"), "--time", "--fork", f"--boottime={slept}", *argv]
        done = subprocess.run(shifted, env=env, capture_output=True, text=True, check=True)
        allowed, ahead = done.stdout.split()
        assert abs(int(ahead) - slept) < 100, "the clock did go on"
        assert allowed == str(slept == 0), f"{slept} s"


# --- the wall clock ---------------------------------------------------------------------


@pytest.mark.long
def test_ACT_5_a_wall_clock_that_jumps_by_a_day_keeps_no_stop_and_loses_none(
    tmp_path: Path,
) -> None:
    needs_root()
    clock = WallClock(tmp_path)
    one = Installation(tmp_path)
    one.program = [*clock.under, *one.program]
    try:
        one.start()
        one.run(*SLEEP, target="b")
        orders = set()
        for ahead in (DAY_S, -DAY_S, 0):
            born = one.run(*SLEEP, target="a").born["pid"]
            clock.jump(ahead)
            done = one.cli("stop", "a", "--json")
            assert done.returncode == 0, done.stdout
            assert gone(born)
            orders.add(one.status()["latched"][0]["digest"])
            shown = one.ask({"op": "target", "name": "a"})
            assert shown["latched"] is True
            with pytest.raises(Latched):
                one.run("true", target="a")
            one.kill_everything()
            one.restart()
            assert one.target("a")["latched"] is True
            until(lambda: one.target("a")["confirmed"], "seen")
            until(lambda: one.target("b")["state"] == "running", "nothing else is touched")
            until(lambda: one.status()["latched"][0]["durable"], "durable")
            assert one.reset("a")["state"] == "done"
        times = [entry["time_us"] for entry in one.entries()]
        assert max(times) - min(times) > 1.9 * DAY_S * 1e6, "the clock did jump, under all of ours"
        entered = {entry.get("digest") for entry in one.entries()}
        assert orders <= entered
        assert one.cli("ledger", "verify").returncode == 6
    finally:
        one.close()
