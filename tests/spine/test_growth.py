"""A flood of stops: each is accepted, none is in another's way, and the record stays readable."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from disk import mounted
from installation import PYTHON, Installation, until
from needs import needs_root
from offswitch.control import frames
from reboot import wipe
from scale import LONG

SECONDS = 60 if LONG else 2
A_SECOND = 1000
IDLE = "import time\nwhile True: time.sleep(1)"


class Flood:
    """Presses a thousand times a second over a few connections, and reads every answer."""

    def __init__(self, one: Installation, connections: int = 8) -> None:
        self.accepted = 0
        self.sent = 0
        self.errors: list[Any] = []
        self._socks = [socket.socket(socket.AF_UNIX) for _ in range(connections)]
        self._decoders = {sock: frames.Decoder(frames.MAX_ANSWER) for sock in self._socks}
        for sock in self._socks:
            sock.connect(one.place.warden_socket)

    def go(self, scope: Callable[[int], str], seconds: float) -> None:
        began = time.monotonic()
        count = int(seconds * A_SECOND)
        for number in range(count):
            sock = self._socks[number % len(self._socks)]
            frames.send(sock, Installation.stop_message(scope(number)))
            self.sent += 1
            self.read(max(0.0, began + number / A_SECOND - time.monotonic()))

    def read(self, patience_s: float) -> None:
        for sock in select.select(self._socks, [], [], patience_s)[0]:
            for message in self._decoders[sock].feed(sock.recv(1 << 20)):
                self.accepted += message.get("accepted") is True
                if "error" in message:
                    self.errors.append(message)

    def finish(self) -> None:
        def all_accepted() -> bool:
            self.read(0.05)
            return self.accepted + len(self.errors) >= self.sent

        until(all_accepted, "every press is answered", 60)
        for sock in self._socks:
            sock.close()


def _orders(one: Installation, prefix: str) -> list[dict[str, Any]]:
    entries = [e for e in one.entries() if e["kind"] == "order"]
    return [e for e in entries if str(e["scope"]).startswith(prefix) and e.get("what") is None]


@pytest.mark.parametrize("kind", ["distinct", "equal", "of what runs"])
def test_SR_17_of_a_thousand_stops_a_second_each_is_accepted_and_a_cell_is_still_stopped(
    installation: Installation, kind: str
) -> None:
    beat = "import sys\nwhile True: sys.stdout.write('.'); sys.stdout.flush()"
    target, outside = "shop/real", "other/one"
    installation.run(PYTHON, "-c", IDLE, target=outside)
    installation.run(PYTHON, "-c", IDLE, target="flooded/one")
    running = installation.run(PYTHON, "-c", beat, target=target)
    scope = {
        "distinct": lambda number: f"flood/{number}",
        "equal": lambda _number: "flood/one",
        "of what runs": lambda _number: "flooded/one",
    }[kind]
    flood = Flood(installation)
    flood.go(scope, SECONDS / 2)
    answer = installation.stop(target)
    assert answer["confirmed"] is True, "a cell is stopped while others flood"
    flood.go(scope, SECONDS / 2)
    flood.finish()
    running.close()

    assert flood.errors == []
    assert flood.accepted == flood.sent
    assert installation.target(outside)["state"] == "running", "nothing outside is harmed"
    health = installation.ask({"op": "health"})
    assert health["live_stops"] <= 4096 + 2
    assert health["journal"]["lost"] == 0

    def recorded() -> bool:
        return (
            sum(int(e.get("times", 1)) for e in _orders(installation, scope(0)[:5])) >= flood.sent
        )

    until(recorded, "the record accounts for every press", 30)
    entries = _orders(installation, scope(0)[:5])
    assert {e["by"] for e in entries} == {"uid:0"}
    if kind != "distinct":
        assert len(entries) < flood.sent / 4, "equal ones are counted, not listed"


def test_SR_17_too_many_stops_are_merged_recorded_and_reset_by_what_they_stand_for(
    installation: Installation,
) -> None:
    installation.run(PYTHON, "-c", IDLE, target="other/one")
    running = installation.run(PYTHON, "-c", IDLE, target="flood/born")
    for first in range(0, 4200, 200):
        installation.press(*(f"flood/{first + number}" for number in range(200)), level="freeze")
    until(lambda: installation.ask({"op": "health"})["live_stops"] <= 4096, "they are merged")
    [merged] = [live for live in installation.status()["latched"] if live["channel"] == "merged"]
    assert merged["scope"] == "flood"
    until(lambda: installation.target("flood/born")["state"] == "frozen", "what it covers stops")
    assert installation.target("other/one")["state"] == "running"

    answer = installation.reset("flood")
    assert answer["state"] == "done"
    assert merged["digest"] in answer["cleared"]
    assert installation.target("flood/born")["state"] == "running"
    entries = [entry for entry in installation.entries() if entry["kind"] in {"order", "reset"}]
    parts = [entry for entry in entries if entry.get("what") == "merged"]
    named = {digest for entry in parts for digest in entry["instead_of"]}
    pressed = {entry["digest"] for entry in entries if entry["scope"].startswith("flood/")}
    assert named <= pressed
    assert len(named) == parts[0]["count"] > 4000
    done = [entry for entry in entries if entry.get("state") == "done"][-1]
    assert done["merged"] == {merged["digest"]: parts[0]["set"]}
    running.close()


def test_SR_17_on_a_full_disk_stops_are_merged_until_they_survive_a_reboot(tmp_path: Path) -> None:
    needs_root()
    with mounted(tmp_path / "home", "8m") as disk:
        one = Installation(tmp_path)
        try:
            one.start()
            disk.fill()
            for first in range(0, 1600, 200):
                one.press(*(f"flood/{first + number}" for number in range(200)))
            until(
                lambda: all(live["durable"] for live in one.status()["latched"]),
                "what is latched is durable on a disk that is as full as before",
            )
            assert one.stop("late/one")["recorded"] in {"durable", "pending"}
            until(lambda: all(live["durable"] for live in one.status()["latched"]), "this, too")
            one.kill_everything()
            wipe(one)
            disk.free()
            one.restart()
            assert {live["scope"] for live in one.status()["latched"]} == {"flood", "late/one"}
        finally:
            one.close()
