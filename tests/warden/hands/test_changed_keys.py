"""A credential that was rotated: dated, entered, and the end of what was proven with it (DRL-4)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hooked_world import KEY, HookedWorld
from installation import Installation, until
from offswitch.drills.voids import void_of

TARGET = "shop/eu"


@pytest.fixture
def world() -> Iterator[HookedWorld]:
    one = HookedWorld()
    yield one
    one.close()


def told(home: Installation) -> list[dict[str, Any]]:
    entries = [entry for entry in home.entries() if entry.get("what") == "readiness"]
    return [entry for entry in entries if entry["layer"] == "credentials"]


def test_DRL_4_a_rotated_key_leaves_its_layer_unproven_at_once_and_its_evidence_void(
    installation: Installation, world: HookedWorld, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    key.write_text(KEY)
    key.chmod(0o600)
    hook = world.declared("hook", TARGET, key)
    installation.ask({"op": "declare", "targets": [{"name": TARGET}], "actuators": [hook]})

    def state() -> str:
        return str(installation.target(TARGET)["readiness"].get("credentials"))

    until(lambda: state() == "ready", "it has proven itself")
    until(lambda: told(installation), "that it is ready is entered")
    proven_us = installation.target(TARGET)["readiness_since"]["credentials"]
    known = len(told(installation))
    key.write_text("another key")
    until(lambda: state() == "unproven", "a rotated key is noticed", 10)
    fallen_us = installation.target(TARGET)["readiness_since"]["credentials"]
    assert fallen_us > proven_us

    def fallen() -> list[dict[str, Any]]:
        return [each for each in told(installation)[known:] if each["state"] == "unproven"]

    entry = until(fallen, "that it has fallen is entered")[0]
    assert (entry["prior"], entry["state"], entry["cause"]) == ("ready", "unproven", "layer")
    assert entry["targets"] == [TARGET]
    assert str(key) in entry["why"]
    void = void_of(entry)
    assert void is not None, "what was proven with the old key is void"
    assert void.layer == "credentials"
    key.write_text(KEY)
    until(lambda: state() == "ready", "with the right key it proves itself anew", 15)
    assert installation.target(TARGET)["readiness_since"]["credentials"] > fallen_us
    until(lambda: told(installation)[-1]["state"] == "ready", "that is entered, too")
    assert void_of(told(installation)[-1]) is None, "to be ready again gives nothing back"
