"""`/metrics` for Prometheus: what it takes to know whether stopping works, and no names.

    offswitch_stop_seconds{layer}          from the order until the layer was seen to stand still
    offswitch_stops_total{level}           orders; offswitch_unconfirmed_total{layer}
    offswitch_readiness{layer,state}       how many targets have the layer so
    offswitch_readiness_since_seconds      since when the first of them has it so (Unix time)
    offswitch_alarms_…                     the console's own alarms (ISA-18.2)
    offswitch_ledger_…                     how many entries, how far behind
    offswitch_drill_bound{layer}           failures on demand, at most, at 90 % (not a SIL claim)

Counters are made of the record: a station that starts anew counts it anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from offswitch.station.parts import Parts
from offswitch.station.times import BUCKETS_S, StopTimes

__all__ = ["Gauges"]

_STATES = ("ready", "degraded", "unproven", "absent")


class Gauges(Collector):
    """Everything, made anew each time that it is asked for."""

    def __init__(self, parts: Parts, times: StopTimes) -> None:
        """Measure the station of `parts`."""
        self._parts = parts
        self._times = times

    def collect(self) -> Iterator[Metric]:
        """Give all metrics."""
        yield from self._stops()
        yield from self._readiness()
        yield from self._alarms()
        yield from self._ledger()

    def _stops(self) -> Iterator[Metric]:
        took = HistogramMetricFamily(
            "offswitch_stop_seconds", "From the order until seen to stand still", labels=["layer"]
        )
        for layer, counts in sorted(self._times.buckets.items()):
            running, buckets = 0, []
            for bound, count in zip([*map(str, BUCKETS_S), "+Inf"], counts, strict=True):
                running += count
                buckets.append((bound, running))
            took.add_metric([layer], buckets, self._times.sums[layer] / 1e9)
        yield took
        orders = CounterMetricFamily("offswitch_stops", "Orders to stop", labels=["level"])
        for level, count in sorted(self._times.orders.items()):
            orders.add_metric([level], count)
        yield orders
        unseen = CounterMetricFamily(
            "offswitch_unconfirmed", "Receipts of layers that were not observed", labels=["layer"]
        )
        for layer, count in sorted(self._times.unconfirmed.items()):
            unseen.add_metric([layer], count)
        yield unseen

    def _readiness(self) -> Iterator[Metric]:
        picture = self._parts.hub.picture
        yield GaugeMetricFamily(
            "offswitch_live", "Whether the warden is heard", value=float(picture.live)
        )
        counted = Counter(
            (layer, state)
            for row in picture.targets.values()
            for layer, state in row.readiness.items()
        )
        ready = GaugeMetricFamily(
            "offswitch_readiness", "Targets by layer and its state", labels=["layer", "state"]
        )
        for layer in sorted({layer for layer, _state in counted}):
            for state in _STATES:
                ready.add_metric([layer, state], counted[layer, state])
        yield ready
        yield self._changed()
        targets = GaugeMetricFamily("offswitch_targets", "Targets by state", labels=["state"])
        for state, count in sorted(Counter(str(r.state) for r in picture.targets.values()).items()):
            targets.add_metric([state], count)
        yield targets
        latched = sum(1 for row in picture.targets.values() if row.level is not None)
        yield GaugeMetricFamily("offswitch_latched_targets", "Targets held", value=latched)
        bound = GaugeMetricFamily(
            "offswitch_drill_bound",
            "Failures on demand at most, 90 % (not a SIL claim)",
            labels=["layer", "demand"],
        )
        for row in self._parts.drilling.figures().layers:
            if row.n:
                bound.add_metric([row.layer, str(row.demand)], row.bound)
        yield bound

    def _changed(self) -> Metric:
        dates: dict[tuple[str, str], int] = {}
        for row in self._parts.hub.picture.targets.values():
            for layer, state in row.readiness.items():
                date = row.ready_since.get(layer, 0)
                known = dates.get((layer, state), date)
                dates[layer, state] = min(date or known, known or date)
        since = GaugeMetricFamily(
            "offswitch_readiness_since_seconds",
            "Since when the first target has the layer so (Unix time)",
            labels=["layer", "state"],
        )
        for key, date in sorted(dates.items()):
            if date:
                since.add_metric([*key], date / 1e6)
        return since

    def _alarms(self) -> Iterator[Metric]:
        made = self._parts.alarms.figures(self._parts.clock.wall_us())
        for name, told, value in (
            ("average_10min", "Annunciations in ten minutes, on average", made.average_10min),
            ("peak_10min", "Annunciations in ten minutes, at the worst", made.peak_10min),
            ("flood_share", "Share of time in flood", made.flood_share),
            ("standing", "Alarms that stand", made.standing),
            ("stale", "Alarms that stand for more than a day", made.stale),
            ("unacknowledged", "Annunciations that nobody has seen", made.unacked),
        ):
            yield GaugeMetricFamily(f"offswitch_alarms_{name}", told, value=float(value))

    def _ledger(self) -> Iterator[Metric]:
        tail, outbox = self._parts.tail, self._parts.outbox
        for name, told, value in (
            ("entries", "Entries in the record", tail.size),
            ("lag_entries", "Entries that this station has not read yet", tail.behind),
            (
                "waiting_entries",
                "Entries of this station that are not recorded yet",
                outbox.waiting,
            ),
        ):
            yield GaugeMetricFamily(f"offswitch_ledger_{name}", told, value=value)
