"""Metrics of OTLP as samples.

    gauge, sum that may fall     NAME{attributes}              the value
    sum that only grows          NAME, NAME:new                the value; how much is new
    histogram                    NAME_count:new, NAME_sum:new, NAME:p50, NAME:p99 of what is new
    exponential histogram, summary   NAME_count:new, NAME_sum:new

Deltas are what is new already; of cumulative ones it is derived (`watch.counters`). A counter
that says it began after we did is new as a whole. `service.name` of the resource is a label.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from offswitch.watch.counters import Counters, spread
from offswitch.watch.otlp.attributes import labels_of, plain_name, read_attributes, text_of
from offswitch.watch.sensors.contract import Sample

__all__ = ["Metrics"]

Message = Any
"""Of protobuf's, whose classes are made when they are imported."""

_DELTA = 1
_NO_VALUE = 1
"""`DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK`."""
_MOST_BUCKETS = 200
_SHARES = {"p50": 0.5, "p99": 0.99}


class Metrics:
    """Reads metrics, so many series at most."""

    __slots__ = ("_begun_ns", "_counters", "_most", "_reserved", "_series", "gaps")

    def __init__(self, most: int, reserved: frozenset[str], wall_us: int) -> None:
        """Read `most` series of points; `reserved` are names that no metric may bear."""
        self._most = most
        self._reserved = reserved
        self._begun_ns = wall_us * 1000
        self._series: set[tuple[str, tuple[tuple[str, str], ...]]] = set()
        self._counters = Counters(most * 4)
        self.gaps = 0
        """Counters that began anew, since this was last set to 0."""

    def read(self, request: Message) -> tuple[list[Sample], int]:
        """Give the samples of a request, and how many points were rejected."""
        samples: list[Sample] = []
        rejected = 0
        self._counters.resets = 0
        for resource in request.resource_metrics:
            service = read_attributes(resource.resource.attributes).get("service.name")
            more = {"service.name": text_of(service, 100)} if service is not None else {}
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    shape = metric.WhichOneof("data")
                    if shape is None:
                        continue
                    data = getattr(metric, shape)
                    name = plain_name(metric.name)
                    for point in data.data_points:
                        if point.flags & _NO_VALUE:
                            continue
                        labels = labels_of(point.attributes, more)
                        if name in self._reserved or not self._room(name, labels):
                            rejected += 1
                            continue
                        samples.extend(self._point(shape, data, name, labels, point))
        self._counters.turn()
        self.gaps += self._counters.resets
        return samples, rejected

    def _room(self, name: str, labels: Mapping[str, str]) -> bool:
        key = (name, tuple(sorted(labels.items())))
        if key not in self._series:
            if len(self._series) >= self._most:
                return False
            self._series.add(key)
        return True

    def _point(
        self,
        shape: str,
        data: Message,
        name: str,
        labels: Mapping[str, str],
        point: Message,
    ) -> Iterator[Sample]:
        if shape == "gauge":
            yield Sample(name, _value(point), labels)
            return
        delta = shape != "summary" and data.aggregation_temporality == _DELTA
        if shape == "sum":
            value = _value(point)
            if not delta:
                yield Sample(name, value, labels)
            if data.is_monotonic or delta:
                yield from self._new(f"{name}:new", labels, value, point, delta=delta)
            return
        yield from self._new(f"{name}_count:new", labels, float(point.count), point, delta=delta)
        yield from self._new(f"{name}_sum:new", labels, float(point.sum), point, delta=delta)
        if shape == "histogram":
            yield from self._quantiles(name, labels, point, delta=delta)

    def _new(
        self,
        name: str,
        labels: Mapping[str, str],
        value: float,
        point: Message,
        *,
        delta: bool,
    ) -> Iterator[Sample]:
        if delta:
            yield Sample(name, value, labels)
            return
        grown = self._counters.grow(self._key(name, labels), value, new=self._fresh(point, value))
        if grown is not None:
            yield Sample(name, grown.by, labels, {"reset": "it began anew"} if grown.reset else {})

    def _quantiles(
        self,
        name: str,
        labels: Mapping[str, str],
        point: Message,
        *,
        delta: bool,
    ) -> Iterator[Sample]:
        bounds = [*point.explicit_bounds, math.inf]
        counts = list(point.bucket_counts)
        if not counts or len(counts) != len(bounds) or len(counts) > _MOST_BUCKETS:
            return
        grown: dict[float, float] = {}
        total = 0.0
        for bound, count in zip(bounds, counts, strict=True):
            fresh: float = float(count)
            if not delta:
                key = (*self._key(name, labels), bound)
                known = self._counters.grow(key, fresh, new=self._fresh(point, fresh))
                fresh = known.by if known is not None else 0.0
            total += fresh
            grown[bound] = total
        if total > 0:
            for (suffix, _), value in zip(
                _SHARES.items(), spread(grown, [*_SHARES.values()]), strict=True
            ):
                yield Sample(f"{name}:{suffix}", value, labels)

    def _fresh(self, point: Message, value: float) -> float:
        return value if point.start_time_unix_nano >= self._begun_ns else 0.0

    @staticmethod
    def _key(name: str, labels: Mapping[str, str]) -> tuple[object, ...]:
        return (name, *sorted(labels.items()))


def _value(point: Message) -> float:
    return float(point.as_int if point.WhichOneof("value") == "as_int" else point.as_double)
