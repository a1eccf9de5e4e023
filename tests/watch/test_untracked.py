"""What appears beside a target is listed within two seconds, and is a finding (MON-3)."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from installation import until
from offswitch.clock import SystemClock
from offswitch.decide.votes import Channel
from offswitch.testing import SensorSuite
from offswitch.watch.beside import Beside
from offswitch.watch.channels import Source
from offswitch.watch.onlookers import Batch
from offswitch.watch.sensors.contract import CellFacts, SensorContext, Signal
from offswitch.watch.sensors.processes.outside import Outside
from offswitch.watch.sensors.processes.outsiders import MOST_TOLD, Outsider, heard, told
from offswitch.watch.sensors.processes.untracked import Untracked, UntrackedSection
from watch.conftest import Shop

ORPHAN = """\
import os, sys, time
if os.fork():
    os._exit(0)
os.setsid()
if os.fork():
    os._exit(0)
print(os.getpid(), flush=True)
time.sleep(1000)
"""
"""Forks twice, so that it is nobody's child."""

LEAVER = """\
import os, sys, time
print("ready", flush=True)
sys.stdin = os.fdopen(os.open("/proc/self/fd/0", os.O_RDONLY), "r")
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    with open(sys.argv[1] + "/cgroup.procs", "w") as file:
        file.write(str(os.getpid()))
    print(os.getpid(), flush=True)
    time.sleep(1000)
os.wait()
time.sleep(1000)
"""
"""Root in its cell, which is shown as escapable: its orphan moves out of the cgroup."""


class TestUntrackedSuite(SensorSuite):
    kind = "untracked"

    def keys(self, folder: str) -> Mapping[str, Any]:
        return {}

    def source(self, folder: str) -> CellFacts | None:
        return CellFacts(None, (os.getpid(),), None, "running")

    def stir(self, folder: str) -> None:
        time.sleep(0.01)


@pytest.fixture
def born() -> Iterator[list[int]]:
    """Pids to be ended after the test."""
    pids: list[int] = []
    yield pids
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def orphan(born: list[int], env: Mapping[str, str] | None = None, **more: Any) -> int:  # noqa: ANN401
    argv = [sys.executable if "user" not in more else "/usr/bin/python3", "-I", "-c", ORPHAN]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, env=env, cwd="/", **more) as child:
        assert child.stdout is not None
        pid = int(child.stdout.readline())
    born.append(pid)
    return pid


def listed(shop: Shop, pid: int) -> dict[str, Any] | None:
    said = shop.installation.status()
    rows: dict[int, dict[str, Any]] = {row["pid"]: row for row in said["untracked"]}
    return rows.get(pid)


def test_MON_3_a_double_forked_orphan_beside_a_target_is_listed_within_two_seconds(
    shop: Shop, born: list[int]
) -> None:
    """As a broker would run it: of the target's user, and nobody's child."""
    shop.start_watch()
    shop.installation.run("sleep", "1000", target="shop/agent")
    until(lambda: shop.seen("metrics"), "the target is watched")
    uid = next(
        row["uid"]
        for row in shop.installation.ask({"op": "cells"})["cells"]
        if row["target"] == "shop/agent"
    )
    begin = time.monotonic()
    pid = orphan(born, user=uid, group=uid, extra_groups=[])
    row = until(lambda: listed(shop, pid), "it is listed", 5)
    took = time.monotonic() - begin
    print(f"listed after {took:.2f} s")
    assert took < 2.0
    assert row["name"] == "python3"
    assert row["target"] == "shop/agent"
    assert abs(row["since"] / 1e6 - time.time()) < 10
    assert "not under the switch: python3" in shop.installation.cli("status").stdout
    told = shop.installation.ask({"op": "target", "name": "shop/agent"})["inventory"]
    assert [one["pid"] for one in told["untracked"]] == [pid]
    assert not any("watch does not report" in one for one in told["unknown"])
    [found] = until(
        lambda: [one for one in shop.entries("finding") if f"process {pid} " in one["what"]],
        "it is a finding",
    )
    assert (found["detector"], found["target"]) == ("untracked", "shop/agent")
    os.kill(pid, signal.SIGKILL)
    until(lambda: not listed(shop, pid), "what is gone is listed no longer", 5)


def test_MON_3_what_leaves_its_cell_is_found_by_what_it_was_born_with(
    shop: Shop, born: list[int]
) -> None:
    shop.start_watch()
    one = shop.installation
    tree = next(one.cgroups()).removesuffix("/" + one.place.cgroup)
    running = one.run(
        sys.executable, "-I", "-c", LEAVER, tree, target="shop/agent", user="root", cwd="/"
    )
    assert running.line() == "ready"
    pid = int(running.line())
    born.append(pid)
    row = until(lambda: listed(shop, pid), "it is listed", 5)
    assert row["target"] == "shop/agent"
    assert one.stop("shop/agent")["confirmed"] is True


class Ground:
    """Processes of this test's as the cells of made-up targets."""

    def __init__(self, folder: Path) -> None:
        self.cells: dict[str, CellFacts] = {}
        self.folder = folder

    def look(self, target: str = "a") -> dict[int, str]:
        """Search anew, and give the pids of the target with why."""
        return {one.pid: one.why for one in self.search.of(target)}

    @property
    def search(self) -> Outside:
        return Outside(self.cells, SystemClock())


def test_what_a_person_runs_as_the_same_user_is_not_the_targets(
    tmp_path: Path, born: list[int]
) -> None:
    ground = Ground(tmp_path)
    ours = os.getpid()
    ground.cells["a"] = CellFacts(None, (ours,), None, "running", None, os.getuid() or 1)
    assert os.getppid() not in ground.look()
    other = orphan(born)
    assert other not in ground.look()


def test_an_orphan_is_known_by_the_pipe_that_its_environment_names(
    tmp_path: Path, born: list[int]
) -> None:
    os.mkfifo(tmp_path / "pipe")
    inode = os.stat(tmp_path / "pipe").st_ino
    ground = Ground(tmp_path)
    (tmp_path / "cgroup.procs").write_text("")
    ground.cells["a"] = CellFacts(str(tmp_path), (), None, "running", str(tmp_path / "pipe"))
    pid = orphan(born, {"OFFSWITCH_REPORT": f"3:{inode}"})
    liar = orphan(born, {"OFFSWITCH_REPORT": f"3:{inode + 1}"})
    found = ground.look()
    assert found == {pid: "it was born in the cell"}
    assert liar not in found
    (tmp_path / "cgroup.procs").write_text(f"{pid}\n")
    assert ground.look() == {}, "what is in the cell is under the switch"


def test_what_left_a_cell_and_its_children_are_the_targets(tmp_path: Path) -> None:
    procs = tmp_path / "cgroup.procs"
    with subprocess.Popen(
        ["sh", "-c", "sleep 1000 & echo $!; wait"], stdout=subprocess.PIPE, text=True
    ) as shell:
        assert shell.stdout is not None
        child = int(shell.stdout.readline())
        try:
            procs.write_text(f"{shell.pid}\n")
            cells = {"a": CellFacts(str(tmp_path), (), None, "running")}
            search = Outside(cells, SystemClock())
            assert {one.pid: one.why for one in search.of("a")} == {
                child: "its parent is of the cell"
            }
            procs.write_text("")
            search._searched_us = None
            why = {one.pid: one.why for one in search.of("a")}
            assert why[shell.pid] == "it left the cell"
            assert child in why
        finally:
            os.kill(child, signal.SIGKILL)


def test_all_targets_of_an_eye_share_one_search(tmp_path: Path) -> None:
    cells = {name: CellFacts(None, (), None, "running") for name in "ab"}
    shared: dict[str, Any] = {}
    for name in "ab":
        section = UntrackedSection(name="untracked", target=name, kind="untracked")
        context = SensorContext(SystemClock(), cells, shared=shared)
        [sample] = Untracked(section, context).look().samples
        assert (sample.what, sample.value) == ("processes", 0.0)
    assert len(shared) == 1


# --- from the reading to status and the ledger -------------------------------------------


def batch(*outsiders: Outsider, **more: Any) -> Batch:  # noqa: ANN401
    usual = {"sensor": "untracked", "target": "a", "signal": Signal.METRICS, "hearsay": False}
    reading = ("untracked.processes", float(len(outsiders)), told(outsiders))
    given = {"mono_us": 1, "wall_us": 2, "samples": [reading], **usual, **more}
    return Batch(**given)


def test_names_are_escaped_and_lists_are_bounded() -> None:
    many = [Outsider(n, "\x1b[2J\n" * 9, 5, "why " * 99) for n in range(1000)]
    detail = told(many)
    assert len(detail) <= 16
    assert max(map(len, detail.values())) <= 1000, "an eye cuts what is longer"
    back = heard(detail)
    assert len(back) == MOST_TOLD
    assert back[0].name.startswith("\\x1b[2J")
    assert heard({"x": "[[1]]", "y": "nonsense", "z": '[["a", 1, 2, 3]]', "w": "[" * 5000}) == []


def test_one_process_is_one_finding_and_a_silent_sensor_takes_nothing_off_the_list() -> None:
    beside = Beside()
    one = Outsider(7, "sleep", 5_000_000, "it left the cell")
    section = UntrackedSection(name="untracked", target="a", kind="untracked")
    source = Source(section, Signal.METRICS, 0)
    sources = {source.key: source}
    source.hear(1, 1, problem="", absent=False, note="")
    beside.take(batch(one))
    beside.take(batch(Outsider(7, "sleep", 4_990_000, one.why)))
    beside.take(batch(one, sensor="mine"))
    [finding] = beside.turn(0, 0)
    assert (finding.detector, finding.target, finding.evidence["name"]) == (
        "untracked",
        "a",
        "sleep",
    )
    assert beside.turn(0, 0) == []
    source.age(60_000_000, 60_000_000)
    assert source.state is Channel.STALE
    [row] = beside.listed(sources)
    assert row == {"pid": 7, "name": "sleep", "since": 4_990_000, "target": "a"}
    source.hear(1, 1, problem="", absent=True, note="")
    assert beside.listed(sources) == []
    beside.take(batch(one))
    assert beside.turn(0, 0) == [], "the same process once more"
    assert beside.listed({}) == [], "its target is forgotten"
