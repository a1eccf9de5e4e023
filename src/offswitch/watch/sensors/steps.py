"""What a target's guard reports of its steps, through the pipe that its cell was born with.

    steps{kind="model"|"tool"|"session"}   steps that began since the last look
    step{kind="model"|"tool"|"session"}    1 for each such step, its name and arguments as detail;
                                           0 at a look that saw none
    canary                                 tokens of `canaries` in the state folder that were found
                                           in what steps were given, in whatever form
    refused                                checks and steps that were refused
    dropped                                reports that the guard says found no room
    garbled                                lines, or a rest of too many, that are no report

These are the target's own words about itself: which target they are of says the pipe, never the
words, and they may raise a finding, never lower, clear or refresh one (SR-6). So every series is
there from the first look on, whatever is said or not said, and is bounded: at most 16 KiB and 200
lines a look, ten looks a second, no label that the target could choose. The name of a step and
its arguments are for detectors that judge events, and evidence.
"""

from __future__ import annotations

import json
import math
import os
import stat
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import ClassVar, Literal

from offswitch.config.section import SensorSection
from offswitch.control.canary import Canaries
from offswitch.control.place import chosen
from offswitch.errors import BadConfig
from offswitch.watch.sensors.contract import Glance, Need, Sample, SensorContext, Signal
from offswitch.watch.sensors.training import hand_over

__all__ = ["Steps", "StepsSection"]

_MOST_A_LOOK = 16 << 10
_MOST_LINES = 200
_LONGEST_LINE = 4096
_SOON_US = 100_000
"""When it looks again at a pipe that held more than one look takes in."""
_MOST_DROPPED = 1 << 20
_SHOWN = 100
_CANARIES = "canaries"
"""In the state folder: tokens that must never appear in what any target's tools are given."""
_LARGEST_FILE = 64 << 10
_MOST_ARGUMENTS = 13
_LONGEST_ARGUMENT = 201
_KINDS = ("model", "tool", "session")


class StepsSection(SensorSection):
    """The keys of a sensor of steps."""

    kind: Literal["steps"]

    SERIES: ClassVar[frozenset[str]] = frozenset(
        {"steps", "step", "canary", "refused", "dropped", "garbled"}
    )

    def problem(self, what: str, labels: Mapping[str, str]) -> str | None:
        """Say why there is no such series; `steps` and `step` want one of three kinds."""
        kinds = what in {"steps", "step"}
        if kinds and (set(labels) != {"kind"} or labels["kind"] not in _KINDS):
            return f"sensor {self.name} counts {what}{{kind=…}}: {', '.join(_KINDS)}"
        return super().problem(what, labels)


class Steps:
    """Reads the pipe of its target's cell."""

    Settings: ClassVar[type[StepsSection]] = StepsSection
    SIGNAL: ClassVar[Signal] = Signal.TOOLS
    ISOLATED: ClassVar[bool] = False
    NEEDS: ClassVar[frozenset[Need]] = frozenset({Need.FILES})
    IMPLICIT: ClassVar[str] = "guard"
    HEARSAY: ClassVar[bool] = True

    __slots__ = ("_canaries", "_context", "_fd", "_path", "_rest", "_settings")

    def __init__(
        self, settings: StepsSection, context: SensorContext, canaries: Canaries | None = None
    ) -> None:
        """Read what `settings.target` reports; `canaries` are those of the installation."""
        self._canaries: Canaries | str = _installed_canaries() if canaries is None else canaries
        self._settings = settings
        self._context = context
        self._path = ""
        self._fd = -1
        self._rest = b""

    def wake(self) -> Sequence[int]:
        """Nothing wakes it: a target could do it as often as it likes."""
        return ()

    def look(self) -> Glance:
        """Count what has come, as far as one look goes."""
        cell = self._context.cells.get(self._settings.target)
        if cell is None or not cell.report:
            self.close()
            return Glance(absent=True)
        try:
            if not self._follow(cell.report):
                return Glance(absent=True)
            data = os.read(self._fd, _MOST_A_LOOK)
        except BlockingIOError:
            data = b""  # it holds its end and says nothing
        except OSError as error:
            return Glance(problem=f"its reports cannot be read: {error.strerror}")
        more = len(data) == _MOST_A_LOOK
        samples = _counted(self._lines(data), self._of_training)
        samples.append(self._leaked(samples))
        return Glance(samples, again_us=_SOON_US if more else None)

    def _leaked(self, samples: Sequence[Sample]) -> Sample:
        """Look for canaries in what steps were given."""
        canaries = self._canaries
        if isinstance(canaries, str):
            return Sample("canary", math.nan, {}, {"why": canaries})
        texts = [text for one in samples if one.what == "step" for text in one.detail.values()]
        if not canaries.names or not texts:
            return Sample("canary", 0.0)
        found = canaries.within("\0".join(texts).encode("utf-8", "replace"))
        detail = {"why": f"found: {', '.join(found)}"} if found else {}
        return Sample("canary", float(len(found)), {}, detail)

    def _of_training(self, said: Mapping[str, object]) -> None:
        """Hand over what a training loop reports: a pipe has one reader."""
        hand_over(self._context.shared, self._settings.target, said)

    def _follow(self, path: str) -> bool:
        """Open the pipe of the cell of now; false if it has none."""
        if path == self._path and self._fd >= 0:
            return True
        self.close()
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return False
        if not stat.S_ISFIFO(os.fstat(fd).st_mode):
            os.close(fd)
            return False
        self._fd, self._path = fd, path
        return True

    def _lines(self, data: bytes) -> list[bytes]:
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest if len(rest) <= _LONGEST_LINE else b""
        return [*lines, rest] if len(rest) > _LONGEST_LINE else lines

    def close(self) -> None:
        """Close the pipe."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._path, self._rest = -1, "", b""


def _installed_canaries() -> Canaries | str:
    """Read the installation's canaries, if it has any; a text says what is wrong with them."""
    try:
        with open(f"{chosen().home}/{_CANARIES}", encoding="utf-8") as file:
            return Canaries.read(file.read(_LARGEST_FILE))
    except FileNotFoundError:
        return Canaries({})
    except (OSError, ValueError) as error:
        return f"{_CANARIES} cannot be read: {error}"
    except BadConfig as error:
        return f"{_CANARIES}: {error.message}"


def _counted(
    lines: Sequence[bytes], of_training: Callable[[Mapping[str, object]], None]
) -> list[Sample]:
    counts: Counter[str] = Counter()
    shown: dict[str, dict[str, str]] = {}
    events: list[Sample] = []
    for line in lines[:_MOST_LINES]:
        said = _report(line)
        kind, refused, args = said.get("step"), said.get("refused"), said.get("args")
        if kind in _KINDS:
            counts[kind] += 1
            shown[kind] = _name(said)
            events.append(Sample("step", 1.0, {"kind": str(kind)}, _event(said)))
        elif isinstance(refused, str):
            counts["refused"] += 1
            shown["refused"] = _name(said) | {"what": ascii(refused)[:_SHOWN]}
        elif said.get("train") == "step" and isinstance(args, dict):
            of_training(args)
        else:
            counts["garbled"] += 1
        lost = said.get("dropped")
        if type(lost) is int and 0 < lost <= _MOST_DROPPED:
            counts["dropped"] += lost
    counts["garbled"] += max(0, len(lines) - _MOST_LINES)
    steps = [Sample("steps", counts[kind], {"kind": kind}, shown.get(kind, {})) for kind in _KINDS]
    others = [Sample(what, counts[what], {}, shown.get(what, {})) for what in _OTHERS]
    quiet = [Sample("step", 0.0, {"kind": kind}) for kind in _KINDS if not counts[kind]]
    return [*steps, *events, *quiet, *others]


_OTHERS = ("refused", "dropped", "garbled")


def _report(line: bytes) -> Mapping[str, object]:
    """Read one line of a guard's; empty if it is none."""
    if len(line) > _LONGEST_LINE:
        return {}
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _name(said: Mapping[str, object]) -> dict[str, str]:
    return {"name": ascii(said.get("name", ""))[:_SHOWN]}


def _event(said: Mapping[str, object]) -> dict[str, str]:
    """Give what a detector of events is told: hostile, and bounded."""
    told = {"name": str(said.get("name", ""))[:_SHOWN]}
    args = said.get("args")
    if isinstance(args, dict) and args:
        pairs = islice(args.items(), _MOST_ARGUMENTS)
        told |= {f"arg.{name[:40]}": str(value)[:_LONGEST_ARGUMENT] for name, value in pairs}
    if said.get("cut") is True or (isinstance(args, dict) and len(args) > _MOST_ARGUMENTS):
        told["cut"] = "yes"
    return told
