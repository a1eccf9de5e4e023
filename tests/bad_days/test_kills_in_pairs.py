"""`kill -9` of each of our processes, and of each pair of them, while something is asked.

Whatever dies, and whenever: what was latched stays latched, nothing that is latched lives,
nothing runs that was not asked for, a reset is done or it is not, the record verifies, and
who was not meant runs on. A warden that is dead is started again, as its service manager
would; everything else comes back by itself.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from installation import Installation, until
from offswitch.errors import OffswitchError
from scale import LONG, runs

OURS = ("warden", "keeper", "observer", "recorder", "sweeper", "watch", "cli")
VICTIMS = [*((one,) for one in OURS), *itertools.combinations(OURS, 2)]
EVERYDAY_S = 7.0
"""So long it goes on every day, at most; in a long run all of its runs are made."""
LATEST_S = 0.2
"""So long after an act began the first of the pair dies, at most."""
SLEEP = ("sleep", "100000")
WORDS = {
    "run": ["run", "--target", "a", "--", *SLEEP],
    "start": ["start", "a", "--json"],
    "stop": ["stop", "a", "--json"],
    "reset": ["reset", "a", "--reason", "a bad day", "--json"],
    "rest": ["status", "--json"],
    "upgrade": ["status", "--json"],
}
CONFIG = """\
[[target]]
name = "b"
[[sensor]]
name = "b-log"
target = "b"
kind = "logs"
[[rule]]
name = "loud"
target = "b"
harm = "noise"
time_to_harm = "1m"
false_stop_cost = "silence"
act = "auto"
detectors = [{ kind = "threshold", series = "b-log.lines", above = 1000000 }]
"""


class BadDay:
    """One installation with three targets: `a` is asked about, `b` is not, `c` is latched."""

    def __init__(self, installation: Installation, rng: random.Random) -> None:
        self.one = installation
        self.rng = rng
        self.watch: subprocess.Popen[bytes] | None = None
        self.run: subprocess.Popen[str] | None = None
        """A `run` that still relays `a`."""
        self.b = int(self.one.run(*SLEEP, target="b").born["pid"])
        self.one.run(*SLEEP, target="c")
        self.kept = str(self.one.stop("c")["order"])
        self.missing: list[str] = []
        self.asked_for = False
        """Whether `a` was asked to run, and nothing that ends it came of anything since."""
        config = Path(installation.home, "offswitch.toml")
        config.write_text(CONFIG)
        config.chmod(0o600)
        self.start_watch()

    def start_watch(self) -> None:
        if self.watch is not None and self.watch.poll() is None:
            return
        argv = [sys.executable, "-I", "-m", "offswitch.watch"]
        argv += ["--home", self.one.home, "--run", self.one.run_folder]
        with open(f"{self.one.home}/watch.log", "ab") as log:
            self.watch = subprocess.Popen(argv, stderr=log, start_new_session=True)

    def end(self) -> None:
        for process in (self.watch, self.run):
            if process is not None:
                process.kill()
                process.communicate()

    # --- one bad moment -----------------------------------------------------------------

    def act(self, act: str, victims: tuple[str, ...]) -> tuple[int | None, dict[str, Any]]:
        """Ask for something, kill `victims` meanwhile; give what was answered: None if it died."""
        pids = {name: pid for name, pid in self.one.pids().items() if pid}
        assert self.watch is not None
        asked = subprocess.Popen(
            [f"{os.path.dirname(sys.executable)}/offswitch", *WORDS[act]],
            env=self.one.env,
            cwd=self.one.work,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        pids.update(watch=self.watch.pid, cli=asked.pid)
        if act == "upgrade":
            with contextlib.suppress(ProcessLookupError, KeyError):
                os.kill(pids["warden"], signal.SIGHUP)
        time.sleep(self.rng.random() * LATEST_S)
        for name in victims:
            with contextlib.suppress(ProcessLookupError, KeyError):  # dead already, or not back yet
                os.kill(pids[name], signal.SIGKILL)
            time.sleep(self.rng.choice([0.0, self.rng.random() * 0.05]))
        self.revive()
        if act == "run" and asked.poll() is None:
            self.run = asked
            return None, {}
        out, err = asked.communicate(timeout=60)
        if asked.returncode < 0:
            return None, {}
        assert "Traceback" not in err, err
        return asked.returncode, json.loads(out) if out.startswith("{") else {}

    def revive(self) -> None:
        """Start what nobody of ours starts again, and wait until all is there."""
        try:
            until(self._whole, "every process of ours is there again", 60)
        except AssertionError as error:
            error.add_note(f"{self.missing} is missing; {self.one.said()}")
            raise
        self.start_watch()

    def _whole(self) -> bool:
        """Whether all is there; the command line may have been the first to start a warden."""
        assert self.one.warden is not None
        try:
            self.missing = [name for name, pid in self.one.pids().items() if not pid]
            return not self.missing
        except OffswitchError as error:
            self.missing = [f"an answer of the warden ({error})"]
            if self.one.warden.poll() is not None:
                self.one.launch()
            return False

    # --- what must be true ----------------------------------------------------------------

    def check(self, act: str, code: int | None, said: dict[str, Any], seed: str) -> None:
        """Hold what came of an act against what must be true whatever died."""
        row = self.row()
        live = {str(each["digest"]) for each in self.one.status()["latched"]}
        assert self.kept in live, f"{seed}: a latch was lost"
        if act in {"run", "start"}:
            self.asked_for = True
        if act == "stop" and code is not None:
            assert code in {0, 4}, f"{seed}: {code} {said}"
            until(lambda: self.row()["latched"], f"{seed}: pressed to its end, so it is latched")
        if act == "reset":
            if code == 0:
                assert said["state"] == "done", f"{seed}: {said}"
                assert not row["latched"], f"{seed}: {row}"
            elif code is not None and said["error"]["kind"] not in {"unreachable", "timeout"}:
                assert row["latched"], f"{seed}: refused, and cleared: {said}"
            assert bool(row["stops"]) is row["latched"]
            self.asked_for = False
        if self.row()["latched"]:
            self.asked_for = False
            until(self.still, f"{seed}: latched, and seen to stand still")
        until(lambda: self.living() <= self.allowed(), f"{seed}: only what may live lives")
        until(self.b_runs, f"{seed}: what nobody stopped runs on")

    def still(self) -> bool:
        """Whether `a` was seen to stand still; a reset whose asker died may be done by now."""
        row = self.row()
        return bool(row["confirmed"] or not row["latched"])

    def row(self) -> dict[str, Any]:
        return self.one.target("a")

    def allowed(self) -> set[int]:
        """Give the pids that may live in cells."""
        cells = {row["target"]: row for row in self.one.ask({"op": "cells"})["cells"]}
        mine = cells.get("a", {}).get("pids", []) if self.asked_for else []
        return {self.b, *mine}

    def living(self) -> set[int]:
        """List what lives in any cell, by a reading of our own."""
        found: set[int] = set()
        for tree in self.one.cgroups():
            for procs in Path(tree).glob("*/cgroup.procs"):
                with contextlib.suppress(OSError):
                    found.update(int(pid) for pid in procs.read_text().split())
        return found

    def b_runs(self) -> bool:
        """Whether the bystander is the very process that it was, and runs."""
        row = self.one.target("b")
        assert self.b in self.living(), f"b was killed: {row} {self.one.status()['latched']}"
        return row["state"] == "running" and not row["latched"]

    # --- from one act to the next -----------------------------------------------------------

    def surely(self, act: str) -> None:
        """Bring `a` to where the next act begins, with nobody being killed."""

        def done() -> bool:
            try:
                match act:
                    case "stop":
                        return bool(self.one.stop("a")["confirmed"])
                    case "reset":
                        return not self.row()["latched"] or self.one.reset("a")["exit"] == 0
                return bool(self.row()["pids"]) or self.one.cli("start", "a").returncode == 0
            except OffswitchError as error:
                if error.kind not in {"storage", "unconfirmed", "timeout", "busy"}:
                    raise
                return False

        until(done, f"{act} in the end")
        if act in {"stop", "reset"}:
            self.asked_for = False
            if self.run is not None:
                self.run.communicate(timeout=60)
                self.run = None
        else:
            self.asked_for = True


def test_RST_1_SR_22_kill_9_of_each_process_and_each_pair_at_any_moment_of_any_act(
    installation: Installation, rng: random.Random, capsys: pytest.CaptureFixture[str]
) -> None:
    installation.run("true", target="a").event("exited")
    day = BadDay(installation, rng)
    victims = itertools.cycle(rng.sample(VICTIMS, len(VICTIMS)))
    acts = itertools.cycle(
        ["start", "upgrade", "stop", "reset", "run", "rest", "stop", "upgrade", "reset"]
    )
    end = time.monotonic() + EVERYDAY_S
    made: Counter[str] = Counter()
    try:
        while made.total() < runs(1000) and (LONG or time.monotonic() < end):
            act, dying = next(acts), next(victims)
            seed = f"{act} and {'+'.join(dying)} (run {made.total()})"
            code, said = day.act(act, dying)
            day.check(act, code, said, seed)
            made[act] += 1
            if act in {"start", "run", "stop", "reset"}:
                day.surely(act)
    finally:
        day.end()
    verdict = installation.cli("ledger", "verify", "--json")
    assert verdict.returncode == 6, verdict.stdout + verdict.stderr
    assert not [e for e in installation.entries() if e["kind"] == "note" and e["what"] == "defect"]
    with capsys.disabled():
        print(f"\n{made.total()} runs: {dict(made)}")
