"""GPUs by NVML: the process that asks may hang, crash or lie, and costs nobody anything."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from installation import until
from offswitch.clock import Clock, SystemClock
from offswitch.testing import SensorSuite
from offswitch.watch.sensors.contract import CellFacts, Glance, Sensor, SensorContext
from offswitch.watch.sensors.nvml.child import Child, Look
from offswitch.watch.sensors.nvml.gpus import reader
from offswitch.watch.sensors.nvml.sensor import Nvml, NvmlSection
from watch.conftest import Shop

CARD = {
    "index": 0,
    "uuid": "GPU-1",
    "utilization_percent": 97.0,
    "memory_used_bytes": 4e9,
    "memory_total_bytes": 8e9,
    "power_watts": 250.5,
    "temperature_celsius": 71,
    "ecc_errors": None,
    "xids": [79],
    "processes": [[os.getpid(), 100], [1, 200]],
}
"""What the child would say of one card that has no ECC, after it fell off the bus."""


def cards() -> Look:
    return lambda: {"gpus": [CARD, {**CARD, "index": 1, "xids": [], "processes": None}]}


def hangs() -> Look:
    def look() -> dict[str, Any]:
        while True:
            ctypes.CDLL(None).pause()

    return look


def hangs_at_once() -> Look:
    while True:
        ctypes.CDLL(None).pause()


def crashes() -> Look:
    def look() -> dict[str, Any]:
        os.kill(os.getpid(), signal.SIGSEGV)
        return {}

    return look


def says(answer: Any) -> Callable[[], Look]:  # noqa: ANN401
    return lambda: lambda: answer


class TestNvmlSuite(SensorSuite):
    kind = "nvml"

    def keys(self, folder: str) -> Mapping[str, Any]:
        return {}

    def source(self, folder: str) -> CellFacts | None:
        return CellFacts(None, (os.getpid(),), None, "running")

    def stir(self, folder: str) -> None:
        time.sleep(0.02)

    def make(self, folder: str, cells: dict[str, CellFacts], clock: Clock | None = None) -> Sensor:
        if not cells:
            return super().make(folder, cells, clock)
        raw = {"name": "suite", "target": "suite/target", "kind": "nvml", "every": "20ms"}
        section = NvmlSection.model_validate(raw)
        return Nvml(section, SensorContext(clock or SystemClock(), cells), cards)

    def test_a_source_that_is_not_there_is_no_exception(self, tmp_path: os.PathLike[str]) -> None:
        """The real library: without a driver it is absent, and says so."""
        if os.path.exists("/dev/nvidiactl"):
            pytest.skip("this machine has an NVIDIA driver")
        sensor = self.make(os.fspath(tmp_path), {})
        glance = until(lambda: (one := sensor.look()).absent and one, "it answers", 10)
        assert "no NVIDIA driver answers" in glance.note
        assert not glance.samples
        sensor.close()


@pytest.fixture
def made() -> Iterator[Callable[..., Nvml]]:
    all_made: list[Nvml] = []

    def make(reader: Callable[[], Look], **keys: object) -> Nvml:
        raw = {"name": "gpu", "target": "a", "kind": "nvml", "every": "20ms", "timeout": "200ms"}
        section = NvmlSection.model_validate({**raw, **keys})
        cells = {"a": CellFacts(None, (os.getpid(),), None, "running")}
        all_made.append(Nvml(section, SensorContext(SystemClock(), cells), reader))
        return all_made[-1]

    yield make
    for one in all_made:
        one.close()
        until(lambda sensor=one: all(child.gone() for child in sensor._hung), "its child ends")


def looked(sensor: Nvml, what: Callable[[Glance], object]) -> Glance:
    def look() -> Glance | None:
        begin = time.monotonic()
        glance = sensor.look()
        assert time.monotonic() - begin < 1.0, "a look waits for nothing"
        return glance if what(glance) else None

    glance: Glance = until(look, "it looks", 10)
    return glance


def test_figures_processes_and_errors_of_each_gpu_are_read(made: Callable[..., Nvml]) -> None:
    glance = looked(made(cards), lambda one: one.samples)
    seen = {(one.what, one.labels["gpu"]): one for one in glance.samples}
    assert seen["utilization_percent", "0"].value == 97
    assert seen["power_watts", "1"].value == 250.5
    assert ("ecc_errors", "0") not in seen, "what a card has no figure for is left out"
    assert seen["xids", "0"].value == 1
    assert seen["xids", "0"].detail["numbers"] == "79"
    assert seen["processes", "0"].value == 1
    assert seen["processes", "0"].detail == {f"pid {os.getpid()}": "100 bytes"}
    assert seen["others", "0"].detail == {"pid 1": "200 bytes"}
    assert ("processes", "1") not in seen


@pytest.mark.parametrize("reader", [hangs, hangs_at_once])
def test_a_library_that_hangs_is_ended_and_the_source_fails_loudly(
    made: Callable[..., Nvml], reader: Callable[[], Look]
) -> None:
    sensor = made(reader)
    sensor.look()
    assert sensor._child is not None
    pid = sensor._child.pid
    problem = looked(sensor, lambda one: one.problem).problem
    assert "not answered" in problem or "ended for being late" in problem
    until(lambda: all(child.gone() for child in sensor._hung), "the kernel's timer ends it", 10)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert sensor._child is None, "the next one comes after a pause"
    assert sensor.look().problem, "and until then it says so at each look"
    assert sensor._pause_us == 2_000_000


def test_one_that_never_dies_is_not_joined_by_many(made: Callable[..., Nvml]) -> None:
    """As one that hangs in the kernel: its timer does nothing."""
    sensor = made(cards)

    class Immortal:
        answers = -1

        def gone(self) -> bool:
            return False

    immortals: list[Any] = [Immortal() for _ in range(3)]
    sensor._hung = list(immortals)
    sensor._problem = "NVML has not answered"
    assert sensor.look().problem
    assert sensor._child is None
    sensor._hung = []
    assert looked(sensor, lambda one: one.samples)


@pytest.mark.parametrize(
    ("reader", "why"),
    [
        (crashes, "died"),
        (says([1]), "nonsense"),
        (says({"gpus": [{"index": "x"}]}), "nonsense"),
        (says({"gpus": 7}), "nonsense"),
        (says({}), "nonsense"),
        (says({"gpus": ["x" * 3_000_000]}), "without end"),
    ],
)
def test_a_child_that_crashes_or_lies_is_a_failure(
    made: Callable[..., Nvml], reader: Callable[[], Look], why: str
) -> None:
    assert why in looked(made(reader), lambda one: one.problem).problem


def test_an_answer_wakes_the_eye_and_a_machine_without_gpus_is_absent(
    made: Callable[..., Nvml],
) -> None:
    sensor = made(says({"gpus": []}))
    sensor.look()
    [fd] = sensor.wake()
    assert os.fstat(fd)
    assert looked(sensor, lambda one: one.absent).note == "there is no GPU here"


def test_the_child_ends_with_its_eye_and_holds_nothing_of_it() -> None:
    with subprocess.Popen(["sleep", "100"], stdin=subprocess.PIPE) as other:
        child = Child(cards, 5.0)
        held = set(os.listdir(f"/proc/{child.pid}/fd"))
        until(lambda: len(os.listdir(f"/proc/{child.pid}/fd")) <= 5, f"it closes them: {held}")
        child.close()
        until(child.gone, "its end of the pipe is closed")
        other.kill()


def test_the_configuration_wants_the_number_of_a_gpu() -> None:
    section = NvmlSection(name="gpu", target="a", kind="nvml")
    assert section.problem("power_watts", {"gpu": "0"}) is None
    assert section.problem("power_watts", {}) is not None
    assert section.problem("power", {"gpu": "0"}) is not None


def test_in_a_real_eye_a_machine_without_a_driver_is_told(shop: Shop) -> None:
    if os.path.exists("/dev/nvidiactl"):
        pytest.skip("this machine has an NVIDIA driver")
    shop.start_watch('[[sensor]]\nname = "gpu"\ntarget = "other"\nkind = "nvml"\nevery = "100ms"\n')
    notes = until(
        lambda: [one for one in shop.installation.status()["notes"] if "NVIDIA" in one], "a note"
    )
    assert "no NVIDIA driver answers" in notes[0]


def test_a_real_gpu_is_read() -> None:
    if not os.path.exists("/dev/nvidiactl"):
        pytest.skip("this machine has no NVIDIA GPU")
    said = reader()()
    assert said["gpus"]
    assert said["gpus"][0]["memory_total_bytes"] > 0
