"""The lines of watch: to the warden, to the keeper, to the recorder, to its eyes."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from installation import until
from offswitch.clock import SystemClock
from offswitch.control import frames
from offswitch.control.place import Place
from offswitch.model.decision import Choice, Decision
from offswitch.model.entry import EntryKind, missing_fields
from offswitch.model.finding import Finding
from offswitch.model.level import Level
from offswitch.model.scope import Scope
from offswitch.watch.eyes import EyeLink
from offswitch.watch.scribe import Scribe
from offswitch.watch.sensors.contract import Need
from offswitch.watch.warden_link import WardenLink

Message = dict[str, Any]


class Listener:
    """A socket in the place of a warden, keeper or recorder, as slow as a test wants."""

    def __init__(self, path: str) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.bind(path)
        self.sock.listen(8)
        self.sock.settimeout(5)
        self.peers: list[socket.socket] = []

    def accept(self) -> socket.socket:
        peer, _ = self.sock.accept()
        peer.settimeout(5)
        self.peers.append(peer)
        return peer

    def close(self) -> None:
        for sock in (*self.peers, self.sock):
            sock.close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    run = tempfile.mkdtemp(prefix="offswitch-links-", dir="/dev/shm")
    os.makedirs(f"{run}/control")
    os.makedirs(f"{run}/stop")
    yield Place(str(tmp_path / "home"), run)
    shutil.rmtree(run)


@pytest.fixture
def listen() -> Iterator[Callable[[str], Listener]]:
    made: list[Listener] = []

    def one(path: str) -> Listener:
        made.append(Listener(path))
        return made[-1]

    yield one
    for listener in made:
        listener.close()


def _decision(level: Level = Level.KILL, scope: str = "shop/agent") -> Decision:
    return Decision(Choice.STOP, "rule:r", Scope(scope), level, "harm: x\ud800", 7)


def _receive(sock: socket.socket) -> Message:
    got = frames.receive(sock)
    assert got is not None
    return got[0]


def test_a_stop_leaves_on_a_line_that_was_open_beforehand(
    place: Place, listen: Callable[[str], Listener]
) -> None:
    warden = listen(place.warden_socket)
    link = WardenLink(place, SystemClock())
    link.pump()
    lines = [warden.accept(), warden.accept()]
    warden.sock.setblocking(False)
    link.stop(_decision())
    message = next(_receive(one) for one in lines if _readable(one))
    with pytest.raises(BlockingIOError):
        warden.sock.accept()
    assert (message["op"], message["scopes"], message["level"]) == ("stop", ["shop/agent"], "kill")
    assert (message["channel"], message["by"], message["time_us"]) == ("rule", "rule:r", 7)
    assert link.chasing()
    link.close()


def _readable(sock: socket.socket) -> bool:
    sock.setblocking(False)
    try:
        return bool(sock.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False
    finally:
        sock.settimeout(5)


def test_a_press_is_over_when_it_is_confirmed(
    place: Place, listen: Callable[[str], Listener]
) -> None:
    warden = listen(place.warden_socket)
    link = WardenLink(place, SystemClock())
    press = link.stop(_decision())
    peer = warden.accept()
    _receive(peer)
    frames.send(peer, {"accepted": True, "order": "ab" * 32, "orders": []})
    until(lambda: link.pump() == [] and press.accepted, "it is accepted")
    assert not link.chasing()
    frames.send(peer, {"order": "ab" * 32, "confirmed": True})
    over: list[object] = []
    until(lambda: over.extend(link.pump()) or over, "it is over")
    assert over == [press]
    assert press.answer["confirmed"] is True
    link.close()


def test_SR_11_what_the_warden_does_not_accept_goes_to_the_keeper_then_to_the_spool(
    place: Place, listen: Callable[[str], Listener]
) -> None:
    listen(place.warden_socket)  # it listens, and never answers
    keeper = listen(place.keeper_socket)
    link = WardenLink(place, SystemClock())
    link.pump()
    link.stop(_decision())
    begin = time.monotonic()
    while not os.path.exists(f"{place.spool}/shop%2Fagent"):
        assert time.monotonic() - begin < 5
        link.pump()
        time.sleep(0.002)
    spooled = time.monotonic() - begin
    first = _receive(keeper.accept())
    assert spooled >= 0.2
    assert first["nonce"]
    # Again each second, by the same nonce, so that it stays one press.
    keeper.sock.settimeout(5)
    begin = time.monotonic()
    while time.monotonic() - begin < 1.3:
        link.pump()
        time.sleep(0.01)
    second = _receive(keeper.accept())
    assert (second["nonce"], second["time_us"]) == (first["nonce"], first["time_us"])
    link.close()


def test_SR_11_without_any_listener_a_kill_is_in_the_spool_and_a_lesser_stop_is_not(
    place: Place,
) -> None:
    for level, scope, name in (
        (Level.RESTRICT, "a", "a"),
        (Level.KILL, "/", "all"),
        (Level.KILL, "tenant=acme/x", "tenant=acme%2Fx"),
    ):
        link = WardenLink(place, SystemClock())
        link.stop(_decision(level, scope))
        begin = time.monotonic()
        while time.monotonic() - begin < 0.3:
            link.pump()
            time.sleep(0.005)
        assert os.path.exists(f"{place.spool}/{name}") == (level is Level.KILL)
        link.close()


def test_nothing_waits_for_a_warden_that_takes_nothing_in(
    place: Place, listen: Callable[[str], Listener]
) -> None:
    listen(place.warden_socket)
    link = WardenLink(place, SystemClock())
    link.pump()
    begin = time.monotonic()
    for _ in range(200):
        link.ask({"op": "report", "signals": {"x" * 1000: {}}}, lambda _answer: None)
        link.pump()
    link.stop(_decision())
    assert time.monotonic() - begin < 1
    link.close()


def test_garbage_from_the_warden_closes_the_line_and_another_takes_its_place(
    place: Place, listen: Callable[[str], Listener]
) -> None:
    warden = listen(place.warden_socket)
    link = WardenLink(place, SystemClock())
    link.pump()
    for peer in (warden.accept(), warden.accept()):
        peer.sendall(b"\xff" * 64)
    time.sleep(0.15)
    link.pump()
    time.sleep(0.15)
    link.pump()
    assert link.connected
    link.close()


# --- the scribe -------------------------------------------------------------------


def _scribe(place: Place) -> Scribe:
    scribe = Scribe(place, SystemClock())
    scribe.of("ab" * 16)
    return scribe


def test_entries_are_whole_plain_and_canonical(
    place: Place, listen: Callable[[str], Listener]
) -> None:
    recorder = listen(place.recorder_socket)
    scribe = _scribe(place)
    evidence = {"row": "\ud800\x1b[2J", "n": "x" * 9999}
    scribe.finding(Finding("rate()", "shop/agent", "db.x", "it\ud800", 5, float("inf"), evidence))
    scribe.decision(_decision(), prior="running", state="stop ordered", nonce="n")
    said = {"channel": "watch", "what": "x", "why": "y", "prior": "ok", "state": "stale"}
    more = {"share": 0.5, "good": True, "much": 1 << 60}
    scribe.add(EntryKind.WATCH, {**said, **more}, {"by": "watch"})
    scribe.pump()
    message = _receive(recorder.accept())
    assert message["op"] == "record"
    for entry in message["entries"]:
        assert missing_fields(entry["public"], entry["sealed"]) == []
        assert '"' + "\ud800" not in repr(entry)
    found, decided, watched = (entry["public"] for entry in message["entries"])
    assert found["score"] == "inf"
    assert (decided["choice"], decided["level"], decided["nonce"]) == ("stop", "kill", "n")
    assert (watched["share"], watched["good"], watched["much"]) == ("0.5", "yes", str(1 << 60))
    assert message["entries"][1]["sealed"] == {"by": "rule:r"}
    scribe.close()


def test_REC_3_what_a_dead_recorder_did_not_confirm_is_handed_in_again(
    place: Place, listen: Callable[[str], Listener]
) -> None:
    recorder = listen(place.recorder_socket)
    scribe = _scribe(place)
    scribe.add(EntryKind.NOTE, {"what": "one"})
    scribe.pump()
    recorder.accept().close()
    scribe.add(EntryKind.NOTE, {"what": "two"})
    time.sleep(0.05)
    until(lambda: scribe.pump() or scribe.waiting == 2, "both wait again")
    time.sleep(0.5)
    scribe.pump()
    peer = recorder.accept()
    message = _receive(peer)
    assert [entry["public"]["what"] for entry in message["entries"]] == ["one", "two"]
    frames.send(peer, {"ok": True, "indexes": [0, 1]})
    until(lambda: scribe.pump() or scribe.waiting == 0, "both are durable")
    scribe.close()


def test_REC_3_beyond_its_room_the_oldest_are_dropped_and_the_gap_is_told_first(
    place: Place, listen: Callable[[str], Listener]
) -> None:
    scribe = _scribe(place)
    for number in range(10_050):
        scribe.add(EntryKind.NOTE, {"what": str(number)})
    assert scribe.waiting == 10_000
    recorder = listen(place.recorder_socket)
    scribe.pump()
    first, second, *_ = _receive(recorder.accept())["entries"]
    assert first["public"]["kind"] == "gap"
    assert "50 entries" in first["public"]["what"]
    assert second["public"]["what"] == "50"
    scribe.close()


# --- the eyes ---------------------------------------------------------------------


@pytest.fixture
def eye() -> Iterator[EyeLink]:
    one = EyeLink("test", frozenset({Need.FILES}), SystemClock())
    yield one
    one.end()


def test_an_eye_that_is_told_nonsense_dies_and_is_started_again(eye: EyeLink) -> None:
    eye.start()
    first = eye.pid
    assert first
    eye._send({"open": {"kind": "no such kind"}})
    until(lambda: eye.messages() == [] and eye.fileno() is None, "it is lost")
    until(eye.revive, "and started again", 5)
    assert eye.pid != first


def test_an_eye_that_takes_nothing_in_is_given_up_at_once(eye: EyeLink) -> None:
    eye.start()
    pid = eye.pid
    assert pid
    os.kill(pid, 19)
    begin = time.monotonic()
    for number in range(400):
        eye.tell_cells({f"t{number}-{n}": {"path": "x" * 100} for n in range(100)})
        if eye.fileno() is None:
            break
    assert eye.fileno() is None
    assert time.monotonic() - begin < 3
    until(lambda: not os.path.exists(f"/proc/{pid}") or eye.revive(), "it is dead")


def test_an_eye_ends_with_its_link(eye: EyeLink) -> None:
    eye.start()
    pid, process = eye.pid, eye._process
    assert pid
    assert process is not None
    until(lambda: eye.messages() == [] and eye.ready, "it is up", 10)
    assert eye._sock is not None
    eye._sock.close()
    eye._sock = None
    assert process.wait(5) == 0


def test_the_cells_of_a_fleet_are_heard_whole(
    place: Place, listen: Callable[[str], Listener]
) -> None:
    """An answer is longer than any question may be."""
    warden = listen(place.warden_socket)
    link = WardenLink(place, SystemClock())
    link.pump()
    _spare, asked = warden.accept(), warden.accept()
    heard: list[Message] = []
    assert link.ask({"op": "cells"}, heard.append)
    cells = [{"target": f"fleet/{'x' * 180}{number}"} for number in range(6000)]
    answer = frames.encode({"cells": cells}, frames.MAX_ANSWER)
    assert len(answer) > frames.MAX_FRAME
    sending = threading.Thread(target=asked.sendall, args=(answer,))
    sending.start()
    try:
        until(lambda: link.pump() or heard or not link.connected, "the answer comes", 5)
    finally:
        link.close()
        sending.join()
    assert [len(said["cells"]) for said in heard] == [len(cells)]
