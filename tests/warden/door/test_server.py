"""Connections and the loop that serves them, without a warden around them."""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from offswitch.control.frames import MAX_FRAME, encode
from offswitch.control.peer import Peer
from offswitch.errors import Refused
from offswitch.warden.door import server as server_module
from offswitch.warden.door.closer import Closer
from offswitch.warden.door.connection import Connection
from offswitch.warden.door.server import Server, listen
from offswitch.warden.loop import Loop
from offswitch.warden.respawn import Respawn


class Room:
    """A server in a loop of its own, whose turns the test takes."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "socket")
        self.defects: list[BaseException] = []
        self.heard: list[dict[str, Any]] = []
        self.broken: list[str] = []
        self.left = 0
        self.loop = Loop(self.defects.append)
        self.server = Server(
            self.loop,
            listen(self.path, 0o600, os.getegid()),
            handle=self.handle,
            hung_up=self.hung_up,
            broken=self.note_broken,
        )
        self.peers: list[socket.socket] = []

    def handle(self, connection: Connection, message: dict[str, Any]) -> None:
        self.heard.append(message)
        match message.get("op"):
            case "refuse":
                raise Refused("no", "ask nicely")
            case "fail":
                raise ZeroDivisionError("a defect")
            case "much":
                connection.reply({"text": "x" * (MAX_FRAME * 3)})
            case "bad":
                connection.reply({"text": "\ud800"})
            case _:
                connection.reply({"n": message.get("n")})

    def hung_up(self, _connection: Connection) -> None:
        self.left += 1

    def note_broken(self, _peer: Peer, what: str) -> None:
        self.broken.append(what)

    def peer(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        sock.setblocking(False)
        sock.connect(self.path)
        self.peers.append(sock)
        return sock

    def turn(self, times: int = 3) -> None:
        for _ in range(times):
            self.loop.turn(0.002)

    def read(self, sock: socket.socket) -> bytes:
        try:
            return sock.recv(1 << 20)
        except BlockingIOError:
            return b"nothing yet"

    def close(self) -> None:
        for sock in self.peers:
            sock.close()
        self.server.close()


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    one = Room(tmp_path)
    yield one
    one.close()


def test_a_peer_that_asks_for_much_shares_every_pass_with_the_others(room: Room) -> None:
    greedy, modest = room.peer(), room.peer()
    greedy.send(b"".join(encode({"op": "ask", "n": n}) for n in range(100)))
    modest.send(encode({"op": "ask", "n": 1000}))
    room.turn(1)
    at = next(i for i, message in enumerate(room.heard) if message["n"] == 1000)
    assert at <= 16, "the modest one waited for the greedy one"
    room.turn(30)
    assert [m["n"] for m in room.heard if m["n"] < 1000] == list(range(100)), "all, in order"


def test_who_does_not_listen_is_asked_nothing_more_until_it_does(room: Room) -> None:
    deaf = room.peer()
    deaf.send(encode({"op": "much"}) * 20)
    room.turn(30)
    assert len(room.heard) == 1, "its next questions wait"
    got = 0
    while len(room.heard) < 20:
        room.turn(1)
        got += len(room.read(deaf))
    assert got > MAX_FRAME * 3


def test_what_a_handler_raises_is_its_answer_and_the_next_message_is_served(room: Room) -> None:
    peer = room.peer()
    asked = [{"op": op, "n": 1} for op in ("refuse", "fail", "bad", "ask")]
    peer.send(b"".join(map(encode, asked)))
    room.turn(5)
    said = room.read(peer)
    assert b'"kind":"refused"' in said
    assert b'"kind":"internal"' in said
    assert b'{"n":1}' in said
    assert [type(error) for error in room.defects] == [ZeroDivisionError]


def test_a_frame_that_drips_in_for_too_long_ends_its_connection(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "_DRIP_S", 0.05)
    dripping, idle, asking = room.peer(), room.peer(), room.peer()
    frame = encode({"op": "ask", "n": 1})
    end = time.monotonic() + 0.1
    for at in range(len(frame)):
        dripping.send(frame[at : at + 1])
        room.turn(1)
        if time.monotonic() > end:
            break
        time.sleep(0.005)
    asking.send(frame + frame[:3])
    room.turn()
    room.server._end_drips()
    assert room.read(dripping) == b""
    assert room.broken == ["a message that takes too long"]
    asking.send(frame[3:])
    idle.send(frame)
    room.turn()
    assert room.read(asking).count(b'"n":1') == 2
    assert b'"n":1' in room.read(idle)


def test_an_answer_with_a_descriptor_keeps_it_while_others_wait_before_it(room: Room) -> None:
    peer = room.peer()
    peer.send(encode({"op": "much"}))
    room.turn()
    [connection] = room.server._connections
    reader, writer = os.pipe()
    connection.reply({"log": 1}, writer)
    os.close(writer)
    data, fds = b"", []
    while b'"log"' not in data:
        room.turn(1)
        try:
            more, new, _flags, _address = socket.recv_fds(peer, 1 << 20, 4)
        except BlockingIOError:
            continue
        data += more
        fds += new
    os.write(fds[0], b"here")
    assert os.read(reader, 9) == b"here"
    os.close(reader)
    os.close(fds[0])


def test_hanging_up_is_heard_once(room: Room) -> None:
    peer = room.peer()
    peer.send(encode({"op": "ask"}))
    room.turn()
    peer.close()
    room.turn()
    assert room.left == 1
    assert len(room.server) == 0


def test_the_closer_closes_all_and_waits_for_none() -> None:
    closer = Closer()
    pipes = [os.pipe() for _ in range(50)]
    closer.close([writer for _reader, writer in pipes], 7)
    end = time.monotonic() + 5
    while closer.left(7) and time.monotonic() < end:
        time.sleep(0.001)
    assert closer.left(7) == 0
    for reader, _writer in pipes:
        assert os.read(reader, 1) == b""
        os.close(reader)


def test_a_closer_that_is_held_up_counts_what_is_left_against_its_user() -> None:
    closer = Closer()
    stuck = []
    for _ in range(12):
        with socket.create_server(("127.0.0.1", 0)) as server:
            sock = socket.create_connection(server.getsockname())
            peer, _address = server.accept()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 60))
        sock.setblocking(False)
        try:
            while True:
                sock.send(b"x" * 65536)
        except BlockingIOError:
            pass
        stuck.append(peer)
        closer.close([sock.detach()], 8)
    began = time.monotonic()
    assert closer.left(8) == 12
    assert time.monotonic() - began < 5
    for peer in stuck:
        peer.close()
    end = time.monotonic() + 10
    while closer.left(8) and time.monotonic() < end:
        time.sleep(0.002)
    assert closer.left(8) == 0


# --- the loop -------------------------------------------------------------------------


def test_a_callback_that_raises_ends_nothing() -> None:
    defects: list[BaseException] = []
    loop = Loop(defects.append)
    done: list[int] = []
    loop.later(0, lambda: 1 // 0)
    loop.later(0, lambda: done.append(1))
    loop.turn(0.01)
    assert len(defects) == 1
    assert done == [1]


def test_what_recurs_goes_on_though_it_raises() -> None:
    defects: list[BaseException] = []
    loop = Loop(defects.append)
    count = 0

    def act() -> None:
        nonlocal count
        count += 1
        if count > 1:
            raise ValueError("each time")

    loop.every(0.001, act)
    while count < 5:
        loop.turn(0.01)
    assert len(defects) == count - 1


def test_work_in_a_thread_comes_back_or_is_recorded() -> None:
    defects: list[BaseException] = []
    loop = Loop(defects.append)
    got: list[int] = []
    loop.in_thread(lambda: 7, got.append)
    loop.in_thread(lambda: 1 // 0, got.append)
    while not (got and defects):
        loop.turn(0.1)
    assert got == [7]
    assert isinstance(defects[0], ZeroDivisionError)


def test_a_helper_is_tried_again_for_ever_and_not_in_a_tight_loop() -> None:
    defects: list[BaseException] = []
    loop = Loop(defects.append)
    tried: list[float] = []

    def start() -> None:
        tried.append(time.monotonic())
        raise OSError(24, "no descriptor")

    Respawn(loop, start).begin()
    end = time.monotonic() + 0.8
    while time.monotonic() < end:
        loop.turn(0.05)
    pauses = [after - before for before, after in pairwise(tried)]
    assert 2 <= len(tried) <= 6
    assert pauses == sorted(pauses), "later each time"
    assert len(defects) == len(tried)
