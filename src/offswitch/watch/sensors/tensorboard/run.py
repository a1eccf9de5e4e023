"""A training run as its event files tell it: loss, norms, NaNs, and how fast it goes.

    scalar{tag="loss"}   the last value of each tag, again at each look
    nans                 values since the last look that are no finite number
    steps                how far the step has come since the last look
    steps_per_second     over the last steps that were written, by the writer's own clock
    age_seconds          for how long nothing was written
    spoilt               records since the last look that did not match their CRC

The present file of the folder is followed as it grows, a part of a record is waited for, and a new
file that takes its place is read once the old one is read to its end. What stood in a file when it
was first seen is the past: its last values count, its steps and NaNs do not. At most a mebibyte
is read at a look, 64 tags are kept, and a tag is cut at 200 characters.

These are the training program's own words about itself, whoever wrote the library that put them
down: an alarm that they raise is not taken back by them (SR-6).
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from offswitch.config.section import SensorSection, Text
from offswitch.watch.sensors.contract import Glance, Need, Sample, SensorContext, Signal
from offswitch.watch.sensors.tensorboard.events import Event, read_event
from offswitch.watch.sensors.tensorboard.folder import open_event_file, present_file
from offswitch.watch.sensors.tensorboard.framing import Broken, Records

__all__ = ["TensorBoard", "TensorBoardSection"]

_MOST_A_LOOK = 1 << 20
_MOST_TAGS = 64
_LONGEST_TAG = 200
_MOST_STEP = 1 << 53
_RATE_OVER = 32
_STEP = "step"


class TensorBoardSection(SensorSection):
    """The keys of a sensor of event files."""

    kind: Literal["tensorboard"]
    folder: Annotated[Text, Field(pattern="^/")]
    """The run's folder, or the one in which each run gets a folder of its own."""
    tags: Annotated[list[Text], Field(max_length=_MOST_TAGS)] = Field(default_factory=list)
    """The tags that are read; all unless given, the first 64 that come."""

    SERIES: ClassVar[frozenset[str]] = frozenset(
        {"scalar", "nans", "steps", "steps_per_second", "age_seconds", "spoilt"}
    )

    def problem(self, what: str, labels: Mapping[str, str]) -> str | None:
        """Say why there is no such series; `scalar` wants a tag."""
        if what == "scalar":
            if set(labels) != {"tag"}:
                return f'sensor {self.name} reads scalar{{tag="…"}}'
            if self.tags and labels["tag"] not in self.tags:
                return f"sensor {self.name} reads no such tag; `tags`: {', '.join(self.tags)}"
            return None
        return super().problem(what, {})


class TensorBoard:
    """Follows the event files of one run."""

    Settings: ClassVar[type[TensorBoardSection]] = TensorBoardSection
    SIGNAL: ClassVar[Signal] = Signal.METRICS
    ISOLATED: ClassVar[bool] = True
    NEEDS: ClassVar[frozenset[Need]] = frozenset({Need.FILES})
    IMPLICIT: ClassVar[str] = ""
    HEARSAY: ClassVar[bool] = True

    def __init__(self, settings: TensorBoardSection, context: SensorContext) -> None:
        """Follow the files of `settings.folder`."""
        self._settings = settings
        self._clock = context.clock
        self._path = ""
        self._fd = -1
        self._at = self._past = 0
        self._records = Records()
        self._broken = ""
        self._anew = True
        self._last: dict[str, float] = {}
        known, _, self._before = context.memory.get(_STEP, "").partition(" of ")
        self._known = int(known) if known.isdecimal() else None
        self._step: int | None = None
        self._written: deque[tuple[float, int]] = deque(maxlen=_RATE_OVER)
        self._wrote_us = context.clock.mono_us()
        self._nans = self._steps = self._spoilt = 0

    def wake(self) -> Sequence[int]:
        """Nothing wakes it: a target could do it as often as it likes."""
        return ()

    def look(self) -> Glance:
        """Read what was written since."""
        self._nans = self._steps = self._spoilt = 0
        try:
            newest = present_file(self._settings.folder)
            if newest is None and self._fd < 0:
                return Glance(absent=True)
            more = self._read()
            if not more and newest is not None and newest != self._path:
                self._follow(newest)
                more = self._read()
        except FileNotFoundError:
            return Glance(absent=True)
        except OSError as error:
            return Glance(problem=f"the event files cannot be read: {error.strerror}")
        if self._broken:
            return Glance(problem=self._broken)
        again_us = 1_000 if more else None
        return Glance(self._samples(), again_us=again_us, memory=self._memory())

    def _memory(self) -> dict[str, str]:
        return {} if self._step is None else {_STEP: f"{self._step} of {_identity(self._fd)}"}

    def _follow(self, path: str) -> None:
        """Begin with another file. What it holds already is the past, but for a rotation."""
        first = not self._path
        fd = open_event_file(path)
        self.close()
        self._fd, self._path = fd, path
        self._at, self._records, self._broken = 0, Records(), ""
        self._past = os.fstat(fd).st_size if first else 0
        self._anew = True
        self._written.clear()
        if first and self._known is not None and _identity(fd) == self._before:
            # The file that another life of this sensor had read up to that step.
            self._step, self._anew = self._known, False

    def _read(self) -> bool:
        """Read on in the present file, a piece; tells whether there is more."""
        if self._fd < 0 or self._broken:
            return False
        size = os.fstat(self._fd).st_size
        if size < self._at:
            # It was written anew from its beginning.
            self._at, self._records = 0, Records()
        data = os.pread(self._fd, min(size - self._at, _MOST_A_LOOK), self._at)
        past = self._at < self._past
        self._at += len(data)
        if data:
            self._wrote_us = self._clock.mono_us()
        before = self._records.spoilt
        try:
            for record in self._records.feed(data):
                self._take(read_event(record), past=past)
        except Broken as error:
            self._broken = f"{self._path}: {error}, before byte {self._at}"
        self._spoilt += self._records.spoilt - before
        return self._at < size and not self._broken

    def _take(self, event: Event, *, past: bool) -> None:
        for given, value in event.scalars:
            tag = given[:_LONGEST_TAG]
            wanted = not self._settings.tags or tag in self._settings.tags
            if wanted and (tag in self._last or len(self._last) < _MOST_TAGS):
                self._last[tag] = value
            if not math.isfinite(value) and not past:
                self._nans += 1
        if not event.scalars or not 0 <= event.step <= _MOST_STEP:
            return
        if self._step is None or (past and self._anew):
            self._step = max(event.step, self._step or 0)
            self._anew = past
        elif event.step > self._step:
            self._steps += event.step - self._step
            self._step = event.step
        elif event.step < self._step and self._anew:
            self._step = event.step
        self._anew = self._anew and past
        if math.isfinite(event.wall_time) and (
            not self._written or event.step > self._written[-1][1]
        ):
            self._written.append((event.wall_time, event.step))

    def _samples(self) -> list[Sample]:
        age_us = self._clock.mono_us() - self._wrote_us
        samples = [
            Sample("nans", float(self._nans)),
            Sample("steps", float(self._steps)),
            Sample("spoilt", float(self._spoilt)),
            Sample("age_seconds", age_us / 1e6),
        ]
        if len(self._written) > 1:
            (begin, first), (end, last) = self._written[0], self._written[-1]
            if end > begin:
                samples.append(Sample("steps_per_second", (last - first) / (end - begin)))
        for tag, value in self._last.items():
            why = {} if math.isfinite(value) else {"why": f"{tag!a} is {value}"}
            samples.append(Sample("scalar", value, {"tag": tag}, why))
        return samples

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _identity(fd: int) -> str:
    facts = os.fstat(fd)
    return f"{facts.st_dev}:{facts.st_ino}"
