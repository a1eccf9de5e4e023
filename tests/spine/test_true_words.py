"""A stop's word is true: whatever a plan leaves out, wherever a cell is gone, whoever looks away.

The hard case is a job of the target's own user that a broker began, outside of the cell: the
cell is empty, and the target lives.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from brokers import ended_by, job_of, lives
from installation import PYTHON, Installation, until
from offswitch.actuators import bpf
from offswitch.control.client import Conversation
from offswitch.errors import Unconfirmed
from readers import drained
from scripted import Scripted, scripted

LOCAL = {"network", "process", "sweep"}


@pytest.fixture
def lying(tmp_path: Path) -> Iterator[Scripted]:
    yield from scripted(tmp_path, "lying_warden")


def declare(installation: Installation, **plan: list[str]) -> None:
    installation.ask({"op": "declare", "targets": [{"name": "a", "stop": plan}]})


def layers(answer: dict[str, Any]) -> dict[str, dict[str, Any]]:
    [target] = answer["targets"]
    return {layer["layer"]: layer for layer in target["layers"]}


def denied(installation: Installation) -> bool:
    """Whether programs that deny the network hang on the target's cgroup."""
    path = installation.ask({"op": "target", "name": "a"})["cell"]["path"]
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return bpf.attached(folder, bpf.Attach.EGRESS) > 0
    finally:
        os.close(folder)


# --- a plan ---------------------------------------------------------------------------


@pytest.mark.parametrize("plan", [["process"], ["guard", "process", "network"], ["sweep"]])
def test_SR_8_a_plan_adds_layers_and_takes_none_away(
    installation: Installation, plan: list[str]
) -> None:
    declare(installation, kill=plan)
    running = installation.run("sleep", "1000", target="a")
    job = job_of(installation, running.born["uid"])
    answer = installation.stop("a")
    assert answer["confirmed"] is True
    assert set(layers(answer)) == {"guard", *LOCAL}
    assert ended_by(job) == signal.SIGKILL
    assert denied(installation)


def test_SR_8_a_freeze_whose_plan_names_the_process_alone_denies_the_network(
    installation: Installation,
) -> None:
    declare(installation, freeze=["process"])
    installation.run("sleep", "1000", target="a")
    answer = installation.stop("a", level="freeze")
    assert (answer["confirmed"], set(layers(answer))) == (True, {"guard", "network", "process"})
    assert denied(installation)


def test_a_layer_that_nobody_has_is_never_confirmed_and_no_bar_to_a_reset(
    installation: Installation,
) -> None:
    """The plan of INTERFACES. All that this machine has was seen; what it has not is said."""
    declare(installation, kill=["guard", "process", "network", "data"])
    running = installation.run("sleep", "1000", target="a")
    job = job_of(installation, running.born["uid"])
    answer = installation.stop("a")
    assert (answer["confirmed"], answer["exit"]) == (False, 4)
    told = layers(answer)
    assert {name for name, layer in told.items() if layer["confirmed"]} == LOCAL
    assert "may still act" in told["data"]["detail"]
    assert ended_by(job) == signal.SIGKILL
    assert installation.target("a")["state"] == "stopping"
    assert installation.reset("a")["state"] == "done"
    assert installation.target("a")["state"] == "idle"


# --- what has no cell -----------------------------------------------------------------


def test_VER_1_what_has_no_cell_is_asked_for_every_layer_of_its_plan(
    installation: Installation,
) -> None:
    declare(installation, kill=["process", "data"])
    told = layers(installation.stop("a"))
    assert told["process"]["confirmed"] is True
    assert "seen" not in told["process"]["detail"], "there never was a cell that could be seen"
    assert told["data"]["confirmed"] is False
    assert installation.target("a")["confirmed"] is False
    assert installation.reset("a")["state"] == "done"


def test_a_poweroff_of_what_has_ended_is_not_confirmed_without_power(
    installation: Installation,
) -> None:
    installation.run("true", target="a").event("exited")
    answer = installation.stop("a", level="poweroff")
    assert (answer["confirmed"], answer["exit"]) == (False, 4)
    told = layers(answer)
    assert told["power"]["confirmed"] is False
    assert {name for name, layer in told.items() if layer["confirmed"]} == LOCAL


def ended(installation: Installation) -> int:
    """Run a target to its end; give the user that was its own."""
    running = installation.run("true", target="a")
    running.event("exited")
    until(lambda: not list(Path(cells(installation)).glob("c[0-9]*")), "its cell is gone")
    return int(running.born["uid"])


def cells(installation: Installation) -> str:
    [tree] = [path for path in installation.cgroups() if os.path.exists(f"{path}/cgroup.events")]
    return tree


def test_VER_3_a_job_of_a_target_that_has_ended_is_swept_and_so_is_a_later_one(
    installation: Installation,
) -> None:
    uid = ended(installation)
    job = job_of(installation, uid)
    answer = installation.stop("a")
    assert answer["confirmed"] is True
    assert ended_by(job) == signal.SIGKILL
    for _again in range(2):
        assert ended_by(job_of(installation, uid)) == signal.SIGKILL
        until(lambda: installation.target("a")["confirmed"], "seen to stand still again")
        installation.kill_warden()
        installation.restart()
    assert installation.reset("a")["state"] == "done"
    # A sweep that was under way at the reset may catch one that begins at that very moment.
    until(lambda: lives(job_of(installation, uid)), "nothing holds it any more")


def test_VER_3_a_job_that_began_while_no_warden_was_there_is_swept_by_the_next(
    installation: Installation,
) -> None:
    uid = ended(installation)
    installation.stop("a")
    installation.kill_warden()
    job = job_of(installation, uid)
    installation.restart()
    assert ended_by(job) == signal.SIGKILL
    until(lambda: installation.target("a")["confirmed"], "seen to stand still")


def test_SR_8_what_a_target_that_has_ended_left_in_its_queue_goes_to_nobody(
    installation: Installation,
) -> None:
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
    server.bind(("127.0.0.1", 0))
    server.listen()
    script = (
        "import socket, sys\ns = socket.create_connection(('127.0.0.1', int(sys.argv[1])))\n"
        "s.setblocking(False)\ntry:\n while True: s.send(bytes(65536))\n"
        "except BlockingIOError: pass"
    )
    running = installation.run(PYTHON, "-c", script, str(server.getsockname()[1]), target="a")
    reader, _address = server.accept()
    running.event("exited")
    until(lambda: installation.target("a")["state"] == "exited", "its end is seen")
    assert installation.stop("a")["confirmed"] is True
    received, how = drained(reader)
    assert (how, received < 1 << 18) == ("reset", True), "what lay in the reader's own buffer"
    reader.close()
    server.close()


def test_under_a_restrict_an_empty_cell_is_not_stopped_while_a_job_of_its_user_lives(
    installation: Installation,
) -> None:
    running = installation.run("sleep", "1000", target="a")
    job = job_of(installation, running.born["uid"])
    installation.stop("a", level="restrict")
    os.kill(running.born["pid"], signal.SIGKILL)
    running.event("exited")
    assert installation.target("a")["state"] == "restricted"
    job.kill()
    job.wait()
    until(lambda: installation.target("a")["state"] == "stopped", "nothing of it lives")


def test_a_drain_lets_a_job_of_its_user_end_and_kills_it_at_its_limit(
    installation: Installation,
) -> None:
    """Its cell is empty long before."""
    installation.ask({"op": "declare", "targets": [{"name": "a", "limits_s": {"drain": 0.5}}]})
    running = installation.run("sleep", "1000", target="a")
    job = job_of(installation, running.born["uid"])
    with Conversation(installation.place.warden_socket, 30.0) as pressed:
        pressed.ask(installation.stop_message("a", level="drain", wait=True))
        os.kill(running.born["pid"], signal.SIGKILL)
        running.event("exited")
        assert installation.target("a")["state"] == "draining"
        assert ended_by(job) == signal.SIGKILL
        answer = pressed.receive()
    assert answer is not None
    assert (answer["confirmed"], answer["targets"][0]["state"]) == (True, "stopped")


def test_what_is_declared_under_a_stop_is_stopped_and_said_to_be(
    installation: Installation,
) -> None:
    installation.stop("/")
    declare(installation)
    until(lambda: installation.target("a")["confirmed"], "nothing of it runs")
    assert installation.target("a")["state"] == "stopped"


# --- a reset --------------------------------------------------------------------------


def test_VER_1_nothing_is_stopped_and_nothing_is_reset_before_the_observer_has_spoken(
    lying: Scripted,
) -> None:
    """The sweep does nothing, the cell is empty, and a job of its user lives."""
    lying.words = ("sweep",)
    lying.start()
    running = lying.run("sleep", "1000", target="a")
    job = job_of(lying, running.born["uid"])
    os.kill(running.born["pid"], signal.SIGKILL)
    running.event("exited")
    lying.press("a")
    row = lying.target("a")
    assert (row["state"], row["confirmed"]) == ("stopping", False)
    with pytest.raises(Unconfirmed):
        lying.reset("a")
    assert lives(job)
    assert lying.target("a")["state"] == "stopping"
    job.kill()
    job.wait()
    assert lying.reset("a")["state"] == "done", "the reset has it looked at anew"


@pytest.mark.long
def test_VER_1_nor_after_a_warden_has_come_back(lying: Scripted) -> None:
    lying.words = ("sweep",)
    lying.start()
    running = lying.run("sleep", "1000", target="a")
    job = job_of(lying, running.born["uid"])
    lying.press("a")
    lying.kill_warden()
    lying.restart()
    assert lying.target("a")["state"] == "stopping"
    with pytest.raises(Unconfirmed):
        lying.reset("a")
    assert lives(job)


def test_RST_2_a_reset_waits_for_a_look_that_is_under_way(installation: Installation) -> None:
    installation.run("sleep", "1000", target="a")
    observer = installation.pids()["observer"]
    os.kill(observer, signal.SIGSTOP)
    installation.press("a")
    with Conversation(installation.place.warden_socket, 10.0) as asked:
        asked.send({"op": "reset", "scope": "a", "reason": "a test", "nonce": "n"})
        until(
            lambda: [e for e in installation.entries() if "reset opened" in str(e.get("what"))],
            "it is open, and its evidence sealed",
        )
        assert installation.target("a")["latched"] is True
        os.kill(observer, signal.SIGCONT)
        answer = asked.receive()
    assert answer is not None
    assert answer["state"] == "done"


@pytest.mark.long
def test_a_target_whose_cell_somebody_removed_can_be_reset(installation: Installation) -> None:
    """Nothing can ever be read of it again: it is unknown, and that holds nobody for ever."""
    installation.run("sleep", "1000", target="a")
    path = installation.ask({"op": "target", "name": "a"})["cell"]["path"]
    installation.stop("a")
    os.rmdir(path)
    assert installation.target("a")["state"] == "unknown"
    assert installation.reset("a")["state"] == "done"
    row = installation.target("a")
    assert (row["state"], row["pids"]) == ("idle", 0)
