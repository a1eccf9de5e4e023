"""A stop through the whole of a real warden: commanded, seen, watched, escalated."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from installation import PYTHON, Installation, until
from offswitch.control.client import Conversation
from offswitch.errors import Latched, OffswitchError
from scripted import Scripted, scripted

LEVELS = ("restrict", "drain", "freeze", "kill")


def test_a_running_target_is_stopped_seen_and_latched(installation: Installation) -> None:
    running = installation.run("sleep", "1000", target="shop/eu/checkout")
    answer = installation.stop("shop/eu")
    assert answer["confirmed"] is True
    assert answer["exit"] == 0
    [target] = answer["targets"]
    assert target["state"] == "stopped"
    by_layer = {layer["layer"]: layer for layer in target["layers"]}
    assert set(by_layer) == {"guard", "network", "process", "sweep"}
    assert by_layer["guard"]["confirmed"] is False, "the guard is listed, never counted"
    assert all(by_layer[layer]["effect_ns"] > 0 for layer in ("network", "process", "sweep"))
    assert running.event("exited")["signal"] == 9
    assert installation.target("shop/eu/checkout")["latched"] is True


def test_DEC_2_a_stop_asks_for_no_reason(installation: Installation) -> None:
    installation.run("sleep", "1000", target="a")
    answer = installation.stop("a")
    assert answer["confirmed"] is True
    [live] = installation.status()["latched"]
    assert live["reason"] == ""


def test_SR_7_a_stop_that_covers_nothing_is_latched_and_not_confirmed(
    installation: Installation,
) -> None:
    installation.run("sleep", "1000", target="shop/eu/checkout")
    answer = installation.stop("shop/europe")
    assert answer["confirmed"] is False
    assert answer["exit"] == 4
    assert answer["targets"] == []
    assert "shop/eu/checkout" in answer["nearest"]
    with pytest.raises(Latched):
        installation.run("sleep", "1000", target="shop/europe/paris")
    assert installation.target("shop/eu/checkout")["state"] == "running"


@pytest.mark.parametrize("level", LEVELS)
def test_ACT_1_each_level_reaches_its_state(installation: Installation, level: str) -> None:
    installation.run("sleep", "1000", target="a")
    answer = installation.stop("a", level=level)
    wanted = {"restrict": "restricted", "drain": "draining", "freeze": "frozen", "kill": "stopped"}
    assert installation.target("a")["state"] == wanted[level]
    assert answer["confirmed"] is (level in {"freeze", "kill"}), "what only a guard obeys is unseen"
    assert installation.word("a") == 2 + LEVELS.index(level)


def test_ACT_1_a_frozen_target_that_moves_is_killed(installation: Installation) -> None:
    installation.run("sleep", "1000", target="a")
    assert installation.stop("a", level="freeze")["confirmed"] is True
    cell = installation.ask({"op": "target", "name": "a"})["cell"]["path"]
    with open(f"{cell}/cgroup.freeze", "w", encoding="ascii") as file:
        file.write("0")
    until(lambda: installation.target("a")["state"] == "stopped", "killed once it moved")
    assert installation.target("a")["level"] == "kill"


def test_ACT_1_a_freeze_that_outlives_its_limit_becomes_a_kill(installation: Installation) -> None:
    installation.ask(
        {"op": "declare", "targets": [{"name": "a", "limits_s": {"freeze": 1, "drain": 1}}]}
    )
    installation.run("sleep", "1000", target="a")
    installation.stop("a", level="freeze")
    assert installation.target("a")["state"] == "frozen"
    until(lambda: installation.target("a")["state"] == "stopped", "killed after its limit")


def test_ACT_1_a_drain_ends_in_a_kill_and_wait_waits_for_it(installation: Installation) -> None:
    installation.ask({"op": "declare", "targets": [{"name": "a", "limits_s": {"drain": 1}}]})
    installation.run("sleep", "1000", target="a")
    answer = installation.stop("a", level="drain", wait=True)
    assert answer["confirmed"] is True
    assert installation.target("a")["state"] == "stopped"


def test_ACT_4_the_word_is_set_before_the_answer(installation: Installation) -> None:
    installation.run("sleep", "1000", target="a")
    assert installation.word("a") == 1
    with Conversation(installation.place.warden_socket) as conversation:
        conversation.ask(installation.stop_message("a"))
        assert installation.word("a") == 5


def test_ACT_4_a_process_acts_no_more_after_the_commands(installation: Installation) -> None:
    """The last act, written by the target itself, lies before the first answer."""
    acts = installation.work / "acts"
    script = (
        "import os,time\nfd=os.open('acts',os.O_CREAT|os.O_WRONLY)\n"
        "while True: os.pwrite(fd, b'%020d' % time.monotonic_ns(), 0)"
    )
    installation.run(PYTHON, "-c", script, target="busy")
    until(lambda: acts.exists() and acts.read_bytes(), "it acts")
    with Conversation(installation.place.warden_socket) as conversation:
        conversation.ask(installation.stop_message("busy"))
        answered = time.monotonic_ns()
        assert conversation.receive()
    last = int(acts.read_bytes())
    time.sleep(0.05)
    assert int(acts.read_bytes()) == last, "it acted after it was stopped"
    assert last < answered


@pytest.fixture
def telling(tmp_path: Path) -> Iterator[Scripted]:
    yield from scripted(tmp_path, "telling_warden")


@pytest.mark.parametrize(
    ("level", "order"),
    [
        ("kill", ["Network", "Kill", "Sockets", "Sweep"]),
        ("freeze", ["Network", "Freeze"]),
    ],
)
@pytest.mark.parametrize("failing", ["", "Network,Kill,Freeze,Sockets,Sweep"])
def test_SR_8_the_order_is_word_network_kill_sockets_and_none_waits_for_another(
    telling: Scripted, level: str, order: list[str], failing: str
) -> None:
    """As the real actuators were called by a real stop; though each of them ends in an error."""
    telling.words = (failing,)
    telling.start()
    telling.run("sleep", "1000", target="a")
    answer = telling.stop("a", level=level)
    told = [json.loads(line) for line in Path(telling.home, "told").read_text().splitlines()]
    first = told[: len(order)]
    assert [each["actuator"] for each in first] == order
    assert {each["word"] for each in first} == {2 + LEVELS.index(level)}, "the word came first"
    assert answer["confirmed"] is True, "what an actuator says of itself counts for nothing"


def test_SR_8_what_lives_comes_before_what_has_ended(telling: Scripted) -> None:
    """A hundred targets of yesterday must not delay the one that acts."""
    telling.words = ("",)
    telling.start()
    for name in ("a", "b"):
        telling.run("true", target=name).event("exited")
    until(lambda: telling.target("b")["state"] == "exited", "their ends are seen")
    telling.run("sleep", "1000", target="c")
    told = Path(telling.home, "told")
    told.unlink()  # their users were swept at their ends
    assert telling.stop("/")["confirmed"] is True
    trips = [json.loads(line) for line in told.read_text().splitlines()]
    assert [each["target"] for each in trips[:4]] == ["c"] * 4
    assert [each["actuator"] for each in trips[4:6]] == ["Sweep", "Sweep"]


def test_VER_3_what_moves_while_latched_is_stopped_within_a_second(
    installation: Installation,
) -> None:
    """A hidden start: somebody puts a process into the latched target's cell."""
    installation.run("sleep", "1000", target="a")
    installation.stop("a")
    cell = installation.ask({"op": "target", "name": "a"})["cell"]["path"]
    pid = os.posix_spawn("/bin/sleep", ["sleep", "1000"], {})
    with open(f"{cell}/cgroup.procs", "w", encoding="ascii") as file:
        file.write(str(pid))
    _pid, status = os.waitpid(pid, 0)
    assert os.WTERMSIG(status) == 9
    until(lambda: installation.target("a")["confirmed"], "seen to stand still again")
    until(lambda: [e for e in installation.entries() if e["kind"] == "moved"], "it is an entry")


HIDDEN = """
import os, sys, time
uid = int(sys.argv[1])
time.sleep(30)
os.setgroups([])
os.setresgid(uid, uid, uid)
os.setresuid(uid, uid, uid)
print(time.monotonic(), flush=True)
while True:
    time.sleep(60)
"""


@pytest.mark.long
def test_VER_3_a_start_hidden_until_30_s_after_the_stop_is_stopped_within_a_second(
    installation: Installation,
) -> None:
    """A broker outside of every cell sits still through the stop, and acts half a minute later."""
    running = installation.run("sleep", "1000", target="a")
    argv = [PYTHON, "-I", "-c", HIDDEN, str(running.born["uid"])]
    hidden = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    installation.children.append(hidden)
    assert installation.stop("a")["confirmed"] is True
    assert hidden.stdout is not None
    began = float(hidden.stdout.readline())
    assert -hidden.wait(10) == signal.SIGKILL
    assert time.monotonic() - began < 1
    until(lambda: [e for e in installation.entries() if e["kind"] == "moved"], "it is an entry")
    until(lambda: installation.target("a")["confirmed"], "seen to stand still again")


def test_VER_4_not_confirmed_means_a_page_and_looking_again(installation: Installation) -> None:
    """Nobody can look: all was commanded, nothing is confirmed, a person is told what is not."""
    plan = {"escalate": [{"after": 1_000_000, "layers": ["power"]}]}
    installation.ask({"op": "declare", "targets": [{"name": "a", "stop": plan}]})
    for name in ("a", "b"):
        installation.run("sleep", "1000", target=name)
    os.kill(installation.pids()["observer"], 19)
    answer = installation.stop("a")
    assert (answer["confirmed"], answer["exit"]) == (False, 4)
    os.kill(installation.pids()["observer"], 18)
    notes = until(
        lambda: [e for e in installation.entries() if "page:" in str(e.get("what", ""))],
        "a person is paged",
    )
    assert set(notes[0]["missing"]) == {"network", "process", "sweep"}
    assert notes[0]["choice"] == "offswitch stop a --level poweroff"
    assert notes[0]["others"] == ["b"], "what else would go with the machine (SR-10)"
    assert installation.target("a")["level"] == "kill", "another one runs here, so it is asked for"
    until(lambda: installation.target("a")["confirmed"], "seen once somebody can look")


def test_SR_10_and_VER_4_a_kill_in_vain_goes_further_only_where_its_plan_says_so(
    installation: Installation,
) -> None:
    """And where everything on this machine is stopped: else the one before is a page."""
    plan = {"escalate": [{"after": 1_000_000, "layers": ["power"]}]}
    installation.ask({"op": "declare", "targets": [{"name": "a", "stop": plan}]})
    for name in ("a", "b"):
        installation.run("sleep", "1000", target=name)
    os.kill(installation.pids()["observer"], 19)
    installation.press("a", "b")
    until(lambda: installation.target("a")["level"] == "poweroff", "the machine is ordered off")
    assert installation.target("b")["level"] == "kill", "its plan does not name the power"


def test_DEC_5_a_stop_reaches_what_its_scope_covers_and_nothing_else(
    installation: Installation,
) -> None:
    labels = {"shop/eu/a": {"tenant": "acme"}, "shop/us/b": {"tenant": "acme"}, "shop/eu/c": {}}
    declared = [{"name": name, "labels": pairs} for name, pairs in labels.items()]
    installation.ask({"op": "declare", "targets": declared})
    for name in labels:
        installation.run("sleep", "1000", target=name)
    installation.stop("tenant=acme")
    states = {row["target"]: row["state"] for row in installation.status()["targets"]}
    assert states == {"shop/eu/a": "stopped", "shop/us/b": "stopped", "shop/eu/c": "running"}


@pytest.mark.parametrize("text", ["", "//", "a b", "../x", "x=", "a/../b", "\x1b[31m", "é"])
def test_a_scope_that_is_none_is_refused_and_nothing_is_latched(
    installation: Installation, text: str
) -> None:
    with pytest.raises(OffswitchError) as refused:
        installation.stop(text)
    assert refused.value.kind == "usage"
    assert installation.status()["latched"] == []
