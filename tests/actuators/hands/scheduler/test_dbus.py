"""What comes over D-Bus is read to the last byte, or refused: by another side that is ours."""

from __future__ import annotations

import random
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from offswitch.actuators.hands.contract import Trouble
from offswitch.actuators.hands.scheduler.dbus import Bus, Declined, _put, _split, _values

Serve = Callable[[list[bytes]], Bus]


def answer(signature: str, body: bytes, *, kind: int = 2, name: str = "") -> bytes:
    """Give an answer to the first question."""
    head = bytearray(b"\x05\x01u\0") + struct.pack("<I", 1)
    for code, of, text in ((8, "g", signature), (4, "s", name)):
        if text:
            head += bytes(-len(head) % 8) + bytes([code])
            _put(head, "g", of)
            _put(head, of, text)
    start = bytearray(struct.pack("<4BIII", ord("l"), kind, 0, 1, len(body), 7, len(head)))
    start += head
    return bytes(start + bytes(-len(start) % 8) + body)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "bus"))
    listener.listen()
    threads: list[threading.Thread] = []
    buses: list[Bus] = []

    def make(pieces: list[bytes]) -> Bus:
        def talk() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.recv(1000)
                peer.sendall(b"OK 00\r\nAGREE_UNIX_FD\r\n")
                peer.recv(10_000)
                for piece in pieces:
                    peer.sendall(piece)

        threads.append(threading.Thread(target=talk))
        threads[-1].start()
        buses.append(Bus(str(tmp_path / "bus"), "a.b", hello=False, timeout_s=1.0))
        return buses[-1]

    yield make
    for each in buses:
        each.close()
    for thread in threads:
        thread.join()
    listener.close()


def test_a_value_of_each_type_comes_as_it_was_sent_piece_by_piece(serve: Serve) -> None:
    body = bytearray()
    for kind, value in (("s", "llm"), ("b", True), ("t", 1 << 40), ("as", ["a", "bc"])):
        _put(body, kind, value)
    whole = answer("sbtas", bytes(body))
    bus = serve([bytes([each]) for each in whole])
    assert bus.call("/a", "a.b", "Get", "ss", "x", "y") == ["llm", True, 1 << 40, ["a", "bc"]]
    assert _split("sba(sv)a{sv}(s(uo))") == ["s", "b", "a(sv)", "a{sv}", "(s(uo))"]


def test_an_error_is_told_by_its_name(serve: Serve) -> None:
    body = bytearray()
    _put(body, "s", "no such unit")
    bus = serve([answer("s", bytes(body), kind=3, name="org.freedesktop.systemd1.NoSuchUnit")])
    with pytest.raises(Declined, match="NoSuchUnit: no such unit") as caught:
        bus.call("/a", "a.b", "Get")
    assert caught.value.name == "org.freedesktop.systemd1.NoSuchUnit"


def test_SR_4_who_hangs_up_or_talks_nonsense_is_trouble_and_never_an_answer(serve: Serve) -> None:
    nonsense = [b"", b"x" * 16, struct.pack("<4BIII", ord("l"), 2, 0, 1, 1 << 30, 7, 0)]
    nonsense += [answer("s", struct.pack("<I", 1 << 20)), answer("v" * 40, b"\1v\0" * 40)]
    for each in nonsense:
        with pytest.raises(Trouble):
            serve([each]).call("/a", "a.b", "Get")


def test_no_body_makes_the_reader_do_anything_but_read_or_refuse() -> None:
    chance = random.Random(7)
    for _ in range(3000):
        kinds = "".join(chance.choice("ybnqiuxtdsogv") for _ in range(chance.randint(1, 5)))
        signature = chance.choice([kinds, f"a({kinds})", f"a{{s{kinds[0]}}}", f"aa{kinds[0]}"])
        body = chance.randbytes(chance.randint(0, 60))
        try:
            _values(signature, body)
        except (struct.error, IndexError, UnicodeDecodeError, RecursionError):
            continue
