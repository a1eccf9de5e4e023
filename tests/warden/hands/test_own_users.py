"""Who looks is none of those who act: neither the process nor the user (VER-1)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from hooked_world import KEY, HookedWorld
from installation import Installation, until
from needs import needs_root

TARGET = "shop/eu"
ACTS = ("warden", "keeper", "sweeper")


@pytest.fixture
def world() -> Iterator[HookedWorld]:
    one = HookedWorld()
    yield one
    one.close()


def user(pid: int) -> set[str]:
    """Give every user id that a process has: real, effective, saved, of its files."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return set(next(line for line in lines if line.startswith("Uid:")).split()[1:])


def writes(pid: int) -> list[str]:
    """Name the files that a process holds open for writing, devices and sockets aside."""
    found = []
    for number in os.listdir(f"/proc/{pid}/fd"):
        path = os.readlink(f"/proc/{pid}/fd/{number}")
        flags = Path(f"/proc/{pid}/fdinfo/{number}").read_text().split("flags:\t")[1].split()[0]
        if path.startswith("/") and int(flags, 8) & os.O_ACCMODE != os.O_RDONLY:
            found.append(path)
    return [path for path in found if not path.startswith("/dev/") or "offswitch" in path]


def test_VER_1_the_observer_is_a_process_and_a_user_of_its_own_and_can_do_nothing(
    installation: Installation,
) -> None:
    needs_root()
    installation.run("sleep", "1000", target=TARGET)
    pids = installation.pids()
    acting = {pids[name] for name in ACTS}
    assert pids["observer"] not in acting
    assert len(acting) == len(ACTS)
    seen_by = user(pids["observer"])
    assert len(seen_by) == 1, "it can go back to nobody else"
    targets = user(_first(installation))
    assert not seen_by & (targets | set().union(*map(user, acting)))
    held = {name: [path for path in writes(pids[name]) if "cgroup" in path] for name in pids}
    assert any(path.endswith("/cgroup.kill") for path in held["warden"]), "so it would be found"
    assert held["observer"] == []
    assert installation.stop(TARGET)["confirmed"] is True
    assert pids["observer"] == installation.pids()["observer"], "the one that has seen it"


def _first(installation: Installation) -> int:
    [row] = installation.ask({"op": "cells"})["cells"]
    return int(row["pids"][0])


def test_VER_1_each_look_is_a_process_and_a_user_apart_from_every_hand(
    installation: Installation, world: HookedWorld, tmp_path: Path
) -> None:
    needs_root()
    key = tmp_path / "key"
    key.write_text(KEY)
    key.chmod(0o600)
    layers = ("credentials", "data", "relay")
    hands = [world.declared(layer, TARGET, key, layer) for layer in layers]
    installation.ask({"op": "declare", "targets": [{"name": TARGET}], "actuators": hands})

    def standing() -> list[str]:
        told = installation.ask({"op": "target", "name": TARGET})["hands"]
        return [each["state"] for each in told]

    until(lambda: standing() == ["ready"] * 3, "all have proven themselves")
    told = installation.ask({"op": "target", "name": TARGET})["hands"]
    pids = installation.pids()
    acting = {each["pid"] for each in told}
    looking = {each["look_pid"] for each in told}
    assert len(acting | looking | {pids["observer"], pids["warden"]}) == 2 * len(layers) + 2
    acts = [user(pid) for pid in acting]
    looks = set().union(*map(user, looking))
    assert len(set().union(*acts)) == len(layers), "hands of different layers are no one's"
    assert not looks & (set().union(*acts) | user(pids["warden"]) | user(pids["observer"]))
