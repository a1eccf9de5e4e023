"""Evidence is kept of what is stopped, and the stop is as ever whatever keeps it (ACT-11)."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from disk import freezable, frozen, mounted
from installation import PYTHON, Installation, Running, until
from needs import needs_root
from scale import LONG

LARGE = (2 << 30) if LONG else (96 << 20)
ACTOR = """
import os, socket, sys, time
held = bytearray(b'what it thought of') * (int(sys.argv[1]) // 18)
kept = open('/etc/hostname'), socket.create_server(('127.0.0.1', 0))
if os.fork() == 0:
    time.sleep(1000)
acts = os.open('acts', os.O_RDWR | os.O_CREAT, 0o666)
os.pwrite(acts, b'%020d' % time.monotonic_ns(), 0)
print('born', flush=True)
while True:
    os.pwrite(acts, b'%020d' % time.monotonic_ns(), 0)
"""


def _declare(one: Installation, name: str, **plan: int) -> None:
    one.ask({"op": "declare", "targets": [{"name": name, "stop": plan}]})


def _actor(one: Installation, name: str, size: int = 1 << 20, *words: str) -> Running:
    running = one.run(PYTHON, "-c", ACTOR, str(size), *words, target=name)
    assert running.line() == "born"
    return running


def _last_act(one: Installation) -> int:
    return int((one.work / "acts").read_bytes())


def _acts_no_more(one: Installation) -> None:
    before = _last_act(one)
    time.sleep(0.1)
    assert _last_act(one) == before, "it acted after the stop"


def _evidence(one: Installation, order: str) -> dict[str, Any]:
    def found() -> list[dict[str, Any]]:
        entries = [each for each in one.entries() if each["kind"] == "evidence"]
        return [each for each in entries if each["order"] == order]

    [entry] = until(found, "evidence is in the ledger", 30)
    return dict(entry)


def _looked_at(one: Installation) -> None:
    time.sleep(0.7)  # it is looked at soon after its birth


def test_ACT_11_of_what_is_killed_there_is_its_tree_its_files_and_its_sockets(
    installation: Installation,
) -> None:
    _actor(installation, "shop/a", 1 << 20, "\x1b[31mred")
    _looked_at(installation)
    answer = installation.stop("shop/a")
    assert answer["confirmed"] is True
    entry = _evidence(installation, answer["order"])
    assert entry["target"] == "shop/a"
    assert entry["count"] == 2
    assert entry["seen"] == "before"
    assert entry["age_ms"] >= 0, "how old it is, is said"
    assert any("python" in line and "what it thought of" in line for line in entry["processes"])
    assert any("/etc/hostname" in line for line in entry["files"])
    assert any("127.0.0.1" in line for line in entry["sockets"])
    folder = Path(installation.home, entry["folder"])
    for name, digest in entry["kept"].items():
        file = folder / name
        assert hashlib.sha256(file.read_bytes()).hexdigest() == digest
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    kept = json.loads((folder / "processes.json").read_bytes())
    one, two = sorted(each["parent"] for each in kept["before"]["processes"])
    assert {one, two} & {each["pid"] for each in kept["before"]["processes"]}, "a tree"
    shown = installation.cli("ledger", "show", "--all").stdout
    assert "\x1b" not in shown, "what it wrote is shown escaped"


def test_ACT_11_the_tail_of_its_output_is_kept(installation: Installation) -> None:
    script = "import time; print('last words', flush=True); time.sleep(1000)"
    argv = [f"{os.path.dirname(sys.executable)}/offswitch", "run", "--target"]
    child = subprocess.Popen(
        [*argv, "shop/b", "--", PYTHON, "-c", script],
        env=installation.env,
        stdout=subprocess.PIPE,
        text=True,
    )
    installation.children.append(child)
    assert child.stdout is not None
    assert child.stdout.readline() == "last words\n"
    log = Path(installation.place.logs, "shop%2Fb.log")
    until(lambda: log.read_text() == "last words\n", "it is logged")
    answer = installation.stop("shop/b")
    entry = _evidence(installation, answer["order"])
    assert entry["tail"] == "last words\n"


def test_ACT_11_a_snapshot_is_taken_of_what_is_cut_and_frozen_and_then_it_is_killed(
    installation: Installation,
) -> None:
    _declare(installation, "shop/a", snapshot=400_000, snapshot_memory=LARGE)
    running = _actor(installation, "shop/a", LARGE)
    accepted = installation.press("shop/a")
    _acts_no_more(installation)
    assert running.event("exited")["signal"] == 9, "the kill comes by itself"
    moved = [entry for entry in installation.entries() if entry["kind"] == "moved"]
    assert moved == [], "by the warden's own timer, and not because somebody saw it live on"
    entry = _evidence(installation, accepted["order"])
    assert entry["seen"] == "at the stop"
    assert entry["copied"] > 16 << 20
    memory = [name for name in entry["kept"] if name.endswith(".mem")]
    held = b"".join(Path(installation.home, entry["folder"], n).read_bytes() for n in memory)
    assert b"what it thought of" * 1000 in held
    receipts = {each["layer"]: each for each in installation.stop("shop/a")["targets"][0]["layers"]}
    assert receipts["process"]["confirmed"] is True


def test_ACT_11_a_second_press_waits_for_no_snapshot(installation: Installation) -> None:
    _declare(installation, "shop/a", snapshot=1_000_000)
    running = _actor(installation, "shop/a")
    began = time.monotonic()
    installation.press("shop/a")
    time.sleep(0.05)
    installation.press("shop/a")
    assert running.event("exited")["signal"] == 9
    assert time.monotonic() - began < 1.0, "killed before the snapshot's time was up"


@pytest.fixture(params=["killed", "stopped", "no room", "hung"])
def troubled(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Installation]:
    """Give an installation in which evidence cannot be kept."""
    needs_root()
    home = tmp_path / "home"
    disks = {
        "no room": lambda: mounted(home, "24m"),
        "hung": lambda: freezable(home, tmp_path / "image"),
    }
    disk = disks[request.param]() if request.param in disks else None
    place = disk.__enter__() if disk is not None else None
    one = Installation(tmp_path)
    try:
        one.start()
        _declare(one, "shop/a", snapshot=200_000, snapshot_memory=64 << 20)
        running = _actor(one, "shop/a", 64 << 20)
        pid = one.pids()["evidence"]
        freezing = frozen(home) if request.param == "hung" else None
        if request.param in {"killed", "stopped"}:
            os.kill(pid, signal.SIGKILL if request.param == "killed" else signal.SIGSTOP)
        elif freezing is not None:
            freezing.__enter__()
        else:
            assert place is not None
            place.fill()
        yield one
        running.close()
        if freezing is not None:
            freezing.__exit__(None, None, None)
        if request.param == "stopped":
            os.kill(pid, signal.SIGCONT)
    finally:
        one.close()
        if disk is not None:
            disk.__exit__(None, None, None)


def test_ACT_11_whatever_becomes_of_whoever_keeps_it_the_stop_is_as_ever(
    troubled: Installation,
) -> None:
    answer = troubled.stop("shop/a")
    assert answer["confirmed"] is True
    _acts_no_more(troubled)


def test_ACT_11_who_keeps_evidence_can_read_and_do_nothing_else(installation: Installation) -> None:
    needs_root()
    pid = installation.pids()["evidence"]
    path = Path(f"/proc/{pid}/status")
    until(lambda: "Seccomp:\t2" in path.read_text(), "it has become what it is")
    lines = path.read_text().splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    assert "0" not in status["Uid"].split()
    assert int(status["CapEff"], 16) == 1 << 19 | 1 << 2, "to read: CAP_SYS_PTRACE, DAC_READ_SEARCH"
    assert int(status["CapBnd"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"


def test_ACT_11_a_gatherer_that_owes_an_answer_is_replaced_and_the_ledger_says_so(
    installation: Installation,
) -> None:
    _actor(installation, "shop/a")
    pid = installation.pids()["evidence"]
    os.kill(pid, signal.SIGKILL)
    answer = installation.stop("shop/a")
    assert answer["confirmed"] is True
    until(lambda: installation.pids()["evidence"] not in {None, pid}, "another one is there")
    assert _evidence(installation, answer["order"])["problem"]


def test_ACT_11_if_the_warden_dies_while_a_snapshot_is_taken_the_keeper_kills(
    installation: Installation,
) -> None:
    _declare(installation, "shop/a", snapshot=1_000_000)
    running = _actor(installation, "shop/a")
    installation.press("shop/a")
    installation.kill_warden()
    until(lambda: not Path(f"/proc/{running.born['pid']}/cmdline").exists(), "it is killed")
    _acts_no_more(installation)
