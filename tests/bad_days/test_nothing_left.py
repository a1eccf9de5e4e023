"""Descriptors, processes or memory are used up: a stop needs none of them (ACT-5, SR-11)."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from installation import PYTHON, Installation, until
from keeper_stage import gone
from offswitch.control.client import Conversation
from offswitch.errors import Latched
from want import Box, without_descriptors

SLEEP = ("sleep", "100000")


def test_ACT_5_a_stop_without_a_descriptor_is_left_to_the_keeper_and_latched_by_the_warden(
    installation: Installation,
) -> None:
    one = installation
    born = one.run(*SLEEP, target="a").born["pid"]
    with without_descriptors(one.pids()["warden"]):
        with Conversation(one.place.keeper_socket, 10.0) as keeper:
            assert keeper.ask(one.stop_message("a"))["by"] == "keeper"
        until(lambda: gone(born), "killed by the keeper")
        time.sleep(0.2)
    until(lambda: one.target("a")["latched"], "what the keeper did is the warden's to latch")
    until(lambda: one.target("a")["confirmed"], "and seen")
    with pytest.raises(Latched):
        one.run("true", target="a")


def test_SR_11_a_name_in_the_spool_is_a_stop_where_no_descriptor_is_left(
    installation: Installation,
) -> None:
    """The folder cannot be opened for want of one; it is, as soon as there is one again."""
    one = installation
    born = one.run(*SLEEP, target="a").born["pid"]
    pids = one.pids()
    with without_descriptors(pids["warden"], pids["keeper"]):
        Path(one.place.spool, "a").touch()
        done = one.cli("stop", "b", "--json")
        assert done.returncode == 4, "nobody answers: everything is said not to be confirmed"
    until(lambda: gone(born), "obeyed")
    until(lambda: {live["scope"] for live in one.status()["latched"]} >= {"a", "b"}, "latched")


@contextmanager
def boxed(tmp_path: Path, controller: str) -> Iterator[tuple[Installation, Box]]:
    box = Box(controller, f"offswitch-test-{os.getpid()}")
    one = Installation(tmp_path)
    one.program = [*box.under, *one.program]
    try:
        yield one.start(), box
    finally:
        one.close()
        box.close()


def test_ACT_5_without_a_process_to_be_had_a_stop_is_the_same(tmp_path: Path) -> None:
    with boxed(tmp_path, "pids") as (one, box):
        born = one.run("sh", "-c", "sleep 1000 & exec sleep 1000", target="a").born["pid"]
        other = one.run(*SLEEP, target="b").born["pid"]
        pids = one.pids()
        until(lambda: box.read("pids.current") == box.read("pids.current"), "quiet")
        box.write("pids.max", box.read("pids.current").strip())
        answer = one.stop("a")
        assert answer["confirmed"] is True
        assert gone(born)
        # What died made room for others: take that away, too, and a helper that then dies.
        box.write("pids.max", 1)
        os.kill(pids["observer"], signal.SIGKILL)
        os.kill(pids["recorder"], signal.SIGKILL)
        assert one.press("b")["accepted"] is True
        until(lambda: gone(other), "stopped, though nobody can look")
        row = one.target("b")
        assert (row["latched"], row["confirmed"]) == (True, False)
        box.write("pids.max", "max")
        until(lambda: one.target("b")["confirmed"], "seen, once there is room for an observer")
        until(lambda: one.reset("/")["state"] == "done", "and the evidence is sealed")


HOG = "x = []\nwhile True: x.append(bytearray(1 << 20))"


def test_ACT_5_while_memory_runs_out_and_its_killer_is_at_work_a_stop_is_the_same(
    tmp_path: Path,
) -> None:
    """In a box of its own, never the machine's: what is killed for room is never one of ours."""
    with boxed(tmp_path, "memory") as (one, box):
        one.run(*SLEEP, target="b")
        pids = one.pids()
        del pids["recorder"]  # whose database may itself ask in vain: it ends, and the ring holds
        room = int(box.read("memory.usage_in_bytes")) + (24 << 20)
        box.write("memory.limit_in_bytes", room)
        again = f"while :; do {PYTHON} -I -S -c '{HOG}'; done"
        one.run("sh", "-c", again, target="a")

        def killed() -> int:
            found = 0
            for path in [box.path, *box.path.rglob("*/")]:
                lines = (path / "memory.oom_control").read_text().split()
                found += int(lines[lines.index("oom_kill") + 1])
            return found

        until(lambda: killed() >= 3, "it is at work", 60)
        assert one.cli("stop", "a", "--json").returncode in {0, 4}
        until(lambda: one.target("a")["confirmed"], "stopped, in the middle of it")
        assert one.pids().items() >= pids.items(), "none of ours was killed for room"
        assert one.stop("b")["confirmed"] is True
        assert one.reset("/")["state"] == "done"
