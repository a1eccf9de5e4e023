"""Everything of a target that can act, and what nobody can tell of it (MON-3)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hooked_world import HookedWorld
from installation import PYTHON, Installation, until
from needs import needs_root
from offswitch.cli.inventory import inventory_lines, seen

TARGET = "shop/eu"
ORPHAN = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print(os.getpid(), flush=True)
        time.sleep(1000)
    os._exit(0)
time.sleep(1000)
"""


@pytest.fixture
def world() -> Iterator[HookedWorld]:
    one = HookedWorld()
    yield one
    one.close()


def shown(home: Installation) -> dict[str, Any]:
    return dict(json.loads(home.cli("target", "show", TARGET, "--json").stdout)["inventory"])


def test_MON_3_a_double_forked_child_is_listed_by_name_and_what_is_below_it_too(
    fresh: Installation,
) -> None:
    needs_root()
    running = fresh.run(PYTHON, "-c", ORPHAN, target=TARGET)
    orphan = int(running.line())
    fresh.run("sleep", "1000", target=f"{TARGET}/child")
    told = shown(fresh)
    processes = {one["pid"]: one for one in told["processes"]}
    assert orphan in processes
    assert processes[orphan]["name"].startswith("python3")
    assert processes[orphan]["parent"] not in processes, "nobody's child"
    assert processes[orphan]["accelerators"] == []
    assert told["below"] == [f"{TARGET}/child"]
    assert "what runs beside it: watch does not report" in told["unknown"]
    text = fresh.cli("target", "show", TARGET).stdout
    assert f"{orphan} python3" in text
    assert "FINDING" in text


def test_MON_3_what_a_hand_cannot_see_is_a_finding_and_what_it_sees_is_listed(
    fresh: Installation, world: HookedWorld, tmp_path: Path
) -> None:
    needs_root()
    key = tmp_path / "key"
    key.write_text("a key that nobody knows yet")
    key.chmod(0o600)
    hook = world.declared("hook", TARGET, key)
    fresh.ask({"op": "declare", "targets": [{"name": TARGET}], "actuators": [hook]})

    def unknown() -> list[str]:
        told = fresh.ask({"op": "target", "name": TARGET})["inventory"]["unknown"]
        return [one for one in told if "credentials by hook" in one]

    until(unknown, "what it has there is not known")
    world.key = key.read_text()
    until(lambda: not unknown(), "a hand that has proven itself has looked", 15)
    [hand] = shown(fresh)["hands"]
    assert (hand["actuator"], hand["layer"], hand["known"]) == ("hook", "credentials", True)


def test_MON_3_who_holds_an_accelerator_is_told_and_who_cannot_be_asked_is_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for a device's name, since what is looked at is where descriptors lead."""
    monkeypatch.setattr("offswitch.cli.inventory._ACCELERATORS", (str(tmp_path),))
    device = tmp_path / "nvidia0"
    with open(device, "wb"):
        told = seen({"inventory": {"processes": [os.getpid()]}})
    [process] = told["processes"]
    assert process["accelerators"] == [str(device)]
    [_all, held] = inventory_lines(told)
    assert held[0] == "accelerator"
    assert f"held by {os.getpid()}" in held[1]

    def refuse(_path: str) -> list[str]:
        raise PermissionError(13, "no")

    monkeypatch.setattr(os, "listdir", refuse)
    blind = seen({"inventory": {"processes": [os.getpid()]}})
    assert [line[2] for line in inventory_lines(blind)] == [False, True]


def test_MON_3_who_hides_an_accelerator_behind_thousands_of_descriptors_is_a_finding(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("offswitch.cli.inventory._MOST_FDS", 2)
    told = seen({"inventory": {"processes": [os.getpid()]}})
    assert told["processes"][0]["accelerators"] is None
    assert "thousands of descriptors" in told["unknown"][0]


def test_MON_3_what_targets_wrote_is_shown_as_text() -> None:
    evil = "\x1b[2Jx"
    told = {
        "processes": [{"pid": 1, "name": evil, "parent": 1, "accelerators": [evil]}],
        "hands": [{"layer": "data", "actuator": "pg", "holds": [evil], "known": True}],
        "untracked": [{"pid": 2, "name": evil}], "unknown": [evil], "below": [evil],
    }  # fmt: skip
    lines = inventory_lines(told)
    assert len(lines) == 6
    assert not any("\x1b" in text for line in lines for text in line[:2])
