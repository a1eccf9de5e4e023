"""What runs beside a target and is under no control: processes of its own outside of its cell.

    processes    how many there are just now; who they are is in the reading's detail

The kernel says so, not the target: where it runs, whose child it is, under which user. All
targets of an eye share one search (`outside`), twice a second. `status` lists what is found
within two seconds (MON-3), and each is a finding; none is stopped by that, since a process
outside of every cell is reached by the sweep and by people, not by a cell's kill.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from offswitch.config.section import Duration, SensorSection
from offswitch.watch.sensors.contract import Glance, Need, Sample, SensorContext, Signal
from offswitch.watch.sensors.processes.outside import Outside
from offswitch.watch.sensors.processes.outsiders import told

__all__ = ["Untracked", "UntrackedSection"]

_RUNS = {"running", "restricted", "draining", "stopping", "frozen"}
_SEARCH = "outside"


class UntrackedSection(SensorSection):
    """The keys of a sensor of what is beside a target: none of its own."""

    kind: Literal["untracked"]
    every: Duration = 500_000
    """How often it searches, at the least."""

    SERIES: ClassVar[frozenset[str]] = frozenset({"processes"})


class Untracked:
    """Says what one target has outside of its cell."""

    Settings: ClassVar[type[UntrackedSection]] = UntrackedSection
    SIGNAL: ClassVar[Signal] = Signal.METRICS
    ISOLATED: ClassVar[bool] = False
    NEEDS: ClassVar[frozenset[Need]] = frozenset({Need.FILES, Need.PROCESSES})
    IMPLICIT: ClassVar[str] = "untracked"

    __slots__ = ("_context", "_settings")

    def __init__(self, settings: UntrackedSection, context: SensorContext) -> None:
        """Look beside `settings.target`."""
        self._settings = settings
        self._context = context

    def wake(self) -> Sequence[int]:
        """Nothing wakes it."""
        return ()

    def look(self) -> Glance:
        """Search, unless another target's sensor just has."""
        cell = self._context.cells.get(self._settings.target)
        if cell is None:
            return Glance(absent=True)
        search = self._context.shared.get(_SEARCH)
        if search is None:
            search = Outside(self._context.cells, self._context.clock)
            self._context.shared[_SEARCH] = search
        found = search.of(self._settings.target)
        if not found and cell.state not in _RUNS:
            return Glance(absent=True)
        return Glance([Sample("processes", float(len(found)), {}, told(found))])

    def close(self) -> None:
        """Nothing is held open."""
