"""From pages to samples.

    gauge, untyped       NAME{…}                      the value
    counter              NAME{…}, NAME:new{…}         the value; how much is new since the last look
                         NAME:new                     the same, summed over all labels
    histogram            NAME_count:new, NAME_sum:new, and NAME:p50, NAME:p99 of what is new
    summary              NAME{quantile="…"}, NAME_count:new, NAME_sum:new

A colon is how Prometheus' own conventions name what was derived from a metric, so no exporter
shows such names; where one does, that line is left out. Quantiles say what they said last while
nothing new comes, 0 before anything has, since an idle server is no blind spot.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from offswitch.watch.counters import Counters, spread
from offswitch.watch.scrape.exposition import Line, Page
from offswitch.watch.sensors.contract import Sample

__all__ = ["DERIVED", "OURS", "Readings", "is_ours"]

OURS = "scrape:"
"""What the names of our own series begin with."""
_SHARES = {":p50": 0.5, ":p99": 0.99}
DERIVED = (":new", *_SHARES)
"""What the names of derived series end with."""
_MOST_BUCKETS = 200
_Labels = tuple[tuple[str, str], ...]
_SUMMED = {"histogram", "summary"}


def is_ours(name: str) -> bool:
    """Tell whether a name is one that only we give."""
    return name.startswith(OURS) or name.endswith(DERIVED)


class Readings:
    """Follows the counters of one source."""

    __slots__ = ("_counters", "_first", "_held", "_roles", "_typed", "dropped")

    def __init__(self, most: int) -> None:
        """Follow what `most` series show."""
        self._counters = Counters(2 * most)
        self._roles: dict[Line, str] = {}
        self._typed = -1
        self._held: dict[tuple[str, _Labels], list[float]] = {}
        self._first = True
        self.dropped = 0
        """Lines of the last page that bore a name of ours, or were too many buckets."""

    @property
    def resets(self) -> int:
        """How many counters began anew on the last page."""
        return self._counters.resets

    def take(self, page: Page) -> list[Sample]:
        """Give the samples of a page."""
        if len(page.kinds) != self._typed or len(self._roles) > 2 * len(page.values) + 1000:
            self._roles.clear()
            self._typed = len(page.kinds)
        self._counters.resets = self.dropped = 0
        samples: list[Sample] = []
        sums: dict[str, float] = {}
        buckets: dict[tuple[str, _Labels], dict[float, float]] = {}
        for line, value in page.values.items():
            role = self._roles.get(line)
            if role is None:
                role = self._roles[line] = _role(line, page.kinds)
            if role == "value":
                samples.append(Sample(line.name, value, line.labels))
            elif role == "bucket":
                self._bucket(line, value, buckets)
            elif role == "ours":
                self.dropped += 1
            elif role != "skip":
                if role == "counter":
                    samples.append(Sample(line.name, value, line.labels))
                self._count(line, value, samples, sums)
        samples += [Sample(name, value) for name, value in sums.items()]
        samples += self._quantiles(buckets)
        self._counters.turn()
        self._first = False
        return samples

    def _count(
        self, line: Line, value: float, samples: list[Sample], sums: dict[str, float]
    ) -> None:
        grown = self._counters.grow(line, value, new=0.0 if self._first else value)
        if grown is None:
            return
        name = f"{line.name}:new"
        sums[name] = sums.get(name, 0.0) + grown.by
        if line.labels:
            detail = {"reset": "it fell: the source began anew"} if grown.reset else {}
            samples.append(Sample(name, grown.by, line.labels, detail))

    def _bucket(
        self, line: Line, value: float, buckets: dict[tuple[str, _Labels], dict[float, float]]
    ) -> None:
        try:
            bound = float(line.labels["le"])
        except ValueError:
            self.dropped += 1
            return
        labels = tuple(sorted(pair for pair in line.labels.items() if pair[0] != "le"))
        mine = buckets.setdefault((line.name.removesuffix("_bucket"), labels), {})
        grown = self._counters.grow(line, value, new=0.0 if self._first else value)
        if grown is None or math.isnan(bound) or len(mine) >= _MOST_BUCKETS:
            self.dropped += 1
            return
        mine[bound] = grown.by

    def _quantiles(self, buckets: Mapping[tuple[str, _Labels], dict[float, float]]) -> list[Sample]:
        held, self._held = self._held, {}
        samples = []
        for key, grown in buckets.items():
            values = spread(grown, [*_SHARES.values()])
            if math.isnan(values[0]):
                values = held.get(key, [0.0] * len(values))
            self._held[key] = values
            name, labels = key
            for suffix, value in zip(_SHARES, values, strict=True):
                samples.append(Sample(name + suffix, value, dict(labels)))
        return samples


def _role(line: Line, kinds: Mapping[str, str]) -> str:
    """Say what a line is: `value`, `counter`, `sum`, `bucket`, `skip`, `ours`."""
    name = line.name
    if is_ours(name):
        return "ours"
    kind = kinds.get(name)
    if kind == "counter":
        return "counter"
    base, _, part = name.rpartition("_")
    family = kinds.get(base)
    match part:
        case "total" if family == "counter" or (kind is None and family is None):
            return "counter"
        case "created" if family in {"counter", *_SUMMED}:
            return "skip"
        case "count" | "sum" if family in _SUMMED:
            return "sum"
        case "bucket" if family == "histogram" or (family is None and "le" in line.labels):
            return "bucket" if "le" in line.labels else "skip"
        case "bucket" if family == "gaugehistogram":
            return "skip"
        case _:
            return "value"
