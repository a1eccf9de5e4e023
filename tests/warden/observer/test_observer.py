"""The observer: it says *seen* only of what is so, and hears whatever moves."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

import pytest

from offswitch.actuators import sock_diag
from offswitch.control import frames
from offswitch.warden.cells import users
from offswitch.warden.observer import looks
from offswitch.warden.observer.looks import NetworkLook, ProcessLook, Seen, SweepLook, look_for
from scale import runs
from stage import PYTHON, Actor, Stage, until

CONNECTED = """
import socket, sys, time
s = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
time.sleep(100)
"""
PUMP = """
import socket, sys
s = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
while True:
    s.send(b'x' * 65536)
"""


def see(layer: str, actor: Actor, level: str = "kill") -> Seen:
    look = look_for(layer, actor.cell.facts(), level)
    assert look is not None
    try:
        return look.once()
    finally:
        look.close()


def test_VER_2_each_layer_is_seen_after_a_stop_and_none_before(stage: Stage) -> None:
    """Each probe with its failing twin: the same look, before the stop, says no."""
    server = socket.create_server(("127.0.0.1", 0))
    port = str(server.getsockname()[1])
    actor = stage.bear([PYTHON, "-c", CONNECTED, port])
    peer, _address = server.accept()
    assert [see(layer, actor).stands for layer in looks.LAYERS] == [False, False, False]
    before = stage.look(actor, looks.LAYERS, deadline_ms=60)
    assert before == {"process": False, "network": False, "sweep": False}

    assert stage.stop(actor) == {"process": True, "network": True, "sweep": True}
    assert [see(layer, actor).stands for layer in looks.LAYERS] == [True, True, True]
    for each in (server, peer):
        each.close()


def waits(actor: Actor) -> int:
    with sock_diag.Diag() as diag:
        return sum(each.queued for each in diag.sockets_of(actor.cell.cgroup_id or 0))


def test_VER_2_each_layer_stands_for_itself(stage: Stage) -> None:
    """One layer done, the others not: only that one is seen."""
    server = socket.create_server(("127.0.0.1", 0))
    actor = stage.bear([PYTHON, "-c", PUMP, str(server.getsockname()[1])])
    peer, _address = server.accept()
    until(lambda: actor.cell.cgroup_id and waits(actor) > 1 << 18, "much waits to be read")
    stage.broker(actor, "idle")
    actor.cell.kill()
    until(lambda: see("process", actor).stands, "the cell is empty")
    assert see("network", actor).stands is False
    assert see("sweep", actor).stands is False
    stage.sockets.trip(actor.cell)
    assert see("network", actor).stands
    assert see("sweep", actor).stands is False
    stage.sweep.trip(actor.cell)
    until(lambda: see("sweep", actor).stands, "its user is swept")
    for each in (server, peer):
        each.close()


def test_VER_2_frozen_means_that_nothing_runs_and_no_byte_passes(stage: Stage) -> None:
    server = socket.create_server(("127.0.0.1", 0))
    actor = stage.bear([PYTHON, "-c", PUMP, str(server.getsockname()[1])])
    peer, _address = server.accept()
    peer.settimeout(1)
    peer.recv(10)
    assert see("process", actor, "freeze").stands is False
    watcher = NetworkLook(actor.cell.facts(), "freeze")
    end = time.monotonic() + 0.15
    while time.monotonic() < end:
        peer.recv(1 << 16)
        assert watcher.once().stands is False
    watcher.close()
    assert stage.stop(actor, "freeze") == {"process": True, "network": True}
    assert see("process", actor, "kill").stands is False, "frozen is not killed"
    for each in (server, peer):
        each.close()


def test_a_cell_that_is_gone_or_another_of_its_name_is_unknown_never_empty(stage: Stage) -> None:
    cell = stage.cell()
    facts = cell.facts()
    look = ProcessLook(facts, "kill")
    assert look.once().stands is True
    assert cell.path is not None
    os.rmdir(cell.path)
    assert look.once().stands is None
    assert ProcessLook(facts, "kill").once().stands is None
    os.mkdir(cell.path)
    assert ProcessLook(facts, "kill").once().stands is None, "another inode of the same name"
    assert cell.populated() is None
    assert cell.frozen() is None
    cell.kill()
    cell.freeze()
    look.close()
    assert cell.remove() is False or not os.path.isdir(cell.path)
    with_path = cell.path
    cell.close()
    if os.path.isdir(with_path):
        os.rmdir(with_path)
    for twin in facts["twins"].values():
        if os.path.isdir(twin):
            os.rmdir(twin)


def test_a_proc_that_hides_others_is_unknown_never_swept(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    actor = stage.play("idle")
    monkeypatch.setattr(looks, "proc_is_open", lambda: False)
    assert see("sweep", actor).stands is None
    monkeypatch.undo()
    monkeypatch.setattr(users, "living_among", fail)
    assert see("sweep", actor).stands is None
    shared = actor.cell.facts() | {"own_uid": False}
    assert SweepLook(shared, "kill").once().stands is None


def fail(_uid: int) -> list[int]:
    raise OSError(24, "Too many open files")


def test_a_layer_that_nobody_can_look_at_is_not_seen(stage: Stage) -> None:
    actor = stage.play("idle")
    assert stage.look(actor, ["teapot"], deadline_ms=20) == {"teapot": False}


def test_the_time_of_the_effect_is_told_not_that_of_the_answer(stage: Stage) -> None:
    actor = stage.play("idle")
    before = time.monotonic_ns()
    actor.cell.kill()
    stage.observer.look(77, actor.cell.facts(), ["process"], "kill", 2000)
    answers: list[dict[str, int]] = []
    until(lambda: answers.extend(stage.messages(0.2)) or answers, "an answer")
    after = time.monotonic_ns()
    assert answers[0]["id"] == 77
    assert before < answers[0]["at_ns"] < after


def test_an_answer_comes_at_the_deadline_at_the_latest(stage: Stage) -> None:
    actor = stage.play("idle")
    began = time.monotonic()
    assert stage.look(actor, ["process"], deadline_ms=100) == {"process": False}
    assert 0.09 < time.monotonic() - began < 1


@pytest.mark.parametrize("level", ["kill", "freeze"])
def test_VER_3_whatever_moves_while_latched_is_told_within_200_ms(stage: Stage, level: str) -> None:
    for _run in range(runs(20)):
        actor = stage.play("idle")
        stage.stop(actor, level)
        stage.observer.watch(actor.cell.facts(), level)
        assert stage.messages(0.15) == [], "it is still"
        move = thaw if level == "freeze" else come_back
        began = time.monotonic()
        move(stage, actor)
        moved = event(stage)
        assert time.monotonic() - began < 0.2
        assert (moved["event"], moved["cell"]) == ("moved", actor.cell.name)
        assert moved["layer"] == "process"
        actor.cell.freeze() if level == "freeze" else actor.cell.kill()
        stage.look(actor, ["process"], level)
        stage.messages(0.02)
        move(stage, actor)
        assert event(stage)["layer"] == "process", "it is re-armed"
        stage.observer.unwatch(actor.cell.name)
        actor.cell.kill()
        drain(stage)


def thaw(_stage: Stage, actor: Actor) -> None:
    actor.cell.thaw()


def come_back(_stage: Stage, actor: Actor) -> None:
    """Somebody moves a process into the latched cell, as a hidden start would."""
    pid = os.fork()
    if pid == 0:
        time.sleep(1000)
    actor.cell.enter(pid)
    REAPED.append(pid)


REAPED: list[int] = []


@pytest.fixture(autouse=True)
def _reaper() -> object:
    yield
    while REAPED:
        pid = REAPED.pop()
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def drain(stage: Stage) -> None:
    while stage.messages(0.02):
        pass


def event(stage: Stage) -> dict[str, object]:
    found: list[dict[str, object]] = []

    def told() -> bool:
        found.extend(each for each in stage.messages(0.3) if "event" in each)
        return bool(found)

    until(told, "the observer tells of it")
    return found[0]


def test_VER_3_a_socket_that_appears_while_latched_is_told(stage: Stage) -> None:
    server = socket.create_server(("127.0.0.1", 0))
    actor = stage.bear([PYTHON, "-c", CONNECTED, str(server.getsockname()[1])])
    peer, _address = server.accept()
    stage.observer.watch(actor.cell.facts(), "kill")
    layers = set()
    until(lambda: layers.add(event(stage)["layer"]) or len(layers) == 3, "all three are told")
    assert layers == {"process", "network", "sweep"}
    for each in (server, peer):
        each.close()


def test_what_is_not_watched_any_more_is_not_told(stage: Stage) -> None:
    actor = stage.play("idle")
    stage.stop(actor)
    stage.observer.watch(actor.cell.facts(), "kill")
    stage.observer.unwatch(actor.cell.name)
    assert stage.look(actor, ["process"]) == {"process": True}, "it has read all that came before"
    come_back(stage, actor)
    assert stage.messages(0.3) == []


def test_SR_4_the_observer_has_a_user_of_its_own_and_may_do_nothing(stage: Stage) -> None:
    lines = Path(f"/proc/{stage.observer.pid}/status").read_text(encoding="ascii").splitlines()
    status = dict(line.split(":\t", 1) for line in lines)

    def settled() -> bool:
        text = Path(f"/proc/{stage.observer.pid}/status").read_text(encoding="ascii")
        status.update(line.split(":\t", 1) for line in text.splitlines())
        return set(status["Uid"].split()) == {str(users.OBSERVER)} and status["NoNewPrivs"] == "1"

    until(settled, "it has given up root")
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == int(status["CapBnd"], 16) == 0
    assert status["Groups"].strip() == ""


def test_garbage_from_the_warden_ends_nothing_but_what_it_names(stage: Stage) -> None:
    actor = stage.play("idle")
    for message in ({"op": "teapot"}, {"op": "look"}, {"op": "watch", "cell": 3, "level": "kill"}):
        stage.observer.say(message)
    assert stage.look(actor, ["process"], deadline_ms=50) == {"process": False}
    assert stage.observer.alive()


def test_a_stuck_observer_blocks_nobody_and_is_found_out(stage: Stage) -> None:
    os.kill(stage.observer.pid, signal.SIGSTOP)
    try:
        actor = stage.play("idle")
        facts = actor.cell.facts() | {"padding": "x" * 10000}
        began = time.monotonic()
        for number in range(400):
            stage.observer.look(number, facts, ["process"], "kill", 10)
        assert time.monotonic() - began < 2
        assert not stage.observer.alive()
    finally:
        os.kill(stage.observer.pid, signal.SIGCONT)


def test_an_observer_that_dies_is_seen_to_be_gone(stage: Stage) -> None:
    os.kill(stage.observer.pid, signal.SIGKILL)
    until(lambda: not stage.observer.alive(), "it is gone")
    assert stage.observer.messages() == []
    stage.observer.look(1, {}, [], "kill", 1)


def test_answers_that_come_in_pieces_are_put_together() -> None:
    decoder = frames.Decoder()
    frame = frames.encode({"event": "moved"})
    got = [message for byte in frame for message in decoder.feed(bytes([byte]))]
    assert got == [{"event": "moved"}]
