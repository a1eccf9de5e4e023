"""Cutting from outside: in short passes, all of it, nothing but it, and never "none" by mistake."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from typing import cast

import pytest

from needs import needs_root
from offswitch.control.flows import Ends, FlowReader, FlowTable
from offswitch.warden.core import Core
from offswitch.warden.gates.cutting import Cutting
from offswitch.warden.gates.notes import Notes

SLOT, OTHER = 5, 6
FLOWS = 400


class Stalled:
    """A worker that does nothing any more, as far as it is looked at here."""

    def __init__(self) -> None:
        self.number, self.turn, self.dead, self.uid = 1, 1, False, os.geteuid()
        self.written, fd = FlowTable.create(FLOWS * 2)
        self.table: FlowReader | None = FlowReader(fd)
        self.sockets: list[tuple[int, socket.socket]] = []
        with socket.create_server(("127.0.0.1", 0)) as listener:
            for slot in [SLOT, OTHER] * FLOWS:
                client = socket.create_connection(listener.getsockname())
                server, _address = listener.accept()
                self.written.take(slot, Ends.of(server))
                self.sockets += [(slot, server), (0, client)]

    def serves_none_of(self, slots: set[int]) -> bool:
        return False

    def lost(self, wanted: int) -> int:
        return sum(
            sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0
            for slot, sock in self.sockets
            if slot == wanted
        )

    def close(self) -> None:
        for _slot, sock in self.sockets:
            sock.close()


@pytest.fixture
def stalled() -> Iterator[Stalled]:
    needs_root()
    one = Stalled()
    yield one
    one.close()


def test_ACT_4_all_that_a_stalled_worker_has_is_destroyed_in_short_passes(
    stalled: Stalled,
) -> None:
    cutting, gone, longest, passes = Cutting(), 0, 0.0, 0
    while True:
        began = time.process_time()
        left, more, taken = cutting.destroy([stalled], {SLOT})  # type: ignore[list-item]
        longest = max(longest, time.process_time() - began)
        gone, passes = gone + taken, passes + 1
        if not more:
            break
    assert left, "it has not said that it swept"
    assert gone == FLOWS
    assert stalled.lost(SLOT) == FLOWS
    assert stalled.lost(OTHER) == 0
    assert passes < FLOWS / 4, "a pass takes many"
    assert longest < 0.05, "and ends within some milliseconds"
    cutting.close()


def test_ACT_4_what_a_dead_worker_left_is_looked_for_to_the_end_of_its_table(
    stalled: Stalled,
) -> None:
    stalled.dead = True
    cutting = Cutting()
    for slot in (SLOT, OTHER):
        assert cutting.lives(stalled)  # type: ignore[arg-type]
        while cutting.destroy([stalled], {slot})[0]:  # type: ignore[list-item]
            pass
    end = time.monotonic() + 5
    while cutting.lives(stalled):  # type: ignore[arg-type]
        assert time.monotonic() < end
    cutting.close()


def test_VER_2_what_cannot_be_listed_may_live(
    stalled: Stalled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("offswitch.warden.gates.cutting.Diag", _none)
    stalled.dead = True
    cutting = Cutting()
    assert cutting.lives(stalled)  # type: ignore[arg-type]
    assert cutting.destroy([stalled], {SLOT})[0]  # type: ignore[list-item]


def _none(*_: object) -> None:
    raise OSError(24, "Too many open files")


def test_ACT_4_what_a_kernel_will_not_destroy_is_told_as_buffered_bytes_that_nobody_knows(
    stalled: Stalled, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes, cutting = Notes(cast(Core, None)), Cutting()
    cutting.destroy([stalled], {SLOT})  # type: ignore[list-item]
    assert not cutting.refused
    os.seteuid(65534)
    try:
        _left, _more, gone = cutting.destroy([stalled], {OTHER})  # type: ignore[list-item]
    finally:
        os.seteuid(0)
    assert (gone, cutting.refused) == (0, True)
    notes.destroyed("shop", gone, refused=cutting.refused)
    said = notes.beside("shop", "400 streams cut", "swept")
    assert "buffered bytes unknown: sockets cannot be destroyed here" in said
    notes.begin("shop")
    assert "unknown" not in notes.beside("shop", "400 streams cut", "swept")
    cutting.close()
    monkeypatch.setattr("offswitch.warden.gates.cutting.Diag", _none)
    cutting = Cutting()
    cutting.destroy([stalled], {OTHER})  # type: ignore[list-item]
    assert cutting.refused, "nor can they be where no conversation with the kernel is to be had"
