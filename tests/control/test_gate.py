"""A gate's end of its attachment, against a scripted warden."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from offswitch.control import frames
from offswitch.control.flows import FlowReader, FlowTable
from offswitch.control.gate import Attachment, Gate
from offswitch.errors import OffswitchError, Refused, Timeout, Unreachable

ATTACHMENT = Attachment("models", ["shop/eu"], ["127.0.0.1:8100"], ["127.0.0.1:8000"], worker=0)
SLOTS = {"ok": True, "slots": {"shop/eu": 4}, "turn": 100, "page": "/page"}


class Warden:
    """One that says what the test has it say."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(1)
        self.peer: socket.socket | None = None

    def asked(self) -> tuple[dict[str, Any], list[int]]:
        self.peer, _address = self.listener.accept()
        return self.again()

    def again(self) -> tuple[dict[str, Any], list[int]]:
        assert self.peer is not None
        self.peer.settimeout(2)
        got = frames.receive(self.peer)
        assert got is not None
        return got

    def say(self, message: dict[str, Any], *fds: int) -> None:
        assert self.peer is not None
        frames.send(self.peer, message, fds)

    def die(self) -> None:
        if self.peer is not None:
            self.peer.close()
        self.listener.close()
        os.unlink(self.path)


@pytest.fixture
def warden(tmp_path: Path) -> Iterator[Warden]:
    warden = Warden(str(tmp_path / "warden"))
    yield warden
    if os.path.exists(warden.path):
        warden.die()


def test_a_gate_hands_in_its_table_and_gets_slots_turn_and_page(
    warden: Warden, tmp_path: Path
) -> None:
    table, fd = FlowTable.create(4)
    gate = Gate(warden.path, ATTACHMENT, fd)
    gate.begin()
    assert not gate.slots
    message, fds = warden.asked()
    assert (message["op"], message["part"], message["worker"]) == ("gate", "worker", 0)
    assert message["targets"] == ["shop/eu"]
    reader = FlowReader(fds[0])
    assert reader.rows == 4
    page = tmp_path / "page"
    page.write_bytes(b"the page")
    with page.open("rb") as file:
        warden.say(SLOTS, file.fileno())
    assert gate.hear() == 100
    assert gate.attached
    assert gate.slots == {"shop/eu": 4}
    assert os.pread(gate.page, 8, 0) == b"the page"
    gate.end()
    reader.close()
    table.close()
    os.close(fd)


def test_ACT_4_turns_are_heard_without_waiting_and_the_newest_counts(warden: Warden) -> None:
    gate = Gate(warden.path, ATTACHMENT)
    gate.begin()
    warden.asked()
    warden.say(SLOTS)
    gate.hear()
    assert gate.hear() is None
    for turn in (101, 102, 103):
        warden.say({"event": "words", "turn": turn})
    assert gate.hear() == 103
    assert gate.note("collateral", target="shop/us", streams=3)
    assert warden.again()[0] == {
        "op": "gate-note",
        "what": "collateral",
        "target": "shop/us",
        "streams": 3,
    }
    gate.end()


def test_ACT_6_a_lost_warden_is_told_and_the_next_one_is_found(warden: Warden) -> None:
    gate = Gate(warden.path, ATTACHMENT)
    gate.begin()
    warden.asked()
    warden.say(SLOTS)
    gate.hear()
    warden.die()
    with pytest.raises(Unreachable):
        gate.hear()
    assert gate.fileno() == -1
    assert gate.slots == {"shop/eu": 4}  # the words stay where they are, and go stale
    assert not gate.note("killed")
    with pytest.raises(Unreachable):
        gate.begin()
    after = Warden(warden.path)
    gate.begin()
    after.asked()
    after.say({**SLOTS, "turn": 200})
    assert gate.hear() == 200
    assert gate.attached
    gate.end()
    after.die()


def test_a_refusal_is_raised_as_what_it_is(warden: Warden) -> None:
    gate = Gate(warden.path, ATTACHMENT)
    gate.begin()
    warden.asked()
    warden.say({"error": {"kind": "refused", "message": "not you", "hint": ""}, "exit": 5})
    with pytest.raises(Refused, match="not you"):
        gate.hear()
    assert not gate.attached


@pytest.mark.parametrize("said", [b"\xff\xff\xff\xff", b"\0\0\0\2no", b'\0\0\0\1"'])
def test_garbage_from_the_warden_ends_the_attachment(warden: Warden, said: bytes) -> None:
    gate = Gate(warden.path, ATTACHMENT)
    gate.begin()
    warden.asked()
    assert warden.peer is not None
    warden.peer.send(said)
    with pytest.raises(OffswitchError):
        gate.hear()
    assert gate.fileno() == -1


def test_a_warden_that_says_nothing_is_not_waited_for_for_ever(warden: Warden) -> None:
    gate = Gate(warden.path, ATTACHMENT)
    with pytest.raises(Timeout):
        gate.attach(0.05)


def test_descriptors_that_nobody_wants_are_closed(warden: Warden) -> None:
    gate = Gate(warden.path, ATTACHMENT)
    gate.begin()
    warden.asked()
    reading, writing = os.pipe()
    warden.say({"event": "words", "turn": 5}, writing)
    os.close(writing)
    gate.hear()
    gate.end()
    os.set_blocking(reading, False)
    assert os.read(reading, 1) == b""
    os.close(reading)


def test_a_supervisor_has_no_table_and_hands_in_nothing(warden: Warden) -> None:
    gate = Gate(warden.path, Attachment("models", ["shop"]))
    gate.begin()
    message, fds = warden.asked()
    assert (message["part"], message["worker"], fds) == ("supervisor", None, [])
    gate.end()
