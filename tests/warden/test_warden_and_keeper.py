"""The warden and its keeper together: the loss of either, a lease, a hand-over (SR-21, SR-22)."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import offswitch
from installation import PYTHON, Installation, Running, until
from keeper_stage import gone, unified
from needs import needs_root
from offswitch.control.client import Conversation
from offswitch.control.page import RUN, PageReader
from offswitch.errors import Busy, Latched
from offswitch.guard import Guard
from offswitch.model.level import Level
from scale import runs
from scripted import Scripted, scripted

LEASE_S = 3.0


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    needs_root()
    one = Installation(tmp_path)
    try:
        yield one.start()
    finally:
        one.close()


def events(installation: Installation, running: Running) -> str:
    cgroup = f"{unified()}/{installation.place.cgroup}/{running.born['cell']}"
    return Path(cgroup, "cgroup.events").read_text()


def frozen(installation: Installation, running: Running) -> bool:
    return "frozen 1" in events(installation, running)


def alive(installation: Installation, running: Running) -> bool:
    return "populated 1" in events(installation, running)


def test_SR_22_a_killed_warden_freezes_and_its_successor_goes_on_where_it_was(
    installation: Installation,
) -> None:
    running = installation.run("sleep", "1000", target="shop/a")
    old = installation.pids()["keeper"]
    for _ in range(runs(40)):
        installation.kill_warden()
        until(lambda: frozen(installation, running), "frozen at once")
        installation.restart()
        until(lambda: not frozen(installation, running), "and thawed by its return")
    assert alive(installation, running)
    until(lambda: gone(old), "the new keeper has everything")
    row = installation.target("shop/a")
    assert (row["state"], row["latched"], row["pids"]) == ("running", False, 1)
    assert set(row["readiness"].values()) == {"ready"}, "and everything can be stopped as before"
    assert installation.stop("shop")["confirmed"] is True


def test_SR_22_a_stop_that_was_latched_before_stays_through_the_loss_of_the_warden(
    installation: Installation,
) -> None:
    running = installation.run("sleep", "1000", target="shop/a")
    installation.stop("shop", level="freeze")
    installation.kill_warden()
    installation.restart()
    time.sleep(0.2)
    assert frozen(installation, running), "a stop covers it: it is not the keeper's to thaw"
    assert installation.target("shop/a")["latched"] is True


def test_SR_22_warden_and_keeper_lost_at_once_and_what_ran_runs_on_when_they_are_back(
    installation: Installation,
) -> None:
    running = installation.run("sleep", "1000", target="shop/a")
    keeper = installation.pids()["keeper"]
    installation.kill_warden()
    until(lambda: frozen(installation, running), "frozen")
    os.kill(keeper, signal.SIGKILL)
    installation.restart()
    until(lambda: not frozen(installation, running), "nobody else is left to thaw it", 5)
    assert installation.target("shop/a")["state"] == "running"


def test_SR_22_a_keeper_that_dies_is_replaced_and_the_next_one_holds_the_cells(
    installation: Installation,
) -> None:
    running = installation.run("sleep", "1000", target="shop/a")
    old = installation.pids()["keeper"]
    os.kill(old, signal.SIGKILL)
    until(lambda: installation.pids()["keeper"] not in {0, None, old}, "replaced at once", 5)
    assert not frozen(installation, running)
    until(lambda: _runs(installation, "shop/b"), "and things start again")
    installation.kill_warden()
    until(lambda: frozen(installation, running), "the new keeper holds what was there before it")


def _runs(installation: Installation, name: str) -> bool:
    try:
        installation.run("sleep", "1000", target=name)
    except Busy:
        return False
    return True


def test_SR_22_nothing_starts_that_the_keeper_has_not_acknowledged(
    installation: Installation,
) -> None:
    keeper = installation.pids()["keeper"]
    witness = installation.work / "ran"
    os.kill(keeper, signal.SIGSTOP)
    try:
        with pytest.raises(Busy, match="keeper"):
            installation.run("touch", str(witness), target="shop/a")
    finally:
        os.kill(keeper, signal.SIGCONT)
    assert not witness.exists()
    until(lambda: _runs(installation, "shop/b"), "with its keeper back things start again")


def test_SR_21_only_the_loop_that_serves_orders_renews_the_lease(
    installation: Installation,
) -> None:
    running = installation.run("sleep", "1000", target="shop/a")
    assert installation.warden is not None
    page = PageReader(installation.place.page)
    until(lambda: page.lease_left_ns() > 0.8 * LEASE_S * 1e9, "renewed after every sixth")
    guard = Guard.from_page(installation.place.page, _slot(installation))
    assert guard.allowed()
    installation.warden.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    until(lambda: not guard.allowed(), "no loop, no lease")
    assert time.monotonic() - began <= LEASE_S
    until(lambda: frozen(installation, running), "and the keeper freezes", 1)
    installation.warden.send_signal(signal.SIGCONT)
    until(guard.allowed, "the loop serves again")
    until(lambda: not frozen(installation, running), "nobody had stopped it")
    page.close()


GUARDED = """
import sys, time
from offswitch.guard import Guard
guard = Guard.from_env()
print(guard.allowed(), flush=True)
last = now = 0
while guard.allowed():
    last, now = now, time.monotonic_ns()
    time.sleep(0.001)
print(last, flush=True)
"""


@pytest.fixture
def hasty(tmp_path: Path) -> Iterator[Scripted]:
    yield from scripted(tmp_path, "hasty_warden")


def test_ACT_6_a_guard_in_its_cell_stops_within_the_lease_of_a_killed_warden(
    hasty: Scripted,
) -> None:
    """`kill -9` of the real one, and of its keeper before that has acted: the lease is all."""
    lease_s = 0.6
    hasty.words = ("60", str(lease_s))
    hasty.start()
    shutil.copytree(Path(offswitch.__file__).parent, hasty.work / "offswitch")
    running = hasty.run(PYTHON, "-c", GUARDED, target="a")
    assert running.line() == "True"
    keeper = hasty.pids()["keeper"]
    os.kill(keeper, signal.SIGSTOP)
    hasty.kill_warden()
    killed_ns = time.monotonic_ns()
    os.kill(keeper, signal.SIGKILL)
    last_ns = int(running.line())
    assert not frozen(hasty, running), "nobody froze it: it stopped by itself"
    assert last_ns <= killed_ns + lease_s * 1e9


def _slot(installation: Installation) -> int:
    page = PageReader(installation.place.page)
    words = [slot for slot in range(64) if page.word(slot) == RUN]
    page.close()
    return words[0]


def test_SR_11_what_the_keeper_did_for_a_hung_warden_is_the_latchs_and_the_ledgers_afterwards(
    installation: Installation,
) -> None:
    running = installation.run("sleep", "1000", target="shop/a")
    assert installation.warden is not None
    installation.warden.send_signal(signal.SIGSTOP)
    try:
        with Conversation(installation.place.keeper_socket, 5.0) as keeper:
            answer = keeper.ask(installation.stop_message("shop"))
        assert answer["by"] == "keeper"
        until(lambda: not alive(installation, running), "dead, while the warden is frozen")
    finally:
        installation.warden.send_signal(signal.SIGCONT)
    until(lambda: installation.target("shop/a")["confirmed"], "the warden makes it its own")
    [live] = installation.status()["latched"]
    assert live["digest"] == answer["order"]
    assert _in_ledger(installation, answer["order"])
    home = Path(installation.home)
    until(lambda: not list(home.glob("keeper-orders*")), "it is durable, and kept twice no longer")


def _in_ledger(installation: Installation, digest: str) -> bool:
    return bool(
        until(
            lambda: [entry for entry in installation.entries() if entry.get("digest") == digest],
            f"{digest} is in the ledger",
        )
    )


def test_SR_11_a_stop_in_the_spool_of_a_dead_warden_is_obeyed_before_the_next_one_listens(
    installation: Installation,
) -> None:
    running = installation.run("sleep", "1000", target="shop/a")
    other = installation.run("sleep", "1000", target="other")
    keeper = installation.pids()["keeper"]
    installation.kill_warden()
    os.kill(keeper, signal.SIGKILL)
    subprocess.run(["touch", f"{installation.place.spool}/shop"], check=True)
    installation.restart()
    until(lambda: not alive(installation, running), "obeyed")
    assert installation.target("shop/a")["latched"] is True
    assert alive(installation, other)
    assert os.listdir(installation.place.spool) == []


def test_SR_11_one_press_by_the_command_line_is_one_order(installation: Installation) -> None:
    for number in range(runs(100)):
        done = installation.cli("stop", f"shop/{number}", "--json")
        assert done.returncode == 4
    time.sleep(0.2)
    counts = {live["scope"]: live["count"] for live in installation.status()["latched"]}
    assert set(counts.values()) == {1}, "socket, keeper and spool bring the same press"


def test_SR_16_a_damaged_latch_latches_everything_until_it_is_reset(
    installation: Installation,
) -> None:
    running = installation.run("sleep", "1000", target="shop/a")
    installation.stop("elsewhere")
    until(lambda: installation.status()["latched"][0]["durable"], "durable")
    installation.kill_warden()
    path = Path(installation.place.latch)
    text = bytearray(path.read_bytes())
    text[40] ^= 1
    path.write_bytes(text)
    installation.restart()
    until(lambda: not alive(installation, running), "everything is latched, at kill")
    said = installation.status()
    assert any(str(path) in note for note in said["notes"])
    assert {live["scope"] for live in said["latched"]} == {"/", "elsewhere"}
    with pytest.raises(Latched):
        installation.run("sleep", "1000", target="shop/b")
    until(lambda: installation.target("shop/a")["confirmed"], "it stands still")
    assert installation.reset("/")["state"] == "done"
    installation.kill_warden()
    installation.restart()
    assert installation.status()["latched"] == []
    assert _runs(installation, "shop/b")


@pytest.mark.long
def test_SR_22_ten_seconds_without_a_warden_are_a_kill_that_the_next_one_latches(
    installation: Installation,
) -> None:
    running = installation.run("sleep", "1000", target="shop/a")
    installation.kill_warden()
    until(lambda: not alive(installation, running), "killed after the limit", 15)
    installation.restart()
    [live] = installation.status()["latched"]
    assert (live["by"], live["scope"], live["level"]) == ("keeper", "shop/a", Level.KILL.label)
