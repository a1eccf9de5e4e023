"""The stop itself, from outside: does anybody touch it? Every target has one, called `switch`.

    touched                    all of the below together
    touched{what="processes"}  ours that are traced, stopped or made over
    touched{what="files"}      our folders, sockets, page, latch and units: gone, replaced, written
    touched{what="rules"}      tables of the configuration that were taken out or made another
    touched{what="signals"}    processes of the target that no longer mind being asked to end
    touched{what="names"}      `kill` and the like made another thing where the target looks
    touched{what="descriptors"}  files of ours that the target holds open for writing

Each reading is what is wrong now, and what has happened since the look before. It looks four
times a second, by `stat` and /proc; what all targets share is looked at once for all of them. So
every such attempt is known within a second (DET-6), whoever makes it and whatever it says:

    detectors = [{ kind = "threshold", series = "switch.touched", above = 0 }]

A person who upgrades, edits a unit or takes a rule out touches it as well: bypass the rule first.
"""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from offswitch.config.section import Duration, SensorSection
from offswitch.control.place import Place, chosen
from offswitch.watch.sensors.contract import CellFacts, Glance, Need, Sample, SensorContext, Signal
from offswitch.watch.sensors.processes.proc import pids_below
from offswitch.watch.tampering.configuration import Configuration
from offswitch.watch.tampering.ours import Ours
from offswitch.watch.tampering.places import Places
from offswitch.watch.tampering.theirs import Theirs

__all__ = ["Grounds", "StopPath", "StopPathSection"]

_WHATS = ("processes", "files", "rules", "signals", "names", "descriptors")
_ALIVE = {"running", "restricted", "draining", "stopping", "frozen"}
_FRESH_US = 100_000
_THEIRS_US = 600_000
"""How often the target's own processes are looked at: each of them costs, and a second is time."""
_MOST_EVENTS = 256
_SHOWN = 300


class StopPathSection(SensorSection):
    """The keys of a sensor of the stop."""

    kind: Literal["stop_path"]
    every: Duration = 250_000
    units: str = "/etc/systemd/system"
    """Where systemd's files of ours lie."""

    SERIES: ClassVar[frozenset[str]] = frozenset({"touched"})

    def problem(self, what: str, labels: Mapping[str, str]) -> str | None:
        """Say why there is no such series; `touched` may be asked for one kind."""
        if (
            what == "touched"
            and labels
            and (set(labels) != {"what"} or labels["what"] not in _WHATS)
        ):
            return f"sensor {self.name} tells touched{{what=…}} apart: {', '.join(_WHATS)}"
        return super().problem(what, labels)


class Grounds:
    """What all targets share: looked at once, however many sensors ask."""

    __slots__ = (
        "_configuration",
        "_events",
        "_looked_us",
        "_number",
        "_ours",
        "_places",
        "lasting",
    )

    def __init__(self, place: Place, units: str) -> None:
        """Nothing is known before the first look."""
        self._places = Places(place, units)
        self._configuration = Configuration(place.config)
        self._ours = Ours(place, os.getppid())
        self._events: deque[tuple[int, str, str]] = deque(maxlen=_MOST_EVENTS)
        self._number = 0
        self._looked_us: int | None = None
        self.lasting: list[tuple[str, str]] = []
        """What is wrong now."""

    def look(self, mono_us: int, cells: set[int]) -> int:
        """Look, unless somebody just has; give the number of the last event."""
        if self._looked_us is not None and mono_us - self._looked_us < _FRESH_US:
            return self._number
        self._looked_us = mono_us
        found = [("processes", *one) for one in self._ours.wrong(cells)]
        found += [("files", *one) for one in self._places.wrong(mono_us)]
        found += [("rules", *one) for one in self._configuration.wrong()]
        self.lasting = [(what, text) for what, text, lasts in found if lasts]
        for what, text, lasts in found:
            if not lasts:
                self._number += 1
                self._events.append((self._number, what, text))
        return self._number

    def since(self, number: int) -> list[tuple[str, str]]:
        """Give what has happened since an event."""
        return [(what, text) for at, what, text in self._events if at > number]


class StopPath:
    """Looks at the stop for one target."""

    Settings: ClassVar[type[StopPathSection]] = StopPathSection
    SIGNAL: ClassVar[Signal] = Signal.METRICS
    ISOLATED: ClassVar[bool] = False
    NEEDS: ClassVar[frozenset[Need]] = frozenset({Need.FILES, Need.PROCESSES})
    IMPLICIT: ClassVar[str] = "switch"

    __slots__ = (
        "_context",
        "_grounds",
        "_heard",
        "_lasting",
        "_settings",
        "_theirs",
        "_theirs_us",
    )

    def __init__(self, settings: StopPathSection, context: SensorContext) -> None:
        """Look for `settings.target`, in the installation that watch says we belong to."""
        self._settings = settings
        self._context = context
        place = chosen()
        key = f"stop_path {settings.units}"
        self._grounds: Grounds = context.shared.setdefault(key, Grounds(place, settings.units))
        self._theirs = Theirs(place)
        self._heard: int | None = None
        self._theirs_us: int | None = None
        self._lasting: list[tuple[str, str]] = []
        """What was wrong with the target's processes when they were looked at last."""

    def wake(self) -> Sequence[int]:
        """Nothing wakes it: a change time cannot be set back, so nothing is missed."""
        return ()

    def look(self) -> Glance:
        """Look at what is shared and at the target."""
        cells = self._context.cells
        cell = cells.get(self._settings.target)
        if cell is None or cell.state not in _ALIVE:
            self._heard = self._theirs_us = None
            return Glance(absent=True)
        everyone = {pid for one in cells.values() for pid in one.pids}
        mono_us = self._context.clock.mono_us()
        number = self._grounds.look(mono_us, everyone)
        before = number if self._heard is None else self._heard
        self._heard = number
        found = [*self._grounds.lasting, *self._grounds.since(before)]
        return Glance(_told([*found, *self._of_theirs(cell, mono_us)]))

    def _of_theirs(self, cell: CellFacts, mono_us: int) -> list[tuple[str, str]]:
        """Say what is wrong with the target's own processes: what lasts, and what just happened."""
        if self._theirs_us is not None and mono_us - self._theirs_us < _THEIRS_US:
            return self._lasting
        self._theirs_us = mono_us
        try:
            pids = list(cell.pids) if cell.path is None else pids_below(cell.path)
        except OSError:
            pids = list(cell.pids)  # it ends just now
        wrong = list(self._theirs.wrong(pids, self._context.clock.wall_us() / 1e6))
        self._lasting = [(what, text) for what, text, lasts in wrong if lasts]
        return [(what, text) for what, text, _lasts in wrong]

    def close(self) -> None:
        """Nothing is held open."""


def _told(found: Sequence[tuple[str, str]]) -> list[Sample]:
    counts = Counter(what for what, _text in found)
    whys: dict[str, list[str]] = {}
    for what, text in found:
        whys.setdefault(what, []).append(text)
    samples = [
        Sample("touched", counts[what], {"what": what}, _why(whys.get(what, []))) for what in _WHATS
    ]
    return [Sample("touched", len(found), {}, _why([text for _, text in found])), *samples]


def _why(texts: Sequence[str]) -> dict[str, str]:
    return {"why": "; ".join(texts)[:_SHOWN]} if texts else {}
