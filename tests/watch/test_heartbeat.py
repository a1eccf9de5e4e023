"""Beats of a program by file, Unix socket and UDP; and the alarm when they stop (MON-2)."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from installation import until
from offswitch.clock import SimulatedClock
from offswitch.errors import BadConfig
from offswitch.testing import SensorSuite
from offswitch.watch.sensors.beats import Beats
from offswitch.watch.sensors.contract import CellFacts, SensorContext
from offswitch.watch.sensors.heartbeat import Heartbeat, HeartbeatSection
from watch.conftest import Shop


class TestHeartbeatSuite(SensorSuite):
    kind = "heartbeat"

    def keys(self, folder: str) -> Mapping[str, Any]:
        return {"socket": f"{folder}/beats"}

    def source(self, folder: str) -> CellFacts | None:
        return CellFacts(None, (), None, "running")

    def stir(self, folder: str) -> None:
        beat(f"{folder}/beats", b"alive 1")

    def test_a_source_that_is_not_there_is_no_exception(self, tmp_path: os.PathLike[str]) -> None:
        sensor = self.make(os.fspath(tmp_path), {}, clock := SimulatedClock(1))
        clock.advance(60_000_000)
        assert sensor.look().problem == "no beat for 60.0 s"
        sensor.close()


def beat(path: str, data: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.sendto(data, path)


class Ward:
    """A sensor of beats, and its clock."""

    def __init__(self, secrets: Mapping[str, str] | None = None, **keys: object) -> None:
        self.clock = SimulatedClock(1_000_000)
        self.cells = {"a": CellFacts(None, (), None, "running")}
        raw = {"name": "beat", "target": "a", "kind": "heartbeat", "within": "5s", **keys}
        self.section = HeartbeatSection.model_validate(raw)
        self.context = SensorContext(
            self.clock,
            self.cells,
            secrets=secrets or {},
            descriptor=Heartbeat.prepare(self.section),
        )
        self.sensor = Heartbeat(self.section, self.context)

    def look(self, us: int = 1_000_000) -> dict[str, float]:
        self.clock.advance(us)
        glance = self.sensor.look()
        self.problem, self.absent, self.memory = glance.problem, glance.absent, glance.memory
        return {one.what: one.value for one in glance.samples}


@pytest.fixture
def ward(tmp_path: Path) -> Iterator[Ward]:
    one = Ward(socket=str(tmp_path / "beats"))
    yield one
    one.sensor.close()


def test_MON_2_a_beat_that_is_missing_is_a_failure_and_the_next_one_ends_it(
    ward: Ward, tmp_path: Path
) -> None:
    path = str(tmp_path / "beats")
    beat(path, b"alive")
    assert ward.look()["beats"] == 1
    assert ward.look(4_000_000)["age_seconds"] == 4
    assert not ward.problem
    assert ward.look(2_000_000)["age_seconds"] == 6
    assert ward.problem == "no beat for 6.0 s"
    beat(path, b"alive")
    ward.look()
    assert not ward.problem
    ward.cells["a"] = CellFacts(None, (), None, "stopped")
    ward.look(60_000_000)
    assert ward.absent
    ward.cells["a"] = CellFacts(None, (), None, "running")
    ward.look(4_000_000)
    assert not ward.problem, "a target that was started has the usual time"


def test_gaps_and_repeats_of_numbers_are_counted(ward: Ward, tmp_path: Path) -> None:
    path = str(tmp_path / "beats")
    for number in (5, 6, 9, 9, 8, 10, 0, 1, 2):
        beat(path, b"alive %d" % number)
    seen = ward.look()
    assert (seen["beats"], seen["gaps"], seen["repeats"], seen["refused"]) == (9, 2, 2, 0)
    again = Heartbeat(ward.section, SensorContext(ward.clock, ward.cells, memory=ward.memory))
    beat(path, b"alive 4")
    counts = {one.what: one.value for one in again.look().samples}
    assert counts["gaps"] == 1, "the number outlives its eye"
    again.close()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"alive 1 2",
        b"dead",
        b"alive x",
        b"alive -1",
        b"ALIVE",
        b"alive " + b"9" * 600,
        b"\xff",
    ],
)
def test_what_is_no_beat_is_refused(data: bytes) -> None:
    beats = Beats()
    assert not beats.take(data)
    assert beats.since() == {"beats": 0, "gaps": 0, "repeats": 0, "refused": 1}


def test_a_udp_port_hears_only_who_knows_the_token() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ward = Ward({"token": "s3cret"}, udp=f"127.0.0.1:{port}", token="/x")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for data in (b"alive 1", b"wrong alive 1", b"s3cret alive 1", b"s3cret", b"s3cret alive 2"):
            sock.sendto(data, ("127.0.0.1", port))
    seen = ward.look()
    assert (seen["beats"], seen["refused"], seen["gaps"]) == (2, 3, 0)
    with pytest.raises(BadConfig, match="Address already in use"):
        Heartbeat.prepare(ward.section)
    ward.sensor.close()


def test_a_flood_costs_a_bounded_little_and_is_counted(ward: Ward, tmp_path: Path) -> None:
    path = str(tmp_path / "beats")
    sent = 0
    try:
        while sent < 5_000:
            beat(path, b"alive")
            sent += 1
    except BlockingIOError:
        pass  # a Unix socket makes its writer wait, or sends him away
    assert sent < 5_000
    first = ward.look()
    assert first["beats"] <= 500
    assert first["beats"] + ward.look()["beats"] == sent


def test_a_file_beats_when_it_is_touched(tmp_path: Path) -> None:
    path = tmp_path / "beat"
    ward = Ward(file=str(path))
    assert ward.look()["beats"] == 0
    path.touch()
    wall_ns = ward.clock.wall_us() * 1000
    os.utime(path, ns=(wall_ns - 7_000_000_000, wall_ns - 7_000_000_000))
    assert ward.look()["age_seconds"] >= 6, "one that was there before is as old as it says"
    os.utime(path, ns=(wall_ns, wall_ns))
    seen = ward.look()
    assert (seen["beats"], seen["age_seconds"]) == (1, 0)
    path.unlink()
    ward.look(9_000_000)
    assert "no beat" in ward.problem
    path.symlink_to("/etc/passwd")
    ward.look()
    assert "not a regular file" in ward.problem


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({}, "one way"),
        ({"file": "/a", "socket": "/b"}, "one way"),
        ({"udp": "127.0.0.1:9125"}, "token"),
        ({"udp": "localhost:9125", "token": "/t"}, "an address and a port"),
        ({"udp": "127.0.0.1:0", "token": "/t"}, "an address and a port"),
        ({"file": "a"}, "pattern"),
    ],
)
def test_a_section_says_what_is_wrong_with_it(keys: dict[str, str], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        HeartbeatSection.model_validate({"name": "b", "target": "a", "kind": "heartbeat", **keys})


def test_what_lies_at_the_sockets_place_is_left_alone_unless_it_is_ours(tmp_path: Path) -> None:
    path = tmp_path / "beats"
    path.write_text("somebody's")
    with pytest.raises(BadConfig, match="in use"):
        Ward(socket=str(path))
    assert path.read_text() == "somebody's"


def test_MON_2_a_real_watch_calls_a_program_that_no_longer_beats_stale(shop: Shop) -> None:
    path = f"{shop.installation.run_folder}/beats"
    shop.start_watch(
        f'[[sensor]]\nname = "beat"\ntarget = "other"\nkind = "heartbeat"\nsocket = "{path}"\n'
        'every = "100ms"\nwithin = "300ms"\nspoken_by = "other"\n'
    )

    def beats() -> bool:
        if os.path.exists(path):
            with contextlib.suppress(BlockingIOError):  # nobody has read those before yet
                beat(path, b"alive")
        return bool(shop.entries("watch"))

    until(lambda: [one for one in shop.entries("finding") if one["series"] == "beat"], "no beat")
    until(
        lambda: beats() and [one for one in shop.entries("watch") if one["state"] == "ok"],
        "it beats again",
    )
