"""`offswitch stop`, as a person and a script meet it: over every road, honest about each."""

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
from hypothesis import given
from hypothesis import strategies as st

from cli.emergency import OFFSWITCH, Liar, answer, error, hanging, two_households
from installation import PYTHON, Installation, until
from offswitch.cli.quick_json import dumps, loads
from offswitch.cli.words import covers, read_scope
from offswitch.errors import Usage
from offswitch.model.scope import parse_scope
from offswitch.model.target import Target
from values import label_keys, label_values, names

SLEEP = ("sleep", "1000")
LAYER = {"layer", "commanded_ns", "effect_ns", "confirmed", "detail"}
SOURCE = Path(__file__).resolve().parents[2] / "src"


def dead(pid: int) -> bool:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
    return text.rpartition(")")[2].split()[0] in {"Z", "X"}


# --- what it says -----------------------------------------------------------------


def test_a_confirmed_stop_says_so_in_its_first_sentence(installation: Installation) -> None:
    born = installation.run(*SLEEP, target="say/a").born
    done = installation.cli("stop", "say/a")
    assert done.returncode == 0, done.stderr
    first, second, *_ = done.stdout.splitlines()
    assert first.startswith("STOPPED and confirmed: say/a, 1 target, last effect after ")
    assert second.strip().startswith("say/a  stopped, confirmed, ")
    assert "reset say/a --reason TEXT" in done.stdout
    assert dead(born["pid"])


def test_the_json_of_a_stop_is_as_promised_and_alone_on_stdout(installation: Installation) -> None:
    installation.run(*SLEEP, target="json/a")
    done = installation.cli("stop", "json", "--json", "--reason", "a test")
    said = answer(done)
    assert (done.returncode, done.stderr) == (0, "")
    assert said["scopes"] == ["json"]
    assert said["level"] == "kill"
    assert said["confirmed"] is True
    assert said["recorded"] in {"durable", "pending"}
    assert len(said["order"]) == 64
    [target] = said["targets"]
    assert target["target"] == "json/a"
    assert target["installation"] == installation.run_folder
    assert (target["state"], target["confirmed"]) == ("stopped", True)
    assert all(set(layer) == LAYER for layer in target["layers"])
    assert installation.target("json/a")["stops"] == [said["order"]]


def test_DEC_2_one_action_stops_and_nothing_is_asked(installation: Installation) -> None:
    """No reason, no confirmation: stdin is a terminal on which nobody ever types."""
    installation.run(*SLEEP, target="ask/a")
    master, slave = os.openpty()
    try:
        done = installation.cli("stop", "ask/a", stdin=slave, timeout=20)
    finally:
        os.close(slave)
        os.close(master)
    assert done.returncode == 0
    [live] = [one for one in installation.status()["latched"] if one["scope"] == "ask/a"]
    assert live["reason"] == ""


def test_several_scopes_are_one_stop_with_one_digest(installation: Installation) -> None:
    for name in ("many/a", "many/b", "many/c"):
        installation.run(*SLEEP, target=name)
    said = answer(installation.cli("stop", "many/a", "many/b", "--json"))
    assert {target["target"] for target in said["targets"]} == {"many/a", "many/b"}
    assert said["confirmed"] is True
    assert len(said["order"]) == 64
    assert len(said["orders"]) == 2
    assert said["order"] not in said["orders"]
    assert installation.target("many/c")["latched"] is False


def test_one_of_several_scopes_that_covers_nothing_leaves_all_unconfirmed(
    installation: Installation,
) -> None:
    installation.run(*SLEEP, target="half/a")
    done = installation.cli("stop", "half/a", "half/typo", "--json")
    said = answer(done)
    assert done.returncode == 4
    assert said["confirmed"] is False
    assert [target["confirmed"] for target in said["targets"]] == [True]
    assert any("half/typo" in note for note in said["notes"])


def test_SR_7_a_stop_that_covers_nothing_is_latched_and_names_the_nearest(
    installation: Installation,
) -> None:
    installation.run(*SLEEP, target="near/checkout")
    done = installation.cli("stop", "near/chekout")
    assert done.returncode == 4
    assert done.stdout.startswith("NOT CONFIRMED: near/chekout covers nothing")
    assert "near/checkout" in done.stdout
    assert any(one["scope"] == "near/chekout" for one in installation.status()["latched"])
    assert installation.target("near/checkout")["latched"] is False
    said = answer(installation.cli("stop", "near/chekout", "--json"))
    assert (said["confirmed"], said["targets"]) == (False, [])


def test_a_drain_returns_once_new_work_is_refused(installation: Installation) -> None:
    installation.run(*SLEEP, target="drain/a")
    done = installation.cli("stop", "drain/a", "--level", "drain", "--json")
    said = answer(done)
    assert done.returncode == 4, "what only a guard obeys is not seen by anybody"
    assert [target["state"] for target in said["targets"]] == ["draining"]
    assert installation.target("drain/a")["pids"] == 1
    assert "DRAIN" in installation.cli("stop", "drain/a", "--level=drain").stdout.splitlines()[0]


def test_a_drain_with_wait_returns_when_its_kill_is_confirmed(installation: Installation) -> None:
    limits = [{"name": "wait/a", "limits_s": {"drain": 1}}]
    installation.ask({"op": "declare", "targets": limits})
    installation.run(*SLEEP, target="wait/a")
    done = installation.cli("stop", "wait/a", "--level", "drain", "--wait", "--json")
    assert done.returncode == 0
    assert answer(done)["targets"][0]["state"] == "stopped"


def test_a_freeze_says_frozen(installation: Installation) -> None:
    installation.run(*SLEEP, target="freeze/a")
    done = installation.cli("stop", "freeze/a", "--level", "freeze")
    assert done.returncode == 0
    assert done.stdout.startswith("FROZEN and confirmed: freeze/a")
    assert installation.reset("freeze/a")["state"] == "done"


def test_a_poweroff_names_every_other_target_first(installation: Installation) -> None:
    installation.run(*SLEEP, target="power/a")
    installation.run(*SLEEP, target="other/b")
    done = installation.cli("stop", "power/a", "--level", "poweroff")
    assert "poweroff also ends, on this machine: " in done.stderr
    assert "other/b" in done.stderr
    assert "power/a" not in done.stderr
    assert installation.target("power/a")["level"] == "poweroff"
    until(lambda: os.listdir(installation.place.spool) == [], "its name in the spool is taken away")
    [stop] = [one for one in installation.status()["latched"] if one["scope"] == "power/a"]
    assert stop["level"] == "poweroff", "the name in the spool was the same press"
    assert installation.target("other/b")["latched"] is False


def test_a_stop_of_very_many_folds_the_confirmed_and_shows_the_others(tmp_path: Path) -> None:
    rows = [
        {"target": f"fleet/{n}", "state": "stopped", "confirmed": n != 77, "layers": []}
        for n in range(100)
    ]
    final = {"order": "ab" * 32, "confirmed": False, "recorded": "durable", "targets": rows}
    liar = Liar(tmp_path / "run", {"accepted": True}, final)
    try:
        lines = liar.cli("stop", "fleet").stdout.splitlines()
        assert lines[0].startswith("NOT CONFIRMED: fleet is commanded (kill), but 1 of 100 ")
        assert "fleet/77" in lines[1]
        assert any("and 87 more, confirmed" in line for line in lines)
        assert len(lines) < 24, "it fits on a screen"
        assert all(len(line) <= 80 for line in lines[1:])
    finally:
        liar.close()


# --- without a scope, and wrongly -------------------------------------------------


def test_without_a_scope_nothing_changes_and_commands_are_ready(fresh: Installation) -> None:
    fresh.run(*SLEEP, target="a/fine")
    fresh.run(*SLEEP, target="z/frozen")
    fresh.stop("z/frozen", level="freeze")
    until(lambda: fresh.status()["latched"][0]["durable"], "nothing is left to change")
    before = fresh.status()["latched"]
    done = fresh.cli("stop")
    assert done.returncode == 2
    commands = [line.split("   ")[0].strip() for line in done.stdout.splitlines()]
    assert commands == [
        "offswitch stop z/frozen",
        "offswitch stop a/fine",
        "offswitch stop --all",
    ], "the abnormal first, everything last"
    assert "nothing was stopped" in done.stderr
    assert fresh.status()["latched"] == before
    wrong = fresh.cli("stop", "--json")
    assert wrong.returncode == 2
    assert error(wrong)["kind"] == "usage"
    assert "offswitch stop --all" in error(wrong)["hint"]


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["--al"], "--all"),
        (["x", "--lvel", "kill"], "--level"),
        (["x", "--level"], "--help"),
        (["x", "--level", "kil"], "kill"),
        (["x", "--level", "explode"], "poweroff"),
        (["--all", "x"], "--all"),
        (["a b"], "segments"),
        (["../etc/passwd"], "segments"),
        (["tenant="], "label"),
        (["x\x1b[2J"], "segments"),
        ([""], "segments"),
    ],
)
def test_a_wrong_call_is_told_with_the_next_step_and_changes_nothing(
    installation: Installation, words: list[str], hint: str
) -> None:
    before = installation.status()["latched"]
    done = installation.cli("stop", *words, "--json")
    assert done.returncode == 2
    assert error(done)["kind"] == "usage"
    assert hint in error(done)["hint"] + error(done)["message"]
    plain = installation.cli("stop", *words)
    assert plain.returncode == 2
    assert "\x1b" not in plain.stderr
    assert installation.status()["latched"] == before
    assert os.listdir(installation.place.spool) == []


def test_help_and_dashes(installation: Installation) -> None:
    assert installation.cli("stop", "--help").returncode == 0
    assert "offswitch stop SCOPE" in installation.cli("stop", "-h").stdout
    done = installation.cli("stop", "--json", "--", "--all")
    assert done.returncode == 2, "after -- it is a name, and no name begins with a dash"
    assert installation.status("/")["latched"] == installation.status()["latched"]


# --- where it goes ----------------------------------------------------------------


def test_SR_7_every_installation_within_reach_is_stopped_and_named(
    fresh: Installation, installation: Installation
) -> None:
    fresh.run(*SLEEP, target="agent")
    installation.run(*SLEEP, target="both/agent")
    done = two_households(fresh, installation, "stop", "agent", "both/agent", "--json")
    said = answer(done)
    assert done.returncode == 0, done.stdout + done.stderr
    where = {target["target"]: target["installation"] for target in said["targets"]}
    assert where == {"agent": "/run/offswitch", "both/agent": "/run/user/4242/offswitch"}
    assert {one["scope"] for one in fresh.status()["latched"]} == {"agent", "both/agent"}
    text = two_households(fresh, installation, "stop", "agent", "both/agent").stdout
    assert "[/run/offswitch]" in text
    assert "[/run/user/4242/offswitch]" in text


def test_SR_7_with_a_run_folder_named_only_that_one_is_stopped(
    fresh: Installation, installation: Installation
) -> None:
    fresh.run(*SLEEP, target="only")
    done = two_households(
        fresh, installation, "stop", "only", env={"OFFSWITCH_RUN": "/run/offswitch"}
    )
    assert done.returncode == 0
    assert not any(one["scope"] == "only" for one in installation.status()["latched"])


def test_SR_7_reaching_no_installation_is_said(tmp_path: Path) -> None:
    env = {**os.environ, "OFFSWITCH_RUN": str(tmp_path / "no"), "OFFSWITCH_HOME": str(tmp_path)}
    for words in (["x"], ["--all"], ["x", "--level", "freeze"]):
        done = subprocess.run(
            [OFFSWITCH, "stop", *words, "--json"],
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 4
        assert error(done)["kind"] == "unreachable"
        assert error(done)["hint"]
    assert not (tmp_path / "no").exists(), "nothing was made there"


def test_a_refusal_keeps_its_kind_and_its_exit_code(fresh: Installation) -> None:
    """From inside a cell, even root may ask for nothing."""
    script = (
        "import os, subprocess, sys\n"
        f"env = dict(os.environ, OFFSWITCH_RUN={fresh.run_folder!r}, OFFSWITCH_HOME={fresh.home!r},"
        f" PYTHONPATH={str(SOURCE)!r})\n"
        "done = subprocess.run([sys.executable, '-m', 'offswitch', 'stop', 'elsewhere', '--level',"
        " 'freeze', '--json'], env=env, capture_output=True, text=True)\n"
        "print(done.returncode, done.stdout, flush=True)\n"
    )
    code, said = fresh.run(PYTHON, "-c", script, target="in", user="root").line().split(" ", 1)
    assert code == "5", said
    assert json.loads(said)["error"]["kind"] == "refused"
    assert fresh.status()["latched"] == []


def test_an_installation_that_nobody_serves_does_not_spoil_the_others_proof(
    fresh: Installation, installation: Installation
) -> None:
    """What is left of an old installation lies within root's reach; nothing lives there."""
    fresh.kill_everything()
    installation.run(*SLEEP, target="old/agent")
    done = two_households(fresh, installation, "stop", "old/agent", "--json")
    said = answer(done)
    assert (done.returncode, said["confirmed"]) == (0, True)
    assert any("spool" in note for note in said["notes"]), "and yet the order waits there"
    assert os.listdir(fresh.place.spool) == ["old%2Fagent"]


def test_a_run_folder_on_a_disk_is_stopped_like_any_other(tmp_path: Path) -> None:
    made = Installation(tmp_path, run=str(tmp_path / "run"))
    try:
        made.start()
        made.run(*SLEEP, target="a")
        assert made.cli("stop", "a").returncode == 0
        until(lambda: os.listdir(made.place.spool) == [], "the warden took the name away")
        [live] = made.status()["latched"]
        assert live["count"] == 1, "one press is one press, over however many roads"
    finally:
        made.close()


# --- what it has done stands, whatever becomes of its words -----------------------


@pytest.mark.parametrize("redirect", [">&-", "2>&-", ">&- 2>&-", ">/dev/full", "<&-", "| true"])
def test_what_was_done_stands_whatever_becomes_of_its_words(
    installation: Installation, redirect: str
) -> None:
    born = installation.run(*SLEEP, target="words/a").born
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {OFFSWITCH} stop words/a {redirect}"],
        env={**installation.env, "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert dead(born["pid"])
    assert installation.cli("reset", "words/a", "--reason", "a test").returncode == 0


def test_a_stop_works_where_hardly_a_descriptor_is_left(installation: Installation) -> None:
    born = installation.run(*SLEEP, target="few/a").born
    done = subprocess.run(
        ["bash", "-c", f"ulimit -n 7; exec {OFFSWITCH} stop few/a"],
        env=installation.env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert dead(born["pid"])


# --- when the warden hangs --------------------------------------------------------


def test_SR_11_a_hanging_warden_delays_nothing_and_the_keeper_stops(fresh: Installation) -> None:
    born = fresh.run(*SLEEP, target="a").born
    with hanging(fresh.pids()["warden"]):
        begin = time.monotonic()
        done = fresh.cli("stop", "a", "--json")
        took = time.monotonic() - begin
        assert dead(born["pid"])
        said = answer(done)
        assert done.returncode == 4
        assert took < 10, "it returned, and did not wait for the warden"
        assert said["confirmed"] is False, "without a warden nothing is confirmed"
        assert [target["state"] for target in said["targets"]] == ["unknown"]
        assert any("keeper" in note for note in said["notes"])
    until(lambda: fresh.target("a")["latched"], "the warden, back, latches it too")
    until(lambda: fresh.target("a")["confirmed"], "and has it confirmed")
    assert os.listdir(fresh.place.spool) == []


def test_SR_11_both_hang_and_our_own_rights_kill(fresh: Installation) -> None:
    pids = fresh.pids()
    born = fresh.run(*SLEEP, target="a").born
    other = fresh.run(*SLEEP, target="b").born
    with hanging(pids["warden"], pids["keeper"]):
        done = fresh.cli("stop", "a")
        assert dead(born["pid"])
        assert not dead(other["pid"]), "only what the scope covers"
        assert done.returncode == 4
        first, *rest = done.stdout.splitlines()
        assert first.startswith("NOT CONFIRMED: a is commanded (kill)")
        assert any("by its own rights" in line for line in rest)
        assert os.listdir(fresh.place.spool) == ["a"], "the order lies in the spool as well"
    until(lambda: fresh.target("a")["latched"], "the warden, back, obeys the spool")
    until(lambda: os.listdir(fresh.place.spool) == [], "and takes it away")


def test_SR_11_a_poweroff_lies_in_the_spool_too_where_both_hang(fresh: Installation) -> None:
    pids = fresh.pids()
    with hanging(pids["warden"], pids["keeper"]):
        assert fresh.cli("stop", "a", "--level", "poweroff").returncode == 4
        assert os.listdir(fresh.place.spool) == ["a"], "there it is a kill, and that is a stop"
    until(lambda: os.listdir(fresh.place.spool) == [], "the warden, back, takes it away")
    assert "poweroff" in [stop["level"] for stop in fresh.status()["latched"]]


def test_SR_11_a_warden_that_hangs_while_a_drain_is_waited_for_is_not_waited_for(
    fresh: Installation,
) -> None:
    fresh.run(*SLEEP, target="a")
    argv = [OFFSWITCH, "stop", "a", "--level", "drain", "--wait", "--json"]
    waiting = subprocess.Popen(argv, env=fresh.env, stdout=subprocess.PIPE, text=True)
    until(lambda: fresh.target("a")["latched"], "it has begun")
    with hanging(fresh.pids()["warden"]):
        out, _ = waiting.communicate(timeout=10)
    assert waiting.returncode == 4
    assert json.loads(out)["confirmed"] is False


def test_SR_11_a_frozen_listener_that_is_full_blocks_nobody(fresh: Installation) -> None:
    """A frozen listener accepts its backlog; whoever comes next would block for ever."""
    pids = fresh.pids()
    born = fresh.run(*SLEEP, target="a").born
    held: list[socket.socket] = []
    with hanging(pids["warden"], pids["keeper"]), contextlib.ExitStack() as stack:
        for path in (fresh.place.warden_socket, fresh.place.keeper_socket):
            while True:
                sock = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
                sock.setblocking(False)
                try:
                    sock.connect(path)
                except BlockingIOError:
                    break
                held.append(sock)
        assert len(held) > 6
        done = fresh.cli("stop", "--all", timeout=20)
        assert done.returncode == 4
        assert dead(born["pid"])


def test_SR_11_warden_and_keeper_killed_and_the_cells_still_fall(fresh: Installation) -> None:
    born = fresh.run(*SLEEP, target="a").born
    fresh.kill_everything()
    done = fresh.cli("stop", "--all", "--json")
    assert done.returncode == 4
    assert dead(born["pid"])
    said = answer(done)
    [target] = said["targets"]
    assert (target["target"], target["confirmed"]) == ("a", False)
    assert target["layers"][0]["effect_ns"] > 0, "this command itself saw the cell empty"
    fresh.restart()
    until(lambda: fresh.target("a")["latched"], "the next warden obeys the spool")


def test_SR_11_a_list_of_cells_can_point_nowhere_else(tmp_path: Path) -> None:
    """Another user's installation is within root's reach; what it lists is not trusted."""
    bystander = subprocess.Popen(["/bin/sleep", "1000"])
    tree = next(
        at
        for at in ("/sys/fs/cgroup/unified", "/sys/fs/cgroup")
        if os.path.exists(f"{at}/cgroup.procs")
    )
    folder = f"{tree}/offswitch-bystander-{os.getpid()}"
    os.mkdir(folder)
    run = Path("/dev/shm", f"offswitch-lies-{os.getpid()}")
    run.mkdir(mode=0o711)
    try:
        Path(folder, "cgroup.procs").write_text(str(bystander.pid))
        lies = [
            {"target": "a", "labels": {}, "path": folder},
            {"target": "b", "labels": {}, "path": f"{tree}/x/../{os.path.basename(folder)}"},
            {"target": "c", "labels": [], "path": "/"},
            {"target": "d", "path": None, "facts": {"leader": bystander.pid, "leader_start": 0}},
            {"target": "e", "path": None, "facts": {"leader": 1, "leader_start": 0}},
            "garbage",
        ]
        (run / "cells.json").write_text(json.dumps({"cells": lies}))
        os.chown(run / "cells.json", 4242, 4242)
        (run / "stop").symlink_to(tmp_path)
        env = {**os.environ, "OFFSWITCH_RUN": str(run), "OFFSWITCH_HOME": str(tmp_path)}
        done = subprocess.run(
            [OFFSWITCH, "stop", "--all"], env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 4
        assert bystander.poll() is None
        assert os.listdir(tmp_path) == [], "no file was left behind a link"
    finally:
        bystander.kill()
        bystander.wait()
        until(lambda: not Path(folder, "cgroup.procs").read_text(), "empty")
        os.rmdir(folder)
        for path in (run / "cells.json", run / "stop"):
            path.unlink()
        run.rmdir()


def test_SR_11_without_cgroups_the_session_of_the_first_process_is_killed(tmp_path: Path) -> None:
    run = Path(tempfile.mkdtemp(prefix="offswitch-test-", dir="/dev/shm"))
    script = ["sh", "-c", "sleep 1000 & echo $!; sleep 1000"]
    first, other = (
        subprocess.Popen(script, stdout=subprocess.PIPE, text=True, start_new_session=True)
        for _ in range(2)
    )
    assert first.stdout is not None
    child = int(first.stdout.readline())
    try:
        rows = []
        for target, leader, late in (("a", first.pid, 0), ("reused", other.pid, 1)):
            fields = Path(f"/proc/{leader}/stat").read_text().rpartition(")")[2].split()
            facts = {"leader": leader, "leader_start": int(fields[19]) - late}
            rows.append({"target": target, "path": None, "labels": {}, "facts": facts})
        (run / "cells.json").write_text(json.dumps({"cells": rows}))
        env = {**os.environ, "OFFSWITCH_RUN": str(run), "OFFSWITCH_HOME": str(tmp_path)}
        argv = [OFFSWITCH, "stop", "--all"]
        done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 4
        until(lambda: dead(first.pid) and dead(child), "the session is killed")
        assert other.poll() is None, "a pid that is another's by now is not touched"
        assert "cannot be told without cgroups" in " ".join(done.stdout.split())
    finally:
        for each in (first, other):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(each.pid, 9)
            each.communicate()
        shutil.rmtree(run)


def test_a_press_leaves_nothing_in_the_spool_that_could_latch_again(
    installation: Installation,
) -> None:
    installation.run(*SLEEP, target="again/a")
    assert installation.cli("stop", "again/a").returncode == 0
    assert installation.cli("reset", "again/a", "--reason", "a test").returncode == 0
    assert os.listdir(installation.place.spool) == []
    assert installation.target("again/a")["latched"] is False
    assert installation.run(*SLEEP, target="again/a").born["pid"]


# --- three ways with no common part -----------------------------------------------


def test_HMI_4_with_the_command_line_and_the_sockets_gone_a_touched_file_stops(
    fresh: Installation,
) -> None:
    born = fresh.run(*SLEEP, target="shop/eu/a").born
    for path in (fresh.place.warden_socket, fresh.place.keeper_socket):
        os.unlink(path)
    Path(fresh.place.spool, "shop%2Feu").touch()
    until(lambda: dead(born["pid"]), "stopped by the name of a file")


def test_HMI_4_with_the_sockets_gone_the_command_still_stops(fresh: Installation) -> None:
    born = fresh.run(*SLEEP, target="a").born
    for path in (fresh.place.warden_socket, fresh.place.keeper_socket):
        os.unlink(path)
    assert fresh.cli("stop", "a").returncode == 4
    assert dead(born["pid"])


def test_ACT_12_a_plain_file_stops_without_any_client(installation: Installation) -> None:
    born = installation.run(*SLEEP, target="plain/a").born
    Path(installation.place.spool, "plain").touch()
    until(lambda: dead(born["pid"]), "stopped")
    until(lambda: installation.target("plain/a")["confirmed"], "and seen to be")


# --- what others wrote ------------------------------------------------------------


def test_hostile_text_of_a_lying_warden_is_shown_as_text(tmp_path: Path) -> None:
    evil = "\x1b[2J\x1b[HSTOPPED and confirmed\u202e\r\x9b"
    layer = {"layer": evil, "commanded_ns": 1, "effect_ns": None, "confirmed": False}
    row = {"target": evil, "installation": evil, "state": evil, "confirmed": False}
    final = {
        "order": evil,
        "scopes": ["a"],
        "level": "kill",
        "confirmed": False,
        "recorded": "pending",
        "targets": [{**row, "layers": [{**layer, "detail": evil}]}],
        "nearest": [evil],
        "notes": [evil],
        "empty": ["a"],
    }
    liar = Liar(tmp_path / "run", {"accepted": True, "order": evil}, final)
    try:
        done = liar.cli("stop", "a")
        assert done.returncode == 4
        assert not set("\x1b\u202e\r\x9b") & set(done.stdout + done.stderr)
        assert "\\x1b" in done.stdout
        raw = liar.cli("stop", "a", "--json")
        assert not set("\x1b\u202e\r\x9b") & set(raw.stdout)
    finally:
        liar.close()


@pytest.mark.parametrize(
    "garbage",
    [
        b"\xff\xff\xff\xff",
        b"\x00\x00\x00\x02[]",
        b"\x00\x00\x00\x05{....",
        b"\x00\x00\x00\x09{}",
    ],
)
def test_a_garbled_answer_is_no_answer(tmp_path: Path, garbage: bytes) -> None:
    liar = Liar(tmp_path / "run", garbage)
    try:
        done = liar.cli("stop", "a", "--json")
        assert done.returncode == 4
        assert error(done)["kind"] == "unreachable"
    finally:
        liar.close()


# --- what it reads without the model, it reads as the model does ------------------

SCOPES = st.one_of(names, st.text(max_size=30), st.builds("{}={}".format, label_keys, label_values))
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(SCOPES)
def test_a_scope_is_read_as_the_model_reads_it(text: str) -> None:
    try:
        wanted = parse_scope(text).text
    except Usage:
        with pytest.raises(Usage) as refused:
            read_scope(text)
        assert refused.value.message.isprintable()
    else:
        assert read_scope(text) == wanted


@given(SCOPES, names, st.dictionaries(label_keys, label_values, max_size=2))
def test_a_scope_covers_what_the_model_says_that_it_covers(
    text: str, name: str, labels: dict[str, str]
) -> None:
    for wanted in (text, name, name.rpartition("/")[0], f"{name}x", "/"):
        try:
            scope = parse_scope(wanted)
        except Usage:
            continue
        assert covers(scope.text, name, labels) is scope.covers(Target(name, labels))


@given(JSON)
def test_the_quick_json_is_json(value: object) -> None:
    assert dumps(float("inf")) == dumps(float("nan")) == "null"
    assert json.loads(dumps(value)) == value
    assert loads(json.dumps(value).encode()) == value


@pytest.mark.parametrize(
    "text", ["", "{", "[1,]", "{} {}", "nul", '"\\x"', "{a:1}", "[" * 5000, "\xff"]
)
def test_what_is_no_json_is_refused(text: str) -> None:
    """In a fresh interpreter: there the scanner's own errors have nowhere to come from."""
    code = (
        "import sys\nfrom offswitch.cli.quick_json import loads\n"
        "try: loads(sys.argv[1].encode())\nexcept ValueError: sys.exit(7)"
    )
    assert subprocess.run([sys.executable, "-c", code, text], check=False).returncode == 7
