"""What the observer sees of a gateway, each question with its failing twin (VER-2)."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from installation import until
from offswitch.control import frames
from offswitch.control.flows import Ends, FlowTable
from offswitch.warden.observer.gateway_look import GatewayLook, Tables
from offswitch.warden.observer.observer import Observer
from offswitch.warden.observer.prober import LATCHED, NOBODY, Answer, Prober
from offswitch.warden.observer_link import ObserverLink

SLOT = 5


class Gateway:
    """A worker's table, a living socket, and what its listener is to answer."""

    def __init__(self) -> None:
        self.table, fd = FlowTable.create(16)
        self.table.swept = 10
        self.tables = Tables()
        self.tables.show(1, fd)
        self.status = LATCHED
        self.asked: list[str] = []
        self.pid = os.getpid()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.client = socket.create_connection(listener.getsockname())
            self.server, _address = listener.accept()

    def ask(self, at: str, target: str) -> Answer:
        self.asked.append(f"{at} {target}")
        answer = Answer()
        answer.status, answer.why = self.status, ""
        return answer

    def look(self, level: str = "kill", **other: Any) -> GatewayLook:  # noqa: ANN401
        facts = {
            "target": "t",
            "slot": SLOT,
            "tables": [[1, 10, self.pid]],
            "listen": ["127.0.0.1:1"],
            "expected": False,
        }
        return GatewayLook({**facts, **other}, level, self.tables, self.ask)

    def sees(self, level: str = "kill", **other: Any) -> tuple[bool | None, str]:  # noqa: ANN401
        """Look until it is known."""
        look = self.look(level, **other)
        end = time.monotonic() + 2
        while True:
            seen = look.once()
            if not look.pending or time.monotonic() > end:
                return seen.stands, seen.detail
            time.sleep(0.002)

    def close(self) -> None:
        for each in (self.client, self.server, self.table):
            each.close()


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    one = Gateway()
    yield one
    one.close()


def test_VER_2_gateway_with_nothing_in_flight_that_swept_and_refuses_is_seen(
    gateway: Gateway,
) -> None:
    assert gateway.sees() == (True, "nothing of it in flight, and the listener refuses")
    assert set(gateway.asked) == {"127.0.0.1:1 t"}


def test_VER_2_gateway_socket_that_lives_is_not_seen_to_be_cut(gateway: Gateway) -> None:
    row = gateway.table.take(SLOT, Ends.of(gateway.server))
    stands, detail = gateway.sees()
    assert stands is False
    assert "1 sockets of it are open" in detail
    gateway.table.upstream(row, Ends.of(gateway.client))
    assert "2 sockets of it are open" in gateway.sees()[1]
    gateway.table.free(row)
    assert gateway.sees()[0]


def test_VER_2_gateway_flow_of_another_target_is_not_its_business(gateway: Gateway) -> None:
    gateway.table.take(SLOT + 1, Ends.of(gateway.server))
    assert gateway.sees()[0]


def test_VER_2_gateway_row_without_a_socket_counts_while_its_worker_lives(
    gateway: Gateway,
) -> None:
    """Destroyed from outside, it is still in the worker's hands; of a dead one nothing is."""
    gateway.table.take(SLOT, Ends.of(gateway.server))
    gateway.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    for each in (gateway.client, gateway.server):
        each.close()
    until(lambda: "1 flows of it" in gateway.sees()[1], "the kernel lets go of it")
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    gateway.pid = ended.pid
    assert gateway.sees()[0]


def test_VER_2_gateway_worker_that_has_not_swept_is_not_seen(gateway: Gateway) -> None:
    gateway.table.swept = 9
    stands, detail = gateway.sees()
    assert stands is False
    assert "not swept" in detail


@pytest.mark.parametrize(
    ("status", "seen", "said"),
    [
        (LATCHED, True, "refuses"),
        (NOBODY, True, "refuses"),
        (200, False, "still takes requests for it (200)"),
        (404, False, "answers no probe"),
        (0, False, "answers no probe"),
    ],
)
def test_VER_2_gateway_listener_is_believed_only_where_it_refuses(
    gateway: Gateway, status: int, *, seen: bool, said: str
) -> None:
    gateway.status = status
    stands, detail = gateway.sees()
    assert (stands, said in detail) == (seen, True), detail


@pytest.mark.parametrize(
    "lack", [{"listen": []}, {"tables": []}, {"tables": [[2, 10, 1]]}, {"expected": True}]
)
def test_VER_2_gateway_of_which_too_little_is_known_is_unknown(
    gateway: Gateway, lack: dict[str, Any]
) -> None:
    assert gateway.sees(**lack)[0] is None


def test_VER_2_gateway_that_garbles_its_table_is_no_reason_to_die(gateway: Gateway) -> None:
    fd = os.dup(gateway.tables.get(1).fileno())  # type: ignore[union-attr]
    os.pwrite(fd, os.urandom(16 * 128), 4096)
    os.close(fd)
    assert gateway.sees()[0] in {True, False, None}


def test_VER_2_gateway_freeze_is_seen_when_no_byte_passes_for_a_while(gateway: Gateway) -> None:
    gateway.table.take(SLOT, Ends.of(gateway.server))
    assert gateway.sees("freeze")[0]
    look = gateway.look("freeze")
    end = time.monotonic() + 0.15
    while time.monotonic() < end:
        gateway.server.send(b"token")
        gateway.client.recv(100)
        assert look.once().stands is not True
        time.sleep(0.002)
    until(lambda: look.once().stands, "it stands still")


def test_VER_2_gateway_is_asked_by_a_child_that_speaks_to_the_real_listener() -> None:
    """What comes back is a number, and a listener that is silent costs half a second at most."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_server(("127.0.0.1", 0)) as silent,
        socket.create_server(("127.0.0.1", 0)) as closed,
    ):
        places = [f"127.0.0.1:{each.getsockname()[1]}" for each in (listener, silent, closed)]
        closed.close()
        ours, theirs = socket.socketpair()
        argv = [sys.executable, "-I", "-m", "offswitch.gateway.prober", "--link"]
        fd = theirs.fileno()
        child = subprocess.Popen([*argv, str(fd)], pass_fds=[fd], stderr=subprocess.DEVNULL)
        theirs.close()
        prober = Prober(ours)
        answers = [prober.ask(place, "shop/eu") for place in places]
        sock, _address = listener.accept()
        with sock:
            asked = sock.recv(4096)
            sock.sendall(b"HTTP/1.1 503 Service Unavailable\r\n\r\n" + bytes(1000))
        assert asked.startswith(b"GET /.offswitch/probe HTTP/1.1\r\n")
        assert b"\r\nx-offswitch-target: shop/eu\r\n" in asked
        until(lambda: prober.hear() and all(a.status is not None for a in answers), "it answers")
        assert [each.status for each in answers] == [LATCHED, 0, NOBODY]
    prober.close()
    assert child.wait(5) == 0


def test_VER_2_gateway_prober_that_answers_nothing_is_stuck() -> None:
    ours, theirs = socket.socketpair()
    now = [0.0]
    prober = Prober(ours, 1, lambda: now[0])

    def answer(number: int) -> None:
        theirs.sendall(frames.encode({"id": number, "status": LATCHED, "why": ""}))
        assert prober.hear()

    with theirs:
        now[0] = 100
        assert not prober.stuck, "nobody asked it anything"
        first = frames.Decoder()
        prober.ask("127.0.0.1:1", "t")
        [asked] = first.feed(theirs.recv(4096))
        now[0] += 9
        assert not prober.stuck, "it may be coming up"
        now[0] += 2
        assert prober.stuck
        answer(asked["id"])
        assert not prober.stuck
        prober.ask("127.0.0.1:1", "t")
        lost = prober.ask("127.0.0.1:1", "t")
        [asked, _other] = first.feed(theirs.recv(4096))
        now[0] += 2
        answer(asked["id"])
        now[0] += 2
        assert not prober.stuck, "it answers, one after another"
        now[0] += 2
        assert prober.stuck
        prober.close()
    assert lost.status == 0, "what it was asked is not seen"


def test_VER_2_gateway_table_that_is_shown_right_after_a_network_was_hidden_is_taken_for_a_table(
    gateway: Gateway,
) -> None:
    """The kernel hands over what came before it in one go with it, descriptor and all."""
    ours, theirs = socket.socketpair()
    link = ObserverLink(ours, os.getpid())
    table = gateway.tables.get(1)
    assert table is not None
    link.hide_net("some cell")
    assert link.show_table(1, table.fileno())
    facts = {"target": "t", "slot": SLOT, "tables": [[1, 99, os.getpid()]], "listen": []}
    about = {"name": "gateway:t", "gateway": {**facts, "expected": False}}
    link.look(1, about, ["gateway"], "kill", 0)
    looking = threading.Thread(target=Observer(theirs).run)
    looking.start()
    said: list[dict[str, Any]] = []
    until(lambda: said.extend(link.messages()) or said, "it answers")
    link.close()
    looking.join()
    theirs.close()
    assert "not swept" in said[0]["detail"], said
