"""What a fleet's warden answers is longer than any question may be: the verbs read all of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.emergency import Liar, answer
from installation import Installation
from offswitch.control.frames import MAX_ANSWER, MAX_FRAME

NAMES = [f"fleet/{'x' * 180}{number:04}" for number in range(2200)]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    made = Installation(tmp_path_factory.mktemp("fleet"))
    try:
        made.start()
        for at in range(0, len(NAMES), 1100):
            declared = [{"name": name} for name in NAMES[at : at + 1100]]
            made.ask({"op": "declare", "targets": declared})
        yield made
    finally:
        made.close()


def test_a_fleet_is_stopped_shown_and_reset_by_the_commands(fleet: Installation) -> None:
    stopped = fleet.cli("stop", "fleet", "--json")
    assert len(stopped.stdout) > MAX_FRAME
    said = answer(stopped)
    assert (stopped.returncode, said["confirmed"], len(said["targets"])) == (0, True, len(NAMES))
    shown = fleet.cli("status", "--json")
    assert len(shown.stdout) > MAX_FRAME
    assert (shown.returncode, len(answer(shown)["targets"])) == (3, len(NAMES))
    done = fleet.cli("reset", "fleet", "--reason", "a test", "--json")
    assert (done.returncode, answer(done)["state"]) == (0, "done")


def test_what_the_group_writes_as_reasons_makes_no_status_longer(fleet: Installation) -> None:
    for number in range(3):
        fleet.press(f"nobody/{number}", reason="why? " * 400)
    latched = fleet.status("nobody")["latched"]
    assert [len(stop["reason"]) for stop in latched] == [200] * 3
    assert latched[0]["reason"].startswith("why? why?")
    assert fleet.cli("reset", "nobody", "--reason", "a test").returncode == 0


def test_a_reset_asks_for_the_latch_of_its_scope_alone(tmp_path: Path) -> None:
    liar = Liar(tmp_path / "run", {"targets": [], "latched": []})
    try:
        liar.cli("reset", "shop/eu", "--reason", "a test")
        assert liar.heard[0] == {"op": "status", "scope": "shop/eu"}
    finally:
        liar.close()


def test_a_warden_that_never_ends_its_answer_is_hung_up_on(tmp_path: Path) -> None:
    endless = (MAX_ANSWER + 1).to_bytes(4, "big") + b" " * 4096
    liar = Liar(tmp_path / "run", endless)
    try:
        assert liar.cli("status", "--json").returncode == 4
    finally:
        liar.close()
