"""`offswitch start`: a separate act, refused while latched, detached when it is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from installation import PYTHON, Installation, until
from scale import runs

OFFSWITCH = f"{os.path.dirname(sys.executable)}/offswitch"
ACTS = "import os, time\nfd = os.open('acts', os.O_WRONLY | os.O_CREAT | os.O_APPEND)\n"
ACTS += "print('began', flush=True)\nwhile True: os.write(fd, b'.'); time.sleep(0.005)"


def acts(installation: Installation) -> int:
    path = installation.work / "acts"
    return path.stat().st_size if path.exists() else 0


def test_a_target_is_started_again_detached_and_logged(installation: Installation) -> None:
    assert installation.cli("run", "--target", "once", "--", "sh", "-c", "echo $0", "word").stdout
    done = installation.cli("start", "once", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["target"] == "once"
    log = Path(installation.home, "logs", "once.log")
    until(lambda: log.read_bytes() == b"word\n", "its output is logged though nobody looks")
    until(lambda: installation.target("once")["state"] == "exited", "it has ended")


def test_the_json_of_start_is_as_promised(installation: Installation) -> None:
    words = ["run", "--target", "steady", "--", "sh", "-c", "[ -e on ] && exec sleep 600"]
    installation.cli(*words, cwd=installation.work)
    (installation.work / "on").touch()
    done = installation.cli("start", "steady", "--json")
    answer = json.loads(done.stdout)
    assert set(answer) == {"target", "state", "pids"}
    assert (answer["target"], answer["state"]) == ("steady", "running")
    assert answer["pids"] >= 1
    again = installation.cli("start", "steady", "--json")
    assert again.returncode == 1
    assert json.loads(again.stdout)["error"]["kind"] == "busy"
    installation.stop("steady")
    installation.reset("steady")


def test_what_was_never_run_cannot_be_started(installation: Installation) -> None:
    done = installation.cli("start", "shop/eu/nothing", "--json")
    error = json.loads(done.stdout)["error"]
    assert (done.returncode, error["kind"]) == (4, "not-found")
    assert "offswitch run --target shop/eu/nothing" in error["hint"]


def test_a_program_that_is_gone_is_our_failure_and_named(installation: Installation) -> None:
    script = installation.work / "fleeting.sh"
    script.write_text("#!/bin/sh\nexit 0\n")
    script.chmod(0o755)
    assert installation.cli("run", "--target", "gone", "--", "./fleeting.sh", cwd=installation.work)
    script.unlink()
    done = installation.cli("start", "gone")
    assert done.returncode == 1
    assert "fleeting.sh" in done.stderr


def test_RST_2_a_reset_starts_nothing_and_start_is_refused_until_then(
    installation: Installation,
) -> None:
    words = [OFFSWITCH, "run", "--target", "kept", "--", PYTHON, "-c", ACTS]
    with subprocess.Popen(
        words, env=installation.env, cwd=installation.work, stdin=subprocess.DEVNULL
    ) as run:
        until(lambda: acts(installation), "it acts")
        assert installation.stop("kept")["confirmed"] is True
        assert run.wait(20) == 137
    before = acts(installation)
    refused = installation.cli("start", "kept", "--json")
    assert refused.returncode == 3
    error = json.loads(refused.stdout)["error"]
    assert error["kind"] == "latched"
    assert "offswitch reset kept" in error["hint"]
    assert installation.reset("kept")["state"] == "done"
    assert installation.target("kept")["state"] == "idle"
    assert acts(installation) == before, "the reset started something"
    assert installation.cli("start", "kept").returncode == 0
    until(lambda: acts(installation) > before, "it acts again")
    installation.stop("kept")
    installation.reset("kept")


SUPERVISOR = """
import subprocess, sys, time
offswitch, seconds, *argv = sys.argv[1:]
words = ([offswitch, "run", "--target", "undead", "--", *argv], [offswitch, "start", "undead"])
tries, end, living = 0, time.monotonic() + float(seconds), []
while time.monotonic() < end:
    living = [one for one in living if one.poll() is None]
    if len(living) < 4:
        quiet = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
        living.append(subprocess.Popen(words[tries % 2], **quiet))
        tries += 1
    time.sleep(0.01)
print(tries, *[one.wait() for one in living])
"""
"""A toy supervisor that has learnt our commands: every 10 ms it wants its program back."""


def test_ACT_8_a_supervisor_cannot_bring_a_target_back_while_it_is_latched(
    installation: Installation,
) -> None:
    words = [OFFSWITCH, "run", "--target", "undead", "--", PYTHON, "-c", ACTS]
    begun = acts(installation)
    with subprocess.Popen(
        words,
        env=installation.env,
        cwd=installation.work,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ):
        until(lambda: acts(installation) > begun, "it acts")
        assert installation.stop("undead")["confirmed"] is True
    after = acts(installation)
    seconds = 0.05 * runs(600)
    supervisor = [sys.executable, "-c", SUPERVISOR, OFFSWITCH, str(seconds), PYTHON, "-c", ACTS]
    done = subprocess.run(
        supervisor,
        env=installation.env,
        cwd=installation.work,
        capture_output=True,
        text=True,
        check=True,
    )
    tries, *codes = (int(word) for word in done.stdout.split())
    assert tries >= 4
    assert set(codes) <= {3, 125}, "every try was refused as latched"
    time.sleep(0.05)
    assert acts(installation) == after, "something of it acted after the latch"
    assert installation.target("undead")["pids"] == 0
    assert installation.reset("undead")["state"] == "done"
