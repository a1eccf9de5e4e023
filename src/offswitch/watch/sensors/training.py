"""What a training loop reports of itself, through its guard's pipe (`guard.training`).

    loss, grad_norm      as last reported, again at each look
    nans                 reports since the last look whose loss or norm is no finite number
    steps                how far the step has come since the last look
    steps_per_second     as last reported
    age_seconds          for how long nothing was reported

These are the target's own words (SR-6): they raise findings and never take one back. There is
nothing to look at before the first report; after it every series is there at every look, whatever
is said or not said. A pipe has one reader: the sensor of steps hands over the lines that are ours,
through what the sensors of an eye share, at most 200 between two looks.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from offswitch.config.section import SensorSection
from offswitch.watch.sensors.contract import Glance, Need, Sample, SensorContext, Signal

__all__ = ["Training", "TrainingSection", "hand_over"]

_MOST_WAITING = 200
_MOST_STEP = 1 << 53
_LONGEST_NUMBER = 40
_VALUES = ("loss", "grad_norm", "rate")
_SERIES = {"loss": "loss", "grad_norm": "grad_norm", "rate": "steps_per_second"}

Report = Mapping[str, object]


def hand_over(shared: dict[str, Any], target: str, said: Report) -> None:
    """Keep what a training loop of `target` reported, for its sensor; the oldest goes first."""
    _waiting(shared, target).append(said)


def _waiting(shared: dict[str, Any], target: str) -> deque[Report]:
    waiting: deque[Report] = shared.setdefault(f"training of {target}", deque(maxlen=_MOST_WAITING))
    return waiting


class TrainingSection(SensorSection):
    """The keys of a sensor of training reports: none of its own."""

    kind: Literal["training"]

    SERIES: ClassVar[frozenset[str]] = frozenset(
        {"loss", "grad_norm", "nans", "steps", "steps_per_second", "age_seconds"}
    )


class Training:
    """Gives what one target's training loop reported."""

    Settings: ClassVar[type[TrainingSection]] = TrainingSection
    SIGNAL: ClassVar[Signal] = Signal.METRICS
    ISOLATED: ClassVar[bool] = False
    NEEDS: ClassVar[frozenset[Need]] = frozenset()
    IMPLICIT: ClassVar[str] = "training"
    HEARSAY: ClassVar[bool] = True

    def __init__(self, settings: TrainingSection, context: SensorContext) -> None:
        """Hear what `settings.target` reports."""
        self._settings = settings
        self._context = context
        self._waiting = _waiting(context.shared, settings.target)
        self._path = ""
        self._last: dict[str, float] = {}
        self._step: int | None = None
        self._heard_us: int | None = None

    def wake(self) -> Sequence[int]:
        """Nothing wakes it."""
        return ()

    def look(self) -> Glance:
        """Take in what was handed over since."""
        cell = self._context.cells.get(self._settings.target)
        path = (cell.report or "") if cell is not None else ""
        if path != self._path:
            # Another cell: what an earlier one said is over.
            self._path, self._last, self._step, self._heard_us = path, {}, None, None
        if not path:
            self._waiting.clear()
            return Glance(absent=True)
        mono_us = self._context.clock.mono_us()
        nans = steps = 0
        while self._waiting:
            self._heard_us = mono_us
            values, step = _read(self._waiting.popleft())
            nans += any(not math.isfinite(values.get(name, 0.0)) for name in _VALUES)
            self._last.update(values)
            if step is not None:
                steps += max(step - self._step, 0) if self._step is not None else 0
                self._step = step
        if self._heard_us is None:
            return Glance(absent=True)
        samples = [
            Sample("nans", float(nans)),
            Sample("steps", float(steps)),
            Sample("age_seconds", (mono_us - self._heard_us) / 1e6),
        ]
        for name, value in self._last.items():
            why = {} if math.isfinite(value) else {"why": f"the {_SERIES[name]} is {value}"}
            samples.append(Sample(_SERIES[name], value, {}, why))
        return Glance(samples)

    def close(self) -> None:
        """Forget what waits."""
        self._waiting.clear()


def _read(said: Report) -> tuple[dict[str, float], int | None]:
    """Read a report's numbers; what is none is left out."""
    values: dict[str, float] = {}
    for name in _VALUES:
        text = said.get(name)
        if isinstance(text, str):
            try:
                values[name] = float(text[:_LONGEST_NUMBER])
            except ValueError:
                continue
    text = said.get("step")
    if not isinstance(text, str) or not text.isascii() or not text.isdecimal():
        return values, None
    number = int(text[:_LONGEST_NUMBER])
    return values, number if number <= _MOST_STEP else None
