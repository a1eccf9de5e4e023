"""What a rule would have done: its own judges, fed with the past, nothing of the future.

    readings in the order of their times ─► judges ─► the vote as declared ─► episodes
                                                   ─► other votes over the same channels

An *episode* is one alarm, from its rise to its fall: one stop, if the rule stopped. The judges are
those that watch uses, so what the replay counts is what watch would have counted (REL-3); only
nobody resets in between, and what was not read, because watch was not there, is not judged.

Against known incidents an episode is *early* or *late* by so much, or *in vain*; and an incident
without an episode was missed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, groupby

from offswitch.config.declared import Rule as DeclaredRule
from offswitch.config.load import Loaded
from offswitch.config.section import SensorSection
from offswitch.config.series import parse_series
from offswitch.decide.votes import Channel, OnFailed, Vote, count
from offswitch.watch.channels import Judge, Source
from offswitch.watch.detectors.contract import Detector

__all__ = ["Episode", "Incident", "Judged", "Past", "Replay", "compare", "replay"]


@dataclass(frozen=True, slots=True)
class Past:
    """One reading of the past."""

    time_us: int
    """UTC, in microseconds."""
    series: str
    value: float
    detail: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Episode:
    """One alarm."""

    begin_us: int
    end_us: int | None
    """When it fell; None: it stood at the end."""
    why: str


@dataclass(frozen=True, slots=True)
class Replay:
    """What one vote came to."""

    vote: str
    """`as declared`, or what was tried instead."""
    episodes: tuple[Episode, ...]


@dataclass(slots=True)
class _Trial:
    vote: str
    trips: Callable[[Sequence[Channel]], bool]
    episodes: list[Episode] = field(default_factory=list)
    since: tuple[int, str] | None = None

    def take(self, time_us: int, states: Sequence[Channel], why: str) -> None:
        tripped = self.trips(states)
        if tripped and self.since is None:
            self.since = (time_us, why)
        elif not tripped:
            self.end(time_us)

    def end(self, time_us: int | None) -> None:
        if self.since is not None:
            self.episodes.append(Episode(self.since[0], time_us, self.since[1]))
        self.since = None


def replay(rule: DeclaredRule, loaded: Loaded, past: Iterable[Past]) -> list[Replay]:
    """Judge `past` (in the order of its times) as `rule` would have; other votes beside it."""
    judges = [_judge(rule, loaded, number) for number in range(len(rule.detectors))]
    by_series: dict[str, list[Judge]] = {}
    for judge in judges:
        by_series.setdefault(judge.section.series, []).append(judge)
    trials = list(_trials(rule))
    for time_us, readings in groupby(past, lambda one: one.time_us):
        for reading in readings:
            for judge in by_series.get(reading.series, ()):
                judge.source.hear(time_us, time_us, problem="", absent=False, note="")
                judge.feed(time_us, time_us, reading.value, reading.detail)
        seen = [judge.state(time_us, time_us) for judge in judges]
        states = [one.channel for one in seen]
        why = "; ".join(one.why for one in seen if one.channel is not Channel.OK)
        for trial in trials:
            trial.take(time_us, states, why)
    for trial in trials:
        trial.end(None)
    return [Replay(trial.vote, tuple(trial.episodes)) for trial in trials]


def _judge(rule: DeclaredRule, loaded: Loaded, number: int) -> Judge:
    section = rule.detectors[number]
    detector: Detector = loaded.kinds.detectors[section.kind].cls(section)
    sensor = _sensor(rule, loaded, section.series)
    cls = loaded.kinds.sensors[sensor.kind].cls
    source = Source(sensor, cls.SIGNAL, 0, hearsay=getattr(cls, "HEARSAY", False))
    return Judge(section, detector, source)


def _sensor(rule: DeclaredRule, loaded: Loaded, series: str) -> SensorSection:
    """Find the sensor of a series; the configuration was checked, so there is one."""
    name = parse_series(series).sensor
    make = loaded.kinds.implicit.get(name)
    if make is not None:
        return make(rule.target)
    return next(sensor for sensor in loaded.config.sensor if sensor.name == name)


def _trials(rule: DeclaredRule) -> Iterator[_Trial]:
    vote, on_failed = Vote(rule.vote), OnFailed(rule.on_failed)
    yield _Trial("as declared", lambda states: count(vote, states, on_failed).tripped)
    number = len(rule.detectors)
    if number == 1:
        return
    for at, detector in enumerate(rule.detectors):
        yield _Trial(f"{detector.kind} of {detector.series} alone", _of((at,), 1))
    for pair in combinations(range(number), 2) if number > 2 else ():  # noqa: PLR2004 - pairs
        kinds = " or ".join(rule.detectors[at].kind for at in pair)
        yield _Trial(f"1oo2: {kinds}", _of(pair, 1))


def _of(which: Sequence[int], needed: int) -> Callable[[Sequence[Channel]], bool]:
    return lambda states: sum(states[at] is Channel.TRIP for at in which) >= needed


@dataclass(frozen=True, slots=True)
class Incident:
    """What really happened, by somebody else's word."""

    begin_us: int
    end_us: int
    what: str


@dataclass(frozen=True, slots=True)
class Judged:
    """Episodes beside incidents."""

    early_us: Mapping[int, int]
    """For each incident that was met, by its number: how much earlier the alarm rose; negative:
    it came later."""
    in_vain: tuple[Episode, ...]
    missed: tuple[Incident, ...]


def compare(episodes: Sequence[Episode], incidents: Sequence[Incident], within_us: int) -> Judged:
    """Find which episode tells of which incident: up to `within_us` before it, or during it."""
    early: dict[int, int] = {}
    vain = []
    for episode in episodes:
        met = [
            number
            for number, one in enumerate(incidents)
            if one.begin_us - within_us <= episode.begin_us <= one.end_us
        ]
        for number in met:
            early.setdefault(number, incidents[number].begin_us - episode.begin_us)
        if not met:
            vain.append(episode)
    missed = [one for number, one in enumerate(incidents) if number not in early]
    return Judged(early, tuple(vain), tuple(missed))
