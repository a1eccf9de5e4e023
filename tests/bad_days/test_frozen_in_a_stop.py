"""The warden stands still at each of its steps of a stop, as a SIGSTOP makes it (SR-11).

The stop is pressed as people press it, over every road. It takes effect though the warden
never goes on; once it does, it knows what the keeper did, and its state is right.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
from collections import Counter
from pathlib import Path

from installation import Installation, until
from keeper_stage import gone
from offswitch.errors import OffswitchError
from scale import LONG
from straced import Strace

SLEEP = ("sleep", "100000")


def steps(installation: Installation, folder: Path) -> list[tuple[str, int]]:
    """List the system calls of a stop: name, and which one of that name since strace began."""
    installation.run(*SLEEP, target="a")
    strace = Strace(installation, "-o", str(folder / "trace"))
    assert installation.cli("stop", "a").returncode == 0
    strace.end()
    seen: Counter[str] = Counter()
    found = []
    for line in (folder / "trace").read_text().splitlines():
        name = line.partition("(")[0]
        if name.isidentifier():
            seen[name] += 1
            if seen["accept4"]:
                found.append((name, seen[name]))
    return found


def stands_still(pid: int) -> bool:
    state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return state in "Tt"


def reset(installation: Installation) -> bool:
    with contextlib.suppress(OffswitchError):
        return installation.reset("a")["exit"] == 0
    return not installation.target("a")["latched"]


def test_SR_11_a_stop_takes_effect_at_whichever_step_of_it_the_warden_stands_still(
    installation: Installation, tmp_path: Path, rng: random.Random
) -> None:
    one = installation
    bystander = one.run(*SLEEP, target="b").born["pid"]
    found = steps(one, tmp_path)
    assert one.warden is not None
    stopped = 0
    for name, number in found if LONG else rng.sample(found, 2):
        until(lambda: reset(one), "reset")
        born = one.run(*SLEEP, target="a").born["pid"]
        when = f"inject={name}:signal=STOP:when={number}"
        strace = Strace(one, "-o", "/dev/null", "-e", f"trace={name}", "-e", when)
        try:
            done = one.cli("stop", "a", "--json")
            until(
                lambda born=born: gone(born),
                f"stopped, though the warden stands at {name} {number}",
            )
            stopped += stands_still(one.warden.pid)
            assert done.returncode in {0, 4}, done.stderr
        finally:
            strace.end()
            os.kill(one.warden.pid, signal.SIGCONT)
        until(lambda: one.target("a")["confirmed"], f"right again after {name} {number}")
        row = one.target("a")
        assert (row["latched"], row["pids"], row["state"]) == (True, 0, "stopped")
        assert not gone(bystander)
        until(lambda: one.target("b")["state"] == "running", "who was not meant runs on")
    assert stopped or not LONG, "the warden never stood still in a stop"
    assert not os.listdir(one.place.spool)
    assert one.cli("ledger", "verify").returncode == 6
