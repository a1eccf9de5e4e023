"""What runs beside the targets and is under no control: for `status`, and a finding each (MON-3).

It looks on at the readings of the sensor `untracked`. What it was last told of a target stands
until the sensor says otherwise, or says that there is nothing to look at: a sensor that falls
silent takes nothing off the list. One process is one finding, however often it is read.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from offswitch.decide.votes import Channel
from offswitch.model.finding import Finding
from offswitch.watch.channels import Source
from offswitch.watch.onlookers import Batch
from offswitch.watch.sensors.processes.outsiders import Outsider, heard

__all__ = ["Beside"]

_SENSOR = "untracked"
_SERIES = "untracked.processes"
_MOST_CLAIMED = 10_000
_MOST_LISTED = 1_000


class Beside:
    """The list, and the findings that are still to be made."""

    __slots__ = ("_claimed", "_fresh", "_known")

    def __init__(self) -> None:
        """Know of nobody."""
        self._known: dict[str, list[Outsider]] = {}
        self._claimed: OrderedDict[tuple[str, int, int], None] = OrderedDict()
        self._fresh: list[Finding] = []

    def take(self, batch: Batch) -> None:
        """Take in what was read of one target."""
        if batch.sensor != _SENSOR:
            return
        for series, _value, detail in batch.samples:
            if series == _SERIES:
                self._known[batch.target] = heard(detail)
                for one in self._known[batch.target]:
                    self._claim(batch, one)

    def _claim(self, batch: Batch, one: Outsider) -> None:
        # When it began is reckoned from two clocks and may differ by some ticks: by the second.
        key = (batch.target, one.pid, one.since_us // 1_000_000)
        near = ((*key[:2], key[2] + by) for by in (-1, 0, 1))
        if any(each in self._claimed for each in near):
            return
        self._claimed[key] = None
        if len(self._claimed) > _MOST_CLAIMED:
            self._claimed.popitem(last=False)
        what = f"process {one.pid} is outside of the cell of {batch.target}: {one.why}"
        evidence = {"name": one.name, "pid": str(one.pid), "began_us": str(one.since_us)}
        evidence["contradicts"] = "it is of another program that happens to bear this user"
        self._fresh.append(
            Finding("untracked", batch.target, _SERIES, what, batch.wall_us, 1.0, evidence)
        )

    def turn(self, mono_us: int, wall_us: int) -> Sequence[Finding]:  # noqa: ARG002 - the contract
        """Give the findings since the last turn."""
        fresh, self._fresh = self._fresh, []
        return fresh

    def listed(self, sources: Mapping[tuple[str, str], Source]) -> list[dict[str, Any]]:
        """Give what `status` lists; of targets that there is nothing to look at of, nothing."""
        rows: list[dict[str, Any]] = []
        for target in list(self._known):
            source = sources.get((_SENSOR, target))
            if source is None or (source.absent and source.state is Channel.OK):
                del self._known[target]
                continue
            rows += [
                {"pid": one.pid, "name": one.name, "since": one.since_us, "target": target}
                for one in self._known[target]
            ]
        return rows[:_MOST_LISTED]

    def close(self) -> None:
        """Hold nothing."""
