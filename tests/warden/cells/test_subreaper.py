"""The lower rung: what it stops, what gets away, and that it says so.

The programs are the same as on the first rung.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lowly import LowlyWarden
from offswitch.control.place import Place
from offswitch.warden.cells import rung, trial
from offswitch.warden.cells.descendants import Process, Tracker, marked, walk
from offswitch.warden.cells.rung import ESCAPES, Rung
from scale import runs
from stage import PYTHON, alive_as, until


@pytest.fixture
def lowly(request: pytest.FixtureRequest) -> Iterator[LowlyWarden]:
    warden = LowlyWarden(request.param)
    yield warden
    warden.close()


CAUGHT = (
    "ignore_signals",
    "stopped",
    "memfd",
    "respawner",
    "pdeathsig",
    "namespaces",
    "fork_bomb",
    "dead_leader",
)


@pytest.mark.parametrize("program", CAUGHT)
def test_without_root_a_stop_sweeps_to_a_fixed_point(program: str) -> None:
    for _run in range(max(1, runs(20) // 2)):
        lowly = LowlyWarden(program)
        try:
            assert lowly.first["rung"] == "subreaper"
            lowly.kill_all()
            before = lowly.acts
            assert lowly.ask("pids") == []
            assert set(alive_as(lowly.uid)) <= {lowly.process.pid}
            assert lowly.acts == before
        finally:
            lowly.close()


@pytest.mark.parametrize("lowly", ["ignore_signals"], indirect=True)
def test_without_root_a_freeze_stops_and_a_thaw_goes_on(lowly: LowlyWarden) -> None:
    assert lowly.ask("frozen") is False
    lowly.ask("freeze")
    until(lambda: lowly.ask("frozen"), "all of it is stopped")
    before = lowly.acts
    assert lowly.ask("populated") is True
    assert lowly.acts == before
    lowly.ask("thaw")
    until(lambda: lowly.acts > before, "it goes on")


@pytest.mark.parametrize("lowly", ["daemon"], indirect=True)
def test_SR_25_a_daemon_without_parent_session_and_mark_gets_away_and_that_is_said(
    lowly: LowlyWarden,
) -> None:
    """It has left before the first look: a named escape of this rung."""
    lowly.kill_all()
    before = lowly.acts
    until(lambda: lowly.acts > before, "it acts on after the stop")
    assert any(
        "leaves parent, session and environment behind" in each for each in ESCAPES[Rung.SUBREAPER]
    )


def test_SR_25_a_hopper_can_be_faster_than_any_walk_and_that_is_said() -> None:
    """It is caught now and then; it gets away often enough not to be called caught."""
    assert any(hopper_gets_away() for _attempt in range(25))
    assert any("hops from pid to pid" in each for each in ESCAPES[Rung.SUBREAPER])


def hopper_gets_away() -> bool:
    lowly = LowlyWarden("hopper")
    try:
        for _ in range(3):
            lowly.ask("kill")
        before = lowly.acts
        time.sleep(0.02)
        return lowly.acts > before
    finally:
        lowly.close()


@pytest.mark.parametrize("lowly", ["idle"], indirect=True)
def test_SR_25_the_wardens_own_user_may_signal_the_warden_and_that_is_said(
    lowly: LowlyWarden,
) -> None:
    child = os.fork()
    if child == 0:
        os.setresuid(lowly.uid, lowly.uid, lowly.uid)
        os.kill(lowly.process.pid, 9)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert lowly.process.wait() == -9
    assert any("may end or stop warden and keeper" in each for each in ESCAPES[Rung.SUBREAPER])


@pytest.mark.parametrize("lowly", ["idle"], indirect=True)
def test_SR_25_a_job_of_a_broker_gets_away_and_that_is_said(lowly: LowlyWarden) -> None:
    job = os.fork()
    if job == 0:
        os.chdir(lowly.folder)
        os.setsid()
        os.setresuid(lowly.uid, lowly.uid, lowly.uid)
        os.execve(PYTHON, [PYTHON, "-I", str(lowly.folder / "idle.py")], {})
    lowly.kill_all()
    before = lowly.acts
    until(lambda: lowly.acts > before, "the broker's job acts on")
    os.kill(job, 9)
    os.waitpid(job, 0)
    assert any("a job handed to a broker" in each for each in ESCAPES[Rung.SUBREAPER])


def test_SR_25_the_rung_is_named_with_what_is_missing(tmp_path: Path, monkeypatch: Any) -> None:  # noqa: ANN401
    place = Place(str(tmp_path / "home"), str(tmp_path / "run"))
    assert rung.standing(place) == rung.Standing(Rung.ROOT)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(rung, "why_no_namespace", lambda: "")
    lower = rung.standing(place)
    assert lower.rung is Rung.NAMESPACE
    assert "not root" in lower.missing[0]
    assert "given to user 1000" in lower.missing[1]
    assert lower.escapes == ESCAPES[Rung.NAMESPACE]
    monkeypatch.setattr(rung, "why_no_namespace", lambda: "none can be made")
    lowest = rung.standing(place)
    assert lowest.rung is Rung.SUBREAPER
    assert "user.max_user_namespaces" in lowest.climb


def test_SR_25_root_without_a_writable_tree_is_not_the_first_rung(
    tmp_path: Path,
    monkeypatch: Any,  # noqa: ANN401
) -> None:
    place = Place(str(tmp_path / "home"), str(tmp_path / "run"))

    def refuse(*_args: object, **_options: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(trial.os, "makedirs", refuse)
    lower = rung.standing(place)
    assert lower.rung is Rung.SUBREAPER
    assert "read-only" in lower.missing[0]


def test_a_walk_sees_itself_and_knows_what_stands() -> None:
    me = walk()[os.getpid()]
    assert (me.parent, me.stands, me.dead) == (os.getppid(), False, False)
    assert Process(1, "T", 0, 1, 1, 0).stands
    assert Process(1, "Z", 0, 1, 1, 0).dead


def test_a_tracker_never_names_the_warden_itself() -> None:
    """Not even if the leader's group were its own: a kill must never come home."""
    me = walk()[os.getpid()]
    tracker = Tracker(me.pid, me.start, "")
    assert os.getpid() not in [each.pid for each in tracker.members()]
    assert os.getppid() not in [each.pid for each in tracker.members()]


def test_a_pid_that_was_given_to_a_stranger_is_not_the_leader() -> None:
    child = subprocess.Popen(["sleep", "60"], start_new_session=True)
    start = walk()[child.pid].start
    assert [each.pid for each in Tracker(child.pid, start, "").members()] == [child.pid]
    assert Tracker(child.pid, start + 1, "").members() == []
    child.kill()
    child.wait()


def test_marks_are_read_by_a_child_that_may_hang() -> None:
    child = subprocess.Popen(["sleep", "60"], env={"OFFSWITCH_CELL": "abc123"})
    assert marked([child.pid, os.getpid(), 999_999_999], "abc123") == {child.pid}
    assert marked([child.pid], "other") == set()
    assert marked([child.pid], "") == set()
    child.kill()
    child.wait()
