"""Sources and channels: how old what we know is, and what each detector makes of it.

A *source* is one sensor on one target. It is *ok*, *stale* when it has said nothing for
three intervals (MON-2; never taken for *all is well*), *failed* when it says that it
cannot see, or *absent* when there is nothing to look at. A *channel* is one detector of
one rule on one series. It is no better than its source; and if its own series falls
silent while the source speaks, it is stale by itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from offswitch.config.section import DetectorSection, SensorSection
from offswitch.decide.arbiter import ChannelState
from offswitch.decide.votes import Channel
from offswitch.model.finding import Finding
from offswitch.watch.approach import Approach
from offswitch.watch.detectors.contract import Detector, Verdict
from offswitch.watch.detectors.deadband import Deadband
from offswitch.watch.sensors.contract import Signal

__all__ = ["Judge", "Source", "shown_signals"]

_STALE_AFTER = 2.5
"""In intervals: what is due at three must be known by then."""
_LEAST_US = 100_000
_FIRST_LOOK_US = 5_000_000
"""How long an eye may take to start and look for the first time."""


_CLEAR_AFTER_US = 10_000_000
_STRICT = 0.8
"""The share of its limit at which a channel trips that is on probation."""
_STRICT_BAND = 0.1


class Source:
    """One sensor on one target, and how fresh what it says is."""

    __slots__ = (
        "_absent",
        "_problem",
        "_seen_us",
        "_since_us",
        "_unwell_us",
        "heard_us",
        "hearsay",
        "looks",
        "note",
        "section",
        "series",
        "signal",
        "state",
        "unseen_us",
    )

    def __init__(
        self, section: SensorSection, signal: Signal, mono_us: int, *, hearsay: bool = False
    ) -> None:
        """Expect a first look soon after `mono_us`; `hearsay`: it is the target's own words."""
        self.section = section
        self.signal = signal
        self.hearsay = hearsay
        self.state = Channel.OK
        self.note = ""
        self.looks = 0
        """How often it has said something."""
        self.series = 0
        """How many series its last look gave."""
        self.heard_us = 0
        """When it last looked, UTC in microseconds; 0: it has not."""
        self.unseen_us = 0
        """Since when nobody looks, because its eye was lost; 0: somebody does."""
        self._seen_us: int | None = None
        self._since_us = mono_us + _FIRST_LOOK_US
        self._unwell_us = 0
        self._problem = ""
        self._absent = True

    @property
    def key(self) -> tuple[str, str]:
        """The sensor's name and its target."""
        return (self.section.name, self.section.target)

    @property
    def problem(self) -> str:
        """Why it is not well, for people."""
        if self.state is Channel.STALE:
            return f"sensor {self.section.name} is silent"
        return self._problem

    @property
    def absent(self) -> bool:
        """Whether there is nothing to look at just now."""
        return self._absent

    def patience_us(self) -> int:
        """How long it may be silent."""
        return max(int(_STALE_AFTER * self.section.every), _LEAST_US)

    def age_us(self, mono_us: int) -> int | None:
        """How old the last look is that saw something; None: there was none."""
        return None if self._seen_us is None else mono_us - self._seen_us

    def hear(self, mono_us: int, wall_us: int, *, problem: str, absent: bool, note: str) -> None:
        """Take in that the sensor has looked."""
        if problem and self.state is not Channel.FAILED:
            self._unwell_us = wall_us
        self._absent = absent
        self._problem = problem
        self.note = note
        self.looks += 1
        self.heard_us = wall_us
        self._since_us = mono_us
        if not problem and not absent:
            self._seen_us = mono_us
        self.state = Channel.FAILED if problem else Channel.OK

    def silent_us(self, mono_us: int) -> int:
        """How long it has said nothing, good or bad."""
        return mono_us - self._since_us

    def wait(self, mono_us: int) -> None:
        """Expect it anew: its eye is being replaced. What it is called does not change by that."""
        self._since_us = mono_us + _FIRST_LOOK_US

    def lose(self) -> None:
        """Its eye was lost: until another one looks, nobody compares what is written."""
        self.unseen_us = self.unseen_us or self.heard_us

    def age(self, mono_us: int, wall_us: int) -> bool:
        """Let time pass; tells whether it has just fallen silent."""
        silent = mono_us - self._since_us > self.patience_us()
        if silent and self.state is not Channel.STALE:
            self.state = Channel.STALE
            self._unwell_us = wall_us
            return True
        return False

    def finding(self) -> Finding:
        """Claim that it is not well, since when it is not."""
        return Finding(
            detector="silence" if self.state is Channel.STALE else "failure",
            target=self.section.target,
            series=self.section.name,
            what=self.problem,
            time_us=self._unwell_us,
            score=1.0,
        )


_FIRST_READING_US = 1_000_000
"""How much longer a series may take to appear after its source has: statistics come second."""


@dataclass(slots=True)
class _Last:
    """The last reading of a channel."""

    mono_us: int
    wall_us: int
    value: float
    why: str
    detail: Mapping[str, str]
    evidence: Mapping[str, str] = field(default_factory=dict)


class Judge:
    """One channel: a detector on a series of a source."""

    __slots__ = (
        "_approach",
        "_detector",
        "_events",
        "_expected_us",
        "_finding",
        "_last",
        "_name",
        "_raised",
        "_score",
        "_strict",
        "_strict_until_us",
        "section",
        "source",
    )

    def __init__(self, section: DetectorSection, detector: Detector, source: Source) -> None:
        """Judge `section.series` of `source`."""
        self.section = section
        self.source = source
        self._detector: Any = detector
        self._events: bool = getattr(detector, "EVENTS", False)
        shown = section.model_dump(mode="json", exclude={"kind", "series"}, exclude_defaults=True)
        inside = ", ".join(f"{key}={value}" for key, value in shown.items())
        self._name = f"{section.kind}({inside})"
        self._last: _Last | None = None
        self._expected_us: int | None = None
        self._raised = False
        self._score = 0.0
        self._finding: Finding | None = None
        clear_after = getattr(section, "clear_after", _CLEAR_AFTER_US)
        shares = getattr(detector, "SHARES", False)
        self._approach = Approach(clear_after) if shares else None
        self._strict = Deadband.of(clear_after=clear_after)
        self._strict_until_us = 0

    def feed(self, mono_us: int, wall_us: int, value: float, detail: Mapping[str, str]) -> None:
        """Give one reading to the detector; whatever it raises makes the channel *failed*."""
        if math.isnan(value):
            why = detail.get("why", "the value cannot be known")
            self._last = _Last(mono_us, wall_us, value, why, detail)
            return
        try:
            seen = (value, detail) if self._events else (value,)
            verdict: Verdict = self._detector.update(mono_us, *seen)
            score, raised, why = float(verdict.score), bool(verdict.tripped), verdict.why
            evidence = verdict.evidence
        except Exception as error:  # noqa: BLE001 - a plugin's edge: a failed channel, and told
            score, raised, why = math.nan, False, f"the detector failed: {error!r}"[:300]
            value, evidence = math.nan, {}
        if math.isnan(score):
            self._last = _Last(mono_us, wall_us, math.nan, why, detail)
            return
        if mono_us < self._strict_until_us:
            near, far = score > _STRICT, score < _STRICT * (1 - _STRICT_BAND)
            if self._strict.update(mono_us, beyond=near, inside=far) and not raised:
                raised, why = True, f"{why}, on probation: {_STRICT:.0%} of the limit"
        self._last = _Last(mono_us, wall_us, value, why, detail, evidence)
        if self._approach is not None:
            self._approach.feed(mono_us, score, why)
        if self._raised and self.source.hearsay:
            raised = True  # a target does not take back, by what it says or no longer says (SR-6)
        if raised and not self._raised:
            self._finding = self._claim(score, detail)
        elif raised and self._finding is not None and score > self._score:
            # The alarm is one; its evidence is that of the worst reading.
            self._finding = self._claim(score, detail or self._finding.evidence)
        elif not raised:
            self._finding = None
        self._raised, self._score = raised, max(score, self._score) if raised else 0.0

    def _claim(self, score: float, detail: Mapping[str, str]) -> Finding:
        assert self._last is not None  # noqa: S101 - set by the caller
        last = self._last
        return Finding(
            detector=self._name,
            target=self.source.section.target,
            series=self.section.series,
            what=last.why,
            time_us=last.wall_us,
            score=score,
            evidence={**detail, **last.evidence, "value": f"{last.value:g}"},
        )

    def strict(self, mono_us: int) -> bool:
        """Tell whether it is on probation, so that less than its limit trips it."""
        return mono_us < self._strict_until_us

    def signs(self, mono_us: int, wall_us: int) -> list[Finding]:
        """Give what is to be said of it before it trips; it stops nothing."""
        if self._approach is None:
            return []
        return [
            Finding(
                detector=sign.kind,
                target=self.source.section.target,
                series=self.section.series,
                what=f"{self._name}: {sign.what}",
                time_us=wall_us,
                score=sign.share,
                evidence=sign.evidence,
            )
            for sign in self._approach.signs(mono_us, wall_us)
        ]

    @property
    def name(self) -> str:
        """Kind and parameters of its detector."""
        return self._name

    @property
    def trips(self) -> bool:
        """Whether its alarm stands."""
        return self._raised

    @property
    def score(self) -> float:
        """How far the worst reading of this alarm was out; 0: there is no alarm."""
        return self._score

    @property
    def nears(self) -> str:
        """Say how near its limit it is, for people; empty: it is not."""
        return self._approach.standing() if self._approach is not None and not self._raised else ""

    def stricter(self, until_us: int) -> None:
        """Be on probation at least until then."""
        self._strict_until_us = max(self._strict_until_us, until_us)

    def rearm(self, strict_until_us: int = 0) -> None:
        """A person has reset what it stopped: judge anew, and more strictly for a while."""
        self._raised, self._score, self._finding = False, 0.0, None
        self._strict_until_us = strict_until_us
        self._strict.rearm()
        if self._approach is not None:
            self._approach.rearm()
        try:
            self._detector.rearm()
        except Exception as error:  # noqa: BLE001 - a plugin's edge: a failed channel, and told
            why = f"the detector failed: {error!r}"[:300]
            self._last = _Last(0, 0, math.nan, why, {})

    def state(self, mono_us: int, wall_us: int) -> ChannelState:
        """Give the channel as the vote counts it."""
        series = self.section.series
        if self._raised and self._finding is not None:
            # An alarm that stands is not taken back by a source that falls silent: a target
            # that has been found out must not clear itself by blinding us (SR-6).
            return ChannelState(series, Channel.TRIP, self._finding.what, self._finding)
        source = self.source
        if source.state is not Channel.OK:
            return ChannelState(series, source.state, source.problem, source.finding())
        if source.absent:
            self._last = self._expected_us = None
            return ChannelState(series, Channel.OK, "nothing runs")
        last = self._last
        if self._expected_us is None:
            self._expected_us = mono_us
        if last is not None and math.isnan(last.value):
            return ChannelState(series, Channel.FAILED, last.why, self._unwell(last.why, wall_us))
        if self._events:
            silent = False  # events come when they come; whether anybody looks says the source
        elif last is None:
            silent = mono_us - self._expected_us > source.patience_us() + _FIRST_READING_US
        else:
            silent = mono_us - last.mono_us > source.patience_us()
        if silent:
            why = f"{series} is silent" if last else f"there is no series {series}"
            return ChannelState(series, Channel.STALE, why, self._unwell(why, wall_us))
        return ChannelState(series, Channel.OK, last.why if last else "no reading yet")

    def _unwell(self, why: str, wall_us: int) -> Finding:
        target = self.source.section.target
        return Finding("silence", target, self.section.series, why, wall_us, 1.0)


def shown_signals(sources: Sequence[Source], mono_us: int) -> dict[str, dict[str, dict[str, Any]]]:
    """Give what `status` shows: for each target and kind of signal the age and whether it is stale.

    The worst of several sources of one kind is shown; what is absent for now is left out.
    """
    shown: dict[str, dict[str, dict[str, Any]]] = {}
    for source in sources:
        if source.hearsay or (source.absent and source.state is Channel.OK):
            continue
        age_us = source.age_us(mono_us)
        age_ms = None if age_us is None else age_us // 1000
        stale = source.state is not Channel.OK
        kinds = shown.setdefault(source.section.target, {})
        known = kinds.get(source.signal.value)
        if known is not None:
            stale = stale or known["stale"]
            both = (age_ms, known["age_ms"])
            age_ms = None if None in both else max(age for age in both if age is not None)
        kinds[source.signal.value] = {"age_ms": age_ms, "stale": stale}
    return shown
