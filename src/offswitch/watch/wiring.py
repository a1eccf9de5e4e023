"""What looks at what, and who judges it: eyes, sources, rules, and the ways between them.

    [[sensor]] ─► a source in an eye          [[rule]] ─► a bench of judges, each on one series

A source is one sensor on one target. Sensors of what the target made get an eye of their own;
those of what the kernel says share one, and so do those that name the same eye.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from offswitch.clock import Clock
from offswitch.config.crosscheck import dependent_sensors
from offswitch.config.declared import Rule as DeclaredRule
from offswitch.config.load import Loaded
from offswitch.config.same_weights import same_weights
from offswitch.config.section import SensorSection
from offswitch.config.series import parse_series
from offswitch.model.entry import EntryKind
from offswitch.watch.bench import Bench, rule_of
from offswitch.watch.channels import Judge, Source
from offswitch.watch.eyes import Bear, EyeLink
from offswitch.watch.prepared import NOTHING, Prepared
from offswitch.watch.scribe import Scribe
from offswitch.watch.sensors.contract import Need, Signal

__all__ = ["CELLS_EYE", "Key", "Wiring"]

CELLS_EYE = "cells"

Key = tuple[str, str]
"""A source: the sensor's name and its target."""


class Wiring:
    """The eyes, sources and rules of one watch."""

    def __init__(
        self,
        home: str,
        loaded: Loaded,
        clock: Clock,
        scribe: Scribe,
        bear: Bear,
        prepared: Mapping[str, Prepared],
    ) -> None:
        """Wire what `loaded` declares; what cannot be kept is told by `scribe`."""
        self._home = home
        self._loaded = loaded
        self._clock = clock
        self._scribe = scribe
        self._bear = bear
        self._prepared = prepared
        self.eyes: dict[str, EyeLink] = {}
        self.sources: dict[Key, Source] = {}
        self.eye_of: dict[Key, str] = {}
        self.by_series: dict[tuple[str, str, str], list[tuple[Bench, Judge]]] = {}
        self.by_source: dict[Key, list[Bench]] = {}
        self.benches: list[Bench] = []
        self.implicit = loaded.kinds.implicit
        # Up before the first cell: a target is looked at from its first second on.
        shared = [one.cls for one in loaded.kinds.sensors.values() if not one.cls.ISOLATED]
        needs = frozenset[Need]().union(*(cls.NEEDS for cls in shared))
        self.eyes[CELLS_EYE] = EyeLink(CELLS_EYE, needs, clock, bear)
        for section in loaded.config.sensor:
            self.add_source(section)
        self._named = {section.name: section for section in loaded.config.sensor}
        for declared in loaded.config.rule:
            self.add_rule(declared)

    def add_source(self, section: SensorSection) -> Source:
        """Have a sensor look at its target; the same one twice is one."""
        key = (section.name, section.target)
        known = self.sources.get(key)
        if known is not None:
            return known
        cls = self._loaded.kinds.sensors[section.kind].cls
        # Who speaks, and of what, is for the configuration to say where a kind has keys for it.
        hearsay = bool(getattr(section, "hearsay", getattr(cls, "HEARSAY", False)))
        signal = Signal(getattr(section, "signal", cls.SIGNAL))
        source = Source(section, signal, self._clock.mono_us(), hearsay=hearsay)
        self.sources[key] = source
        name = section.eye() if cls.ISOLATED or section.apart() else CELLS_EYE
        eye = self.eyes.get(name)
        if eye is None:
            eye = self.eyes[name] = EyeLink(name, cls.NEEDS, self._clock, self._bear)
        eye.need(cls.NEEDS)
        self.eye_of[key] = name
        evidence = self._evidence(section.name) if cls.ISOLATED else None
        prepared = self._prepared.get(section.name, NOTHING)
        eye.open(section.model_dump(mode="json"), evidence, prepared)
        return source

    def lag_us(self, target: str, series: str) -> tuple[int, int]:
        """Say how long after the fact a finding on a series may come: at most, and at least.

        That is the interval of its sensor, and what its detectors wait on purpose, as far as known.
        """
        sensor = series.partition(".")[0].partition("{")[0]
        source = self.sources.get((sensor, target))
        judged = self.by_series.get((sensor, target, series), ())
        waits = [judge.section.delay_us() for _bench, judge in judged]
        every_us = source.section.every if source is not None else 0
        return every_us + max(waits, default=0), min(waits, default=0)

    def forget(self, key: Key) -> None:
        """Let go of a source."""
        self.eyes[self.eye_of.pop(key)].close_sensor(*key)
        del self.sources[key]

    def _evidence(self, name: str) -> str | None:
        folder = f"{self._home}/evidence"
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)
        except OSError as error:
            self._scribe.tell(
                EntryKind.NOTE,
                f"no before-images of {name} are kept",
                why=f"{folder}: {error.strerror}",
                prior="nothing is kept",
                state="nothing is kept",
            )
            return None
        return f"{folder}/{name}.jsonl"

    def renew(self, loaded: Loaded, prepared: Mapping[str, Prepared]) -> None:
        """Wire another configuration in the place of this one; what is the same goes on."""
        before = self._named
        self._named = {section.name: section for section in loaded.config.sensor}
        self._loaded, self._prepared = loaded, {**self._prepared, **prepared}
        for name, section in before.items():
            if self._named.get(name) != section and (name, section.target) in self.sources:
                self.forget((name, section.target))
        for name in self.eyes.keys() - {CELLS_EYE} - set(self.eye_of.values()):
            self.eyes[name].rest()
        for section in self._named.values():
            self.add_source(section)
        earlier = {bench.rule.name: bench for bench in self.benches}
        self.benches, self.by_series, self.by_source = [], {}, {}
        for declared in loaded.config.rule:
            self.add_rule(declared, earlier.get(declared.name))

    def add_rule(self, declared: DeclaredRule, earlier: Bench | None = None) -> Bench:
        """Have a rule judge its series, in the place of an `earlier` one of its name."""
        judges = []
        known = [] if earlier is None else earlier.judges
        for section in declared.detectors:
            name = parse_series(section.series)
            make = self.implicit.get(name.sensor)
            source = self.add_source(make(declared.target) if make else self._named[name.sensor])
            same = (one for one in known if one.section == section and one.source is source)
            judge = next(same, None)
            if judge is None or judge in judges:
                detector = self._loaded.kinds.detectors[section.kind].cls(section)
                judge = Judge(section, detector, source)
            judges.append(judge)
        config = self._loaded.config
        dependent = self._loaded.kinds.dependent | dependent_sensors(config.sensor)
        rule = rule_of(declared, config.mode, dependent, same_weights(config, declared))
        bench = Bench(rule, judges, declared.probation)
        if earlier is not None and earlier.rule.scope == rule.scope:
            bench.succeed(earlier)
        self.benches.append(bench)
        for key in {judge.source.key for judge in judges}:
            self.by_source.setdefault(key, []).append(bench)
        for judge in judges:
            self.by_series.setdefault((*judge.source.key, judge.section.series), []).append(
                (bench, judge)
            )
        return bench
