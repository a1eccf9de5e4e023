"""Every escape of the list, through a real warden: 0 survivors, and nothing acts after the stop.

The programs lie in tests/sabotage. Each runs as a target with a user of its own, acts on a
witness file, and is stopped over the control socket; the survivors are counted by this
test's own reading of /proc, the acts by the file's size.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

import offswitch
from hostile import QUIET_S, hostile
from installation import PYTHON, Installation, until
from offswitch.errors import Busy
from readers import drained
from scale import runs
from stage import SABOTAGE, alive_as

PROGRAMS = (
    "ignore_signals",
    "daemon",
    "hopper",
    "fork_bomb",
    "stopped",
    "namespaces",
    "memfd",
    "respawner",
    "pdeathsig",
    "cgroup_writer",
)


@pytest.mark.parametrize("program", PROGRAMS)
def test_ACT_7_no_program_outlives_its_stop(installation: Installation, program: str) -> None:
    for _run in range(runs(20)):
        with hostile(installation, program) as target:
            if program == "cgroup_writer":
                assert target.told("GOT IN:") == "[]"
            if program == "namespaces":
                assert target.told("DEPTH:") == "3"
            target.stop()
            target.assert_dead()


def test_ACT_7_killing_the_leader_alone_leaves_survivors(installation: Installation) -> None:
    """The twin that fails: what other tools do leaves all of these acting."""
    for program in ("daemon", "fork_bomb", "hopper", "memfd", "pdeathsig"):
        with hostile(installation, program) as target:
            target.kill_leader()
            before = target.acts
            until(lambda: target.acts > before, f"{program} acts on")  # noqa: B023
            target.stop()
            target.assert_dead()


def test_ACT_7_a_program_that_wrecks_finds_nothing_of_ours(installation: Installation) -> None:
    """All that lies in our folders, and our cgroups; the code is looked at in SEC-3's probe."""
    ours = [installation.home, installation.run_folder, installation.place.memory]
    ours += list(installation.cgroups())
    for user in ("nobody", *[None] * runs(20)):
        with hostile(installation, "wrecker", *ours, user=user) as target:
            assert target.told("WRECKED:") == "[]"
            target.stop()
            if user is None:
                target.assert_dead()
    assert installation.answers()


def test_ACT_7_warden_and_keeper_cannot_be_signalled_traced_or_slowed(
    installation: Installation,
) -> None:
    before = installation.pids()
    pids = [str(pid) for pid in processes_of(installation)]
    assert len(pids) >= 5, "warden, keeper, observer, recorder, sweeper and its workers"
    for user in ("nobody", *[None] * runs(20)):
        with hostile(installation, "tracer", *pids, user=user) as target:
            assert target.told("DONE:") == "[]"
            target.stop()
    assert installation.pids() == before


def test_ACT_7_the_same_programs_wreck_and_trace_what_they_can_reach() -> None:
    """The twin that fails: what they report of ours as nothing, they can do."""
    nobody = 65534
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        os.chmod(folder, 0o755)
        reach = Path(folder, "reach")
        for path in (reach, reach / "below"):
            path.mkdir()
            os.chown(path, nobody, nobody)
        for name in ("acts", "reach/latch", "reach/below/page"):
            Path(folder, name).write_text("ours")
            os.chown(Path(folder, name), nobody, nobody)
        with subprocess.Popen(["sleep", "100"], user=nobody) as victim:
            for program, argument in (("tracer", victim.pid), ("wrecker", reach)):
                source = (SABOTAGE / f"{program}.py").read_text(encoding="utf-8")
                argv = [PYTHON, "-I", "-c", source, str(argument)]
                with subprocess.Popen(
                    argv, user=nobody, group=nobody, cwd=folder, stdout=subprocess.PIPE, text=True
                ) as hostile_one:
                    assert hostile_one.stdout is not None
                    said = hostile_one.stdout.readline()
                    hostile_one.kill()
                assert "unlink" in said or "signal 9" in said, said
            assert victim.wait(10) != 0
        assert not (reach / "latch").exists()
        assert not (reach / "below" / "page").exists()


def processes_of(installation: Installation) -> list[int]:
    """List the warden and all of its children that are ours, the sweeper's workers included."""
    assert installation.warden is not None
    found, todo = [], [installation.warden.pid]
    while todo:
        pid = todo.pop()
        with contextlib.suppress(OSError):  # a child that has ended meanwhile
            if b"offswitch." in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
            todo += [int(child) for child in children.split()]
    return found


@pytest.mark.parametrize("user", [None, "nobody"])
def test_SEC_3_nothing_of_the_controller_can_be_reached_from_inside(
    installation: Installation, user: str | None
) -> None:
    place = installation.place
    asked = {
        "folders": [installation.home, installation.run_folder, place.memory],
        "sockets": [place.warden_socket, place.keeper_socket, place.recorder_socket],
        "code": [os.path.dirname(offswitch.__file__), sys.prefix],
        "pids": processes_of(installation),
    }
    with hostile(installation, "probe", json.dumps(asked), user=user) as target:
        reached = json.loads(until(lambda: first_object(target.said()), "it reports"))
        public = reached.pop("read")
        listed = reached.pop("listed")
        assert reached == {"connected": [], "written": [], "processes": [], "keys": []}
        # What anybody may read: the page, the installation's name, the ledger's public key.
        names = {os.path.relpath(path, installation.home) for path in public} - {
            os.path.relpath(place.page, installation.home)
        }
        assert names <= {"installation", "pin/ledger.vkey", "pin/head"}, names
        if user is None:
            assert set(public) == {place.page}, "in a workspace nothing but the page"
        else:
            assert not any("control" in path or "stop" in path for path in listed)
        target.stop()


def first_object(text: str) -> str | None:
    return next((line for line in text.splitlines() if line.startswith("{")), None)


def test_VER_3_a_start_hidden_until_after_the_stop_is_stopped_within_a_second(
    installation: Installation,
) -> None:
    """A job that the target left with a broker comes when all is still: it is swept."""
    for _run in range(runs(20)):
        with hostile(installation, "idle") as target:
            target.stop()
            target.assert_dead()
            began = time.monotonic()
            pid = target.broker("idle")
            os.waitpid(pid, 0)
            assert time.monotonic() - began < 1
            target.assert_dead()
    kinds = {entry["kind"]: entry for entry in installation.entries()}
    assert "moved" in kinds, "and it is on record"


def test_ACT_7_what_a_broker_runs_for_a_target_is_the_target_though_its_cell_is_empty(
    installation: Installation,
) -> None:
    """The program ends; its job with a broker goes on. It is running, and a stop stops it."""
    for _run in range(runs(20)):
        with hostile(installation, "idle") as target:
            pid = target.broker("idle")
            until(lambda: pid in alive_as(target.uid), "the job runs as its user")  # noqa: B023
            target.kill_leader()
            target.running.event("exited")
            row = installation.target(target.name)
            assert (row["state"], row["pids"]) == ("running", 1)
            target.stop()
            os.waitpid(pid, 0)
            target.assert_dead()


def test_a_name_is_taken_as_long_as_a_brokers_job_of_it_lives(installation: Installation) -> None:
    with hostile(installation, "idle") as target:
        pid = target.broker("idle")
        until(lambda: pid in alive_as(target.uid), "the job runs as its user")
        target.kill_leader()
        target.running.event("exited")
        with pytest.raises(Busy):
            installation.run("true", target=target.name)
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        until(lambda: installation.target(target.name)["state"] == "exited", "it is over")
        installation.run("true", target=target.name).event("exited")


def test_SR_9_hostile_programs_that_fight_the_sweep_die_in_a_real_stop(
    installation: Installation,
) -> None:
    for _run in range(runs(20)):
        with hostile(installation, "idle", "hostile") as target:
            pids = [target.broker("anti_sweep", "2"), target.broker("anti_sweep", "2")]
            until(lambda: names_of(pids) == ["hostile"] * 2, "both fight")  # noqa: B023
            target.stop()
            for pid in pids:
                os.waitpid(pid, 0)
            target.assert_dead()


def names_of(pids: list[int]) -> list[str]:
    return [Path(f"/proc/{pid}/comm").read_text(encoding="ascii").strip() for pid in pids]


def test_SR_8_a_slow_reader_of_a_real_target_gets_no_more_data(installation: Installation) -> None:
    for _run in range(runs(20)):
        server = socket.socket()
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = str(server.getsockname()[1])
        with hostile(installation, "stream", "127.0.0.1", port) as target:
            reader, _address = server.accept()
            before = target.acts
            until(lambda: target.acts > before + 5, "its buffers are full")  # noqa: B023
            target.stop()
            received, how = drained(reader)
            assert received < 1 << 18, "what lay in the reader's own buffer, and no more"
            assert how == "reset"
            reader.close()
        server.close()


def test_nothing_that_the_cell_ran_comes_back_until_reset_and_start(
    installation: Installation,
) -> None:
    with hostile(installation, "respawner") as target:
        target.stop()
        refused = installation.cli("start", target.name)
        assert refused.returncode == 3, refused.stderr
        again = installation.cli(
            "run", "--target", target.name, "--", "touch", str(target.folder / "again")
        )
        assert again.returncode == 125, again.stderr
        assert not (target.folder / "again").exists()
        target.assert_dead()


def test_ACT_7_the_command_line_stops_it_too(installation: Installation, tmp_path: Path) -> None:
    """`offswitch run` around a hostile program, `offswitch stop` from another shell."""
    folder = tmp_path / "project"
    folder.mkdir()
    shutil.copy(SABOTAGE / "daemon.py", folder)
    (folder / "acts").touch()
    offswitch_program = f"{os.path.dirname(sys.executable)}/offswitch"
    argv = [offswitch_program, "run", "--target", "shell/daemon", "--", PYTHON, "-I", "daemon.py"]
    with subprocess.Popen(
        argv, cwd=folder, env=installation.env, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as relay:
        until(lambda: (folder / "acts").stat().st_size, "it acts")
        stopped = installation.cli("stop", "shell/daemon", "--json")
        assert stopped.returncode == 0, stopped.stderr
        assert json.loads(stopped.stdout)["confirmed"] is True
        before = (folder / "acts").stat().st_size
        relay.wait(10)
    time.sleep(QUIET_S)
    assert (folder / "acts").stat().st_size == before
