"""Ten thousand presses at the same moment: each is accepted, and together they are one stop."""

from __future__ import annotations

import select
import socket
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from installation import PYTHON, Installation
from offswitch.control import frames
from offswitch.control.client import connect
from scale import runs

_AT_ONCE = 50
"""Presses on each connection, all sent before an answer is read."""


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(tmp_path).start()
    yield installation
    installation.close()


def test_SEC_4_ten_thousand_stops_at_once_are_accepted_and_are_one(one: Installation) -> None:
    """Each with a nonce of its own: ten thousand people, and not one press sent again."""
    running = one.run(PYTHON, "-c", "import time; time.sleep(600)", target="shop/a")
    presses = runs(10_000)
    lines = [connect(one.place.warden_socket, 20.0) for _ in range(presses // _AT_ONCE)]
    try:
        for sock in lines:
            message = b"".join(frames.encode(one.stop_message("shop/a")) for _ in range(_AT_ONCE))
            sock.sendall(message)
        accepted, final = _answers(lines, presses)
    finally:
        for sock in lines:
            sock.close()
    assert accepted.total() == final == presses, "every one of them is accepted, and answered"
    assert len(accepted) == 1, "all by the name of the same stop"
    [latched] = one.status()["latched"]
    assert latched["digest"] in accepted
    assert latched["count"] == presses
    assert one.target("shop/a")["confirmed"]
    assert running.event("exited")["signal"] == 9
    assert one.reset("shop/a")["state"] == "done"
    assert one.status()["latched"] == [], "one reset clears it: nothing of the others was left"


def _answers(lines: list[socket.socket], presses: int) -> tuple[Counter[str], int]:
    """Read until each press has had both of its answers; count by order."""
    accepted: Counter[str] = Counter()
    final, end = 0, time.monotonic() + 60
    decoders = {sock: frames.Decoder(frames.MAX_ANSWER) for sock in lines}
    while final < presses or accepted.total() < presses:
        assert time.monotonic() < end, f"{accepted.total()} accepted, {final} answered"
        for sock in select.select(lines, [], [], 1.0)[0]:
            data = sock.recv(1 << 18)
            assert data, "the warden hung up"
            for message in decoders[sock].feed(data):
                assert "error" not in message, message
                if message.get("accepted"):
                    accepted[message["order"]] += 1
                else:
                    assert message["confirmed"], message
                    final += 1
    return accepted, final
