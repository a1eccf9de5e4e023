"""What a training loop says of itself reaches a rule, and stays the target's own words (SR-6)."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from installation import until
from offswitch.clock import SimulatedClock
from offswitch.testing import SensorSuite
from offswitch.watch.sensors.contract import CellFacts, Sensor, SensorContext
from offswitch.watch.sensors.steps import Steps, StepsSection
from offswitch.watch.sensors.training import Training, TrainingSection
from watch.conftest import Shop

LOOP = """
import math, time
from offswitch.guard.training import Watched
watched = Watched(every_s=0.05)
for number in range(1, 10_000):
    watched.step(number, loss=math.nan if number > 30 else 1 / number, grad_norm=0.5)
    time.sleep(0.01)
"""


class Pair:
    """The sensor of steps, which reads the pipe, and that of training beside it."""

    def __init__(self, folder: Path) -> None:
        path = folder / "pipe"
        os.mkfifo(path)
        self.cells = {"a": CellFacts(None, (), None, "running", str(path))}
        self.clock = SimulatedClock(1_000_000)
        context = SensorContext(self.clock, self.cells)
        self.steps = Steps(StepsSection(name="guard", target="a", kind="steps"), context)
        section = TrainingSection(name="training", target="a", kind="training")
        self.training = Training(section, context)
        self.reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.writer = os.open(path, os.O_WRONLY | os.O_NONBLOCK)

    def say(self, *lines: str) -> None:
        os.write(self.writer, "".join(f"{line}\n" for line in lines).encode())

    def look(self) -> dict[str, float] | None:
        self.clock.advance(1_000_000)
        self.read = {
            ".".join([one.what, *one.labels.values()]): one.value
            for one in self.steps.look().samples
        }
        glance = self.training.look()
        assert not glance.problem
        return None if glance.absent else {one.what: one.value for one in glance.samples}

    def close(self) -> None:
        for sensor in (self.steps, self.training):
            sensor.close()
        os.close(self.reader)
        os.close(self.writer)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    one = Pair(tmp_path)
    yield one
    one.close()


def step(number: object, **more: object) -> str:
    args = "".join(f', "{name}": "{value}"' for name, value in more.items())
    return f'{{"train": "step", "name": "", "args": {{"step": "{number}"{args}}}}}'


class TestTrainingSuite(SensorSuite):
    kind = "training"
    _pair: Pair | None = None

    def keys(self, folder: str) -> Mapping[str, Any]:
        return {}

    def source(self, folder: str) -> CellFacts | None:
        return CellFacts(None, (), None, "running", f"{folder}/pipe")

    def stir(self, folder: str) -> None:
        pass

    def opened(self, folder: str) -> tuple[Sensor, dict[str, CellFacts]]:
        sensor, cells = super().opened(folder)
        said = {"step": "1", "loss": "0.5", "grad_norm": "1", "rate": "2"}
        sensor._waiting.append(said)  # type: ignore[attr-defined]
        return sensor, cells

    def test_what_it_reads_is_what_it_declares(self, tmp_path: os.PathLike[str]) -> None:
        sensor, _cells = self.opened(os.fspath(tmp_path))
        read = {sample.what for glance in self.looks(sensor, 2) for sample in glance.samples}
        assert read - {"looks"} == TrainingSection.SERIES


def test_the_steps_of_a_loop_become_series(pair: Pair) -> None:
    assert pair.look() is None, "nothing was reported"
    pair.say(step(1, loss=2.0), step(11, loss=1.5, grad_norm=0.25, rate=10), '{"step": "tool"}')
    seen = pair.look()
    assert seen == {
        "nans": 0,
        "steps": 10,
        "age_seconds": 0,
        "loss": 1.5,
        "grad_norm": 0.25,
        "steps_per_second": 10,
    }
    assert (pair.read["steps.tool"], pair.read["garbled"]) == (1, 0)
    pair.say(step(12, loss="nan"), step(13, grad_norm="inf"))
    seen = pair.look()
    assert seen is not None
    assert (seen["nans"], seen["steps"]) == (2, 2)
    assert math.isnan(seen["loss"]), "it cannot be known, and a rule on it fails loudly"
    again = pair.look()
    assert again is not None
    assert again.keys() == seen.keys(), "every series is there again, whatever is not said"
    assert (again["nans"], again["age_seconds"]) == (0, 1)


def test_SR_6_what_is_no_report_gives_no_number_and_a_new_cell_begins_anew(pair: Pair) -> None:
    pair.say(step(5, loss=1.0))
    pair.look()
    hostile = ('{"train": "step"}', '{"train": "x", "args": {}}', '{"train": "step", "args": 3}')
    pair.say(*hostile, step(-1), step("9" * 30, loss="x" * 300), step("٣", loss="0x1"), step(4))
    seen = pair.look()
    assert seen is not None
    assert (seen["steps"], seen["loss"], seen["nans"]) == (0, 1.0, 0)
    assert pair.read["garbled"] == 3
    pair.say('{"train": "step", "args": {"step": "6"}, "dropped": 7}')
    pair.look()
    assert pair.read["dropped"] == 7
    for _ in range(5):
        pair.say(*[step(number) for number in range(150)])
        pair.steps.look()
    assert len(pair.training._waiting) == 200, "so many at most"
    pair.cells["a"] = CellFacts(None, (), None, "running", "/another")
    pair.training._waiting.clear()
    assert pair.training.look().absent


def test_a_real_loops_nan_is_stopped(shop: Shop) -> None:
    nans = """{ kind = "threshold", series = "training.nans", above = 0.5 }"""
    shop.start_watch(shop.rule(nans, name="nans"))
    shop.installation.run(sys.executable, "-I", "-c", LOOP, target="shop/agent")
    until(lambda: shop.level() == "kill", "a training that diverges is stopped")
    finding = until(
        lambda: [one for one in shop.entries("finding") if "training" in one["series"]], "recorded"
    )
    assert finding[0]["series"] == "training.nans"
