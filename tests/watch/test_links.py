"""The lines of watch: to the warden, to the keeper, to the recorder, to its eyes."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from installation import Installation, until
from offswitch.clock import Clock, SimulatedClock, SystemClock
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
def recorded(tmp_path: Path, as_root: None) -> Iterator[Installation]:
    installation = Installation(tmp_path)
    try:
        yield installation.start()
    finally:
        installation.close()


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
    clock = SimulatedClock(1_000_000)
    link = WardenLink(place, clock)
    link.pump()
    link.stop(_decision())
    keeper.sock.setblocking(False)
    clock.advance(20_000)
    link.pump()
    with pytest.raises(BlockingIOError):
        keeper.sock.accept()
    clock.advance(1)
    link.pump()
    first = _receive(keeper.accept())
    assert first["nonce"]
    clock.advance(179_999)
    link.pump()
    assert not os.path.exists(f"{place.spool}/shop%2Fagent")
    clock.advance(1)
    link.pump()
    assert os.path.exists(f"{place.spool}/shop%2Fagent")
    # Again each second, by the same nonce, so that it stays one press.
    clock.advance(800_000)
    link.pump()
    clock.advance(20_001)
    link.pump()
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
        clock = SimulatedClock(1_000_000)
        link = WardenLink(place, clock)
        link.stop(_decision(level, scope))
        clock.advance(200_001)
        link.pump()
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
    clock = SimulatedClock(1_000_000)
    link = WardenLink(place, clock)
    link.pump()
    lines = [link._line, link._spare]
    for peer in (warden.accept(), warden.accept()):
        peer.sendall(b"\xff" * 64)
    clock.advance(100_000)
    link.pump()
    assert link.connected
    assert link._line not in lines
    assert link._spare not in lines
    link.close()


# --- the scribe -------------------------------------------------------------------


def _scribe(place: Place, clock: Clock | None = None) -> Scribe:
    scribe = Scribe(place, clock or SystemClock())
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
    clock = SimulatedClock(1_000_000)
    scribe = _scribe(place, clock)
    scribe.add(EntryKind.NOTE, {"what": "one"})
    scribe.pump()
    recorder.accept().close()
    scribe.add(EntryKind.NOTE, {"what": "two"})
    until(lambda: scribe.pump() or len(scribe._waiting) == 2, "both wait again")
    clock.advance(500_000)
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


def test_REC_3_what_a_target_writes_makes_no_batch_too_large(recorded: Installation) -> None:
    """To a real recorder: one batch by their number, three times a frame by their text."""
    scribe = Scribe(recorded.place, SystemClock())
    scribe.of(recorded.ask({"op": "ping"})["installation"])
    evidence = {f"row_{n}": "\x1b" * 1900 for n in range(12)}
    for number in range(20):
        scribe.finding(Finding("rate()", "a", "db.x", str(number), 5, 1.0, evidence))
    scribe.add(EntryKind.NOTE, {"what": "far too much", "rows": [{"x": "y" * 1999}] * 3000})
    scribe.add(EntryKind.NOTE, {"what": "after it"})
    until(lambda: scribe.pump() or not (scribe.waiting or scribe._lost), "all is handed in")
    scribe.close()
    entries = recorded.entries()
    found = [one["what"] for one in entries if one["kind"] == "finding"]
    assert found == [str(number) for number in range(20)]
    assert [one["what"] for one in entries if one["kind"] == "gap"] == ["1 entries of watch"]
    assert any(one.get("what") == "after it" for one in entries)


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


def test_an_eye_that_takes_nothing_in_is_given_up_and_holds_nobody_up(eye: EyeLink) -> None:
    clock = eye._clock = SimulatedClock(1)
    eye.start()
    pid = eye.pid
    assert pid
    os.kill(pid, 19)
    for number in range(3000):
        eye.open({"name": f"s{number}", "target": "t", "kind": "x", "text": "x" * 1000}, None)
    assert eye.writing
    clock.advance(9_000_000)
    eye.flush()
    assert eye.fileno() is not None, "it may be long at its first look"
    clock.advance(2_000_000)
    eye.flush()
    assert eye.fileno() is None
    assert not eye.writing
    until(lambda: not os.path.exists(f"/proc/{pid}") or eye.revive(), "it is dead")


def test_no_name_that_a_target_gives_its_columns_ends_an_eye(eye: EyeLink, tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    columns = ", ".join(f'"{n:02}{chr(1) * 900}" INT' for n in range(64))
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute(f"CREATE TABLE t (id INTEGER PRIMARY KEY, {columns})")
        db.execute(f"INSERT INTO t VALUES (1{', 7' * 64})")
    section = {"name": "db", "target": "a", "kind": "sqlite", "path": str(path), "tables": ["t"]}
    eye.open({**section, "every": "100ms"}, None)
    eye.start()
    read: set[str] = set()

    def all_told() -> bool:
        for message in eye.messages():
            read.update(sample[2].get("column", "") for sample in message["samples"])
        return len(read) > 64

    until(all_told, "each column is told of")
    assert (eye.lives, eye.lost) == (1, "")


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
