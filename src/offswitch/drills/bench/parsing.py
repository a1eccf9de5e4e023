"""What happens becomes readings in the way that it really would: by our own guard and sensors.

call, helper   the guard's report ─► a pipe ─► the sensor of steps
line           searched for canaries, as the sensor of logs does
answer         a text with its reading, as a span tells it
answer, call, tokens   streamed through what a gateway senses, and read by its sensor (`passing`)
tampered       done to an installation's files in a folder of its own, and looked at by what the
               sensor `stop_path` looks with, four times a second
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Self

from offswitch.clock import SimulatedClock
from offswitch.control.canary import Canaries
from offswitch.control.place import Place
from offswitch.drills.bench.faults import CANARY
from offswitch.drills.bench.passing import Passing
from offswitch.drills.bench.work import Happening
from offswitch.guard.report import Report
from offswitch.model.reading import series as spell
from offswitch.watch.sensors.contract import CellFacts, Sample, SensorContext
from offswitch.watch.sensors.steps import Steps, StepsSection
from offswitch.watch.tampering.configuration import Configuration
from offswitch.watch.tampering.places import Places

__all__ = ["Parsing", "Reading"]

Reading = tuple[int, str, float, Mapping[str, str]]
"""Time, series, value, detail."""

_LOOK_US = 250_000
_LOOKS = 4
_RULES = '[[rule]]\nname = "mass-write"\n[[sensor]]\nname = "db"\n'
_STEPS = {"call": "tool", "helper": "session"}


class Parsing:
    """A guard with its pipe, an installation's files, and what reads them; a context."""

    def __enter__(self) -> Self:
        """Make them in a folder of their own."""
        self._folder = tempfile.mkdtemp(prefix="offswitch-bench-")
        path = f"{self._folder}/pipe"
        os.mkfifo(path)
        self._place = _installation(self._folder)
        cells = {"bench": CellFacts(None, (), None, "running", path)}
        settings = StepsSection(name="guard", target="bench", kind="steps")
        context = SensorContext(SimulatedClock(0), cells)
        self._steps = Steps(settings, context, Canaries({"zebra": CANARY.encode()}))
        self._steps.look()
        self._writer = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        self._report = Report(f"{self._writer}:{os.fstat(self._writer).st_ino}")
        self._canaries = Canaries({"zebra": CANARY.encode()})
        os.mkdir(f"{self._folder}/senses")
        self._passing = Passing(f"{self._folder}/senses", self._canaries)
        self._places = Places(self._place, f"{self._folder}/units")
        self._configuration = Configuration(f"{self._place.home}/offswitch.toml")
        list(self._places.wrong(0)), list(self._configuration.wrong())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take them away."""
        self._steps.close()
        self._passing.close()
        os.close(self._writer)
        shutil.rmtree(self._folder, ignore_errors=True)
        shutil.rmtree(self._place.memory, ignore_errors=True)  # it may lie in /dev/shm

    def readings(self, one: Happening) -> Iterator[Reading]:
        """Give what is read of a happening."""
        match one.what:
            case "call":
                yield from self._step(one)
                yield from self._passed(one, self._passing.call(one.time_us, one.said))
            case "helper":
                yield from self._step(one)
            case "line":
                yield one.time_us, "log.line", 1.0, one.said
                found = len(self._canaries.within(one.said["text"].encode()))
                yield one.time_us, 'log.canary{name="zebra"}', float(found), {}
            case "answer":
                yield one.time_us, "otlp.answer", 1.0, one.said
                yield from self._passed(one, self._passing.answer(one.time_us, one.said["text"]))
            case "otlp.tokens":
                yield one.time_us, one.what, one.value, one.said
                yield from self._passed(one, self._passing.spent(one.time_us, one.value))
            case "tampered":
                yield from self._tampered(one)
            case _:
                yield one.time_us, one.what, one.value, one.said

    @staticmethod
    def _passed(one: Happening, seen: Iterator[tuple[str, Sample]]) -> Iterator[Reading]:
        for series, sample in seen:
            yield one.time_us, series, sample.value, sample.detail

    def _step(self, one: Happening) -> Iterator[Reading]:
        args = {key: text for key, text in one.said.items() if key != "name"}
        self._report.tell("step", _STEPS[one.what], one.said["name"], args)
        for sample in self._steps.look().samples:
            if sample.what == "canary" or (sample.what == "step" and sample.value):
                series = spell("guard", sample.what, sample.labels)
                yield one.time_us, series, sample.value, sample.detail

    def _tampered(self, one: Happening) -> Iterator[Reading]:
        _tamper(int(one.value), self._place, self._folder)
        for number in range(1, _LOOKS + 1):
            at_us = one.time_us + number * _LOOK_US
            found = [*self._places.wrong(at_us), *self._configuration.wrong()]
            yield at_us, "switch.touched", float(len(found)), {}


def _installation(folder: str) -> Place:
    """Lay out what an installation has."""
    place = Place(f"{folder}/home", f"{folder}/run")
    for path in (place.home, place.control, place.spool, place.memory, f"{folder}/units"):
        os.makedirs(path, exist_ok=True)
    files = {
        f"{place.home}/offswitch.toml": _RULES,
        f"{folder}/units/offswitch.service": "[Unit]\n",
        place.latch: "x",
        f"{place.run}/page": "x",
    }
    for path, text in files.items():
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    return place


def _tamper(way: int, place: Place, folder: str) -> None:
    match way:
        case 0:
            with open(f"{place.home}/offswitch.toml", "w", encoding="utf-8") as file:
                file.write(_RULES.partition("[[sensor]]")[2])
        case 1:
            shutil.rmtree(place.spool)
        case _:
            with open(f"{folder}/units/offswitch.service", "a", encoding="utf-8") as file:
                file.write("[Service]\nExecStart=/bin/true\n")
