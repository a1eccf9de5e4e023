"""The canary: each layer is proven by a real cut, and each proof can fail."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from offswitch.actuators.sockets import Sockets
from offswitch.control.place import Place
from offswitch.warden.cells import canary
from offswitch.warden.cells import cell as cells
from offswitch.warden.cells.canary import prove
from offswitch.warden.cells.cell import Cell


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(str(tmp_path / "home"), str(tmp_path / "run"))


def failing(place: Place) -> set[str]:
    try:
        return {proof.layer for proof in prove(place) if not proof.works}
    finally:
        cells.clear_ground(place)
        assert not os.path.isdir(f"{cells.find_trees().v2}/{place.cgroup}")


def test_VER_2_every_layer_is_proven_by_a_canary_that_is_really_cut(place: Place) -> None:
    began = time.monotonic()
    proofs = prove(place)
    cells.clear_ground(place)
    assert [proof.layer for proof in proofs] == ["network", "process", "sockets", "sweep"]
    assert all(proof.works for proof in proofs), proofs
    assert time.monotonic() - began < 5


def test_VER_2_a_denial_that_denies_nothing_is_found_out(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("offswitch.actuators.bpf.attach", lambda *_args: None)
    assert "network" in failing(place)


def test_VER_2_a_kill_that_kills_nothing_is_found_out(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(canary, "_PATIENCE_S", 0.2)
    monkeypatch.setattr(cells.CgroupCell, "kill", lambda _self: None)
    monkeypatch.setattr(cells.CgroupCell, "remove", lambda _self: False)
    found = {proof.layer for proof in prove(place) if not proof.works}
    assert "process" in found
    monkeypatch.undo()
    assert cells.strays(place, set()) == []
    cells.clear_ground(place)


def test_VER_2_sockets_that_are_not_destroyed_are_found_out(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(canary, "_PATIENCE_S", 0.2)
    monkeypatch.setattr("offswitch.actuators.sock_diag.Diag.destroy", lambda *_args: 0)
    found = {proof.layer for proof in prove(place) if not proof.works}
    assert "sockets" in found
    monkeypatch.undo()
    cells.clear_ground(place)


def test_VER_2_sockets_that_one_trip_does_not_get_through_are_destroyed_by_the_next(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy machine a trip ends before it is through; a stop goes on, and so does this."""
    trips, left = [0], Sockets.left

    def late(self: Sockets, *cells: Cell) -> bool | None:
        trips[0] += 1
        return left(self, *cells) if trips[0] > 5 else True

    monkeypatch.setattr(Sockets, "left", late)
    assert failing(place) == set()


def test_SR_8_a_trip_that_is_late_from_the_first_destroys_a_socket_all_the_same(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To list all sockets of a machine may take longer than a trip: trip after trip, no end."""
    monkeypatch.setattr("offswitch.actuators.sockets._A_TRIP_S", -1.0)
    assert failing(place) == set()


def test_VER_2_a_sweep_that_sweeps_nothing_is_found_out(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(canary, "sweep", lambda _uid, _reserved: (0, 1))
    assert failing(place) == {"sweep"}


def test_where_no_canary_can_be_made_that_is_the_answer(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("offswitch.warden.cells.users.allot", refuse)
    proofs = prove(place)
    assert [(proof.layer, proof.works) for proof in proofs] == [("process", False)]
    assert "No space left" in proofs[0].detail
