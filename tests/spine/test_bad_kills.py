"""`kill -9` of each of our processes in a stop and in a reset, at any instant (bad days).

What was accepted is latched and in the ledger, whatever died; a reset is either done or it
is not; what lives again is seen to. The long run also kills the warden at each single system
call of a stop, by strace: there is no instant in which a stop is half given.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from installation import Installation, until
from offswitch.control.client import Conversation
from offswitch.errors import Busy, OffswitchError, Timeout, Unreachable
from scale import LONG, runs
from straced import Strace

OURS = ["warden", "keeper", "observer", "recorder", "sweeper"]


def kill(installation: Installation, process: str) -> None:
    """`kill -9` one of our processes; the warden is brought back at once."""
    if process == "warden":
        installation.kill_warden()
        installation.restart()
        return
    pid = until(lambda: installation.pids().get(process), f"the {process} is there")
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


class Ask(threading.Thread):
    """One message in a thread of its own; its answers, as far as any came."""

    def __init__(self, installation: Installation, message: dict[str, Any]) -> None:
        super().__init__()
        self._path = installation.place.warden_socket
        self._message = message
        self.answers: list[dict[str, Any]] = []
        self.error: OffswitchError | None = None
        self.sent = threading.Event()
        self.start()
        self.sent.wait()

    def run(self) -> None:
        try:
            with Conversation(self._path, 8.0) as conversation:
                conversation.send(self._message)
                self.sent.set()
                while (answer := conversation.receive()) is not None:
                    self.answers.append(answer)
                    if "exit" in answer:
                        break
        except OffswitchError as error:
            self.error = error
        finally:
            self.sent.set()


@pytest.fixture
def verified(installation: Installation) -> Iterator[Installation]:
    """At the end the ledger verifies, and every order that was acknowledged is in it."""
    yield installation
    verdict = installation.cli("ledger", "verify", "--json")
    assert verdict.returncode == 6, verdict.stdout + verdict.stderr


def in_ledger(installation: Installation, orders: set[str]) -> None:
    def missing() -> set[str]:
        entries = installation.entries()
        return orders - {str(entry.get("digest")) for entry in entries}

    until(lambda: not missing(), "every acknowledged order is in the ledger")


def stopped_and_latched(installation: Installation) -> None:
    until(lambda: installation.target("a")["state"] == "stopped", "seen to stand still")
    row = installation.target("a")
    assert (row["latched"], row["pids"]) == (True, 0)


def test_kill_9_of_each_of_our_processes_in_a_stop(
    verified: Installation, rng: random.Random
) -> None:
    installation, orders = verified, set()
    for process in OURS * runs(40):
        running(installation)
        press = Ask(installation, installation.stop_message("a"))
        time.sleep(rng.random() * 0.004)
        kill(installation, process)
        press.join()
        if press.answers:
            orders.add(press.answers[0]["order"])
            stopped_and_latched(installation)
        elif installation.target("a")["state"] == "running":
            assert isinstance(press.error, Unreachable | Timeout), "not even half a stop"
            assert installation.target("a")["pids"] == 1
            installation.stop("a")
        stopped_and_latched(installation)
        until(lambda: reset(installation), "reset in the end")
    in_ledger(installation, orders)


def reset(installation: Installation) -> bool:
    """Reset; false while what was just killed is not back."""
    try:
        if not installation.status()["latched"]:
            return True
        return installation.reset("/")["state"] == "done"
    except OffswitchError as error:
        if error.kind not in {"storage", "unconfirmed", "timeout", "unreachable"}:
            raise
        return False


def test_kill_9_of_each_of_our_processes_in_a_reset(
    verified: Installation, rng: random.Random
) -> None:
    installation, resets = verified, set()
    for process in OURS * runs(40):
        running(installation)
        installation.stop("a")
        message = {"op": "reset", "scope": "a", "reason": "x", "nonce": "n"}
        ask = Ask(installation, message)
        time.sleep(rng.random() * rng.choice([0.002, 0.05]))
        kill(installation, process)
        ask.join()
        row = installation.target("a")
        if ask.answers and ask.answers[0]["state"] == "done":
            resets.add(ask.answers[0]["reset"])
            assert row["latched"] is False, "a reset that was acknowledged is done"
        held = {"stopped", "stopping"}  # after a restart, until it was looked at
        assert row["state"] in (held if row["latched"] else {"idle", "exited"})
        assert row["pids"] == 0, "a reset starts nothing, not even half-way"
        assert bool(row["stops"]) is row["latched"]
        if row["latched"]:
            until(lambda: reset(installation), "reset in the end")
    in_ledger(installation, resets)


def test_a_stop_needs_none_of_the_helpers(installation: Installation) -> None:
    """All of them are stuck: the target is dead all the same, and nobody says confirmed."""
    pids = installation.pids()
    stuck = [pids[name] for name in ("keeper", "observer", "recorder", "sweeper")]
    running = installation.run("sleep", "1000", target="a")
    for pid in stuck:
        os.kill(pid, signal.SIGSTOP)
    try:
        assert installation.press("a")["accepted"] is True
        assert running.event("exited")["signal"] == 9
        row = installation.target("a")
        assert (row["latched"], row["confirmed"], row["state"]) == (True, False, "stopping")
    finally:
        for pid in stuck:
            os.kill(pid, signal.SIGCONT)
    until(lambda: installation.target("a")["confirmed"], "seen once somebody can look")


def test_a_helper_that_dies_is_replaced(installation: Installation) -> None:
    for process in OURS[1:]:
        before = installation.pids()[process]
        kill(installation, process)
        until(lambda p=process, b=before: installation.pids().get(p) not in {None, b}, process)
    installation.run("sleep", "1000", target="a")
    assert installation.stop("a")["confirmed"] is True
    told = {entry["process"] for entry in installation.entries() if entry["kind"] == "restart"}
    assert told >= set(OURS)


# --- at each system call --------------------------------------------------------------


def calls_of_a_stop(installation: Installation, folder: Path) -> list[tuple[str, int]]:
    """List the system calls of a stop: name, and which one of that name since strace began."""
    installation.run("sleep", "1000", target="a")
    strace = Strace(installation, "-o", str(folder / "trace"))
    installation.stop("a")
    strace.end()
    until(lambda: reset(installation), "reset")
    seen: Counter[str] = Counter()
    calls = []
    for line in (folder / "trace").read_text().splitlines():
        name = line.partition("(")[0]
        if name.isidentifier():
            seen[name] += 1
            if seen["accept4"]:
                calls.append((name, seen[name]))
    return calls


def test_a_stop_is_never_half_given_at_whichever_system_call_the_warden_dies(
    installation: Installation, tmp_path: Path, rng: random.Random
) -> None:
    calls = calls_of_a_stop(installation, tmp_path)
    died = 0
    for name, number in calls if LONG else rng.sample(calls[4:], 4):
        if not installation.target("a")["pids"]:
            until(lambda: reset(installation), "reset")
            running(installation)
        when = f"inject={name}:signal=KILL:when={number}"
        strace = Strace(installation, "-o", "/dev/null", "-e", f"trace={name}", "-e", when)
        press = Ask(installation, installation.stop_message("a"))
        press.join()
        strace.end()
        assert installation.warden is not None
        if press.error is not None:
            installation.warden.wait(10)
        if installation.warden.poll() is not None:
            died += 1
            installation.restart()
        row = installation.target("a")
        if press.answers:
            assert row["latched"], f"accepted, and lost at {name} {number}"
        if row["latched"]:
            stopped_and_latched(installation)
        else:
            assert row["pids"] == 1, f"killed and not latched at {name} {number}"
    assert died, "the warden was never killed in a stop"


def running(installation: Installation) -> None:
    """Run the target, as soon as a new keeper lets anything run."""

    def begun() -> bool:
        try:
            installation.run("sleep", "1000", target="a")
        except Busy:
            return False
        return True

    until(begun, "the keeper is back")
