"""Sources, channels and rules at work, on a clock that is only told to move."""

from __future__ import annotations

import math
import random

import pytest

from offswitch.clock import SimulatedClock
from offswitch.config.declared import Rule as DeclaredRule
from offswitch.config.load import Kinds, installed_kinds, parse
from offswitch.config.section import DetectorSection
from offswitch.decide.arbiter import Known
from offswitch.decide.votes import Channel
from offswitch.model.decision import Choice, Decision
from offswitch.model.level import Level
from offswitch.model.target import Target
from offswitch.watch.bench import Bench, rule_of
from offswitch.watch.channels import Judge, Source, shown_signals
from offswitch.watch.coverage import coverage
from offswitch.watch.detectors.contract import Verdict
from offswitch.watch.sensors.contract import Signal

CONFIG = """
[[sensor]]
name = "db"
target = "shop/agent"
kind = "sqlite"
path = "/x.db"
tables = ["t"]
every = "EVERY"
[[rule]]
name = "r"
target = "shop/agent"
harm = "h"
time_to_harm = "5m"
false_stop_cost = "c"
act = "auto"
detectors = [{ kind = "threshold", series = 'db.rows{table="t"}', above = 10 }]
"""
SERIES = 'db.rows{table="t"}'
AGENT = Target("shop/agent")
S = 1_000_000


@pytest.fixture(scope="module")
def kinds() -> Kinds:
    return installed_kinds()


class Desk:
    """One source, one channel, one rule."""

    def __init__(self, kinds: Kinds, every: str = "1s", detector: object = None) -> None:
        self.clock = SimulatedClock(1000 * S)
        config = parse(CONFIG.replace("EVERY", every).encode(), "x", kinds)
        [section], [declared] = config.sensor, config.rule
        self.source = Source(section, Signal.DATA, self.clock.mono_us())
        [wanted] = declared.detectors
        made = detector or kinds.detectors[wanted.kind].cls(wanted)
        self.judge = Judge(wanted, made, self.source)
        self.bench = Bench(rule_of(declared), [self.judge])
        self.declared: DeclaredRule = declared
        self.section: DetectorSection = wanted
        self.known = Known(1, 1)

    def now(self) -> tuple[int, int]:
        return self.clock.mono_us(), self.clock.wall_us()

    def see(self, value: float | None = 1.0, *, problem: str = "", absent: bool = False) -> None:
        self.source.hear(*self.now(), problem=problem, absent=absent, note="")
        if value is not None and not problem and not absent:
            self.judge.feed(*self.now(), value, {})

    def wait(self, us: int) -> bool:
        self.clock.advance(us)
        return self.source.age(*self.now())

    @property
    def channel(self) -> Channel:
        return self.judge.state(*self.now()).channel

    def decide(self) -> Decision | None:
        return self.bench.decide(self.known, *self.now())


@pytest.mark.parametrize(("every", "us"), [("100ms", S // 10), ("1s", S), ("1m", 60 * S)])
def test_MON_2_silence_is_stale_before_the_third_interval_ends(
    kinds: Kinds, every: str, us: int
) -> None:
    desk = Desk(kinds, every)
    desk.see()
    assert not desk.wait(us * 2)
    assert desk.channel is Channel.OK
    assert desk.wait(us * 9 // 10), "it is told once"
    assert not desk.wait(1)
    assert desk.channel is Channel.STALE
    finding = desk.source.finding()
    assert (finding.detector, finding.target) == ("silence", "shop/agent")
    desk.see()
    assert desk.channel is Channel.OK


def test_MON_2_a_source_that_never_speaks_is_stale_too(kinds: Kinds) -> None:
    desk = Desk(kinds)
    assert not desk.wait(5 * S), "an eye may take a while to start"
    assert desk.wait(3 * S)
    assert desk.channel is Channel.STALE


def test_MON_2_a_series_that_falls_silent_while_its_source_speaks_is_stale(kinds: Kinds) -> None:
    desk = Desk(kinds)
    for _ in range(3):
        desk.see()
        desk.wait(S)
    for _ in range(3):
        desk.see(None)
        desk.wait(S)
    assert desk.source.state is Channel.OK
    assert desk.channel is Channel.STALE


def test_MON_2_a_series_that_there_is_not_is_told_and_not_waited_for(kinds: Kinds) -> None:
    desk = Desk(kinds)
    for _ in range(6):
        desk.see(None)
        state = desk.judge.state(*desk.now())
        desk.wait(S)
    assert state.channel is Channel.STALE
    assert "there is no series" in state.why


def test_what_is_absent_is_neither_stale_nor_tripped_and_begins_anew(kinds: Kinds) -> None:
    desk = Desk(kinds)
    desk.see()
    for _ in range(20):
        desk.see(absent=True)
        assert not desk.wait(S)
        assert desk.channel is Channel.OK
    desk.see(None)
    assert desk.channel is Channel.OK, "its first reading may take a moment"


@pytest.mark.parametrize("value", [math.nan, None])
def test_what_cannot_be_known_is_failed_and_never_well(kinds: Kinds, value: float | None) -> None:
    desk = Desk(kinds)
    if value is None:
        desk.see(problem="the disk is gone")
    else:
        desk.see(value)
    assert desk.channel is Channel.FAILED
    decision = desk.decide()
    assert decision is not None
    assert decision.choice is Choice.NOTHING
    assert "blind" in decision.why


class _Broken:
    def __init__(self, how: str) -> None:
        self.how = how

    def update(self, mono_us: int, value: float) -> Verdict:
        if self.how == "raises":
            raise RuntimeError("a defect of somebody's")
        return Verdict(math.nan, True, "?") if self.how == "nan" else None  # type: ignore[return-value]

    def rearm(self) -> None:
        pass


@pytest.mark.parametrize("how", ["raises", "nan", "none"])
def test_a_detector_that_breaks_is_a_failed_channel(kinds: Kinds, how: str) -> None:
    desk = Desk(kinds, detector=_Broken(how))
    desk.see(5.0)
    assert desk.channel is Channel.FAILED


def test_SR_6_a_target_that_blinds_its_sensor_does_not_clear_its_alarm(kinds: Kinds) -> None:
    desk = Desk(kinds)
    desk.see(99.0)
    assert desk.channel is Channel.TRIP
    desk.see(problem="the file was replaced")
    assert desk.channel is Channel.TRIP
    desk.wait(60 * S)
    assert desk.channel is Channel.TRIP
    desk.see(absent=True)
    assert desk.channel is Channel.TRIP


def test_DET_5_a_rule_on_a_rattling_value_decides_once(kinds: Kinds) -> None:
    desk = Desk(kinds, "100ms")
    rng, decisions = random.Random(3), []
    for number in range(600):
        desk.see(10.0 + (rng.random() if number % 2 else -rng.random()))
        decisions.append(desk.decide())
        desk.known = Known(0, 0)
        desk.wait(S // 10)
    stops = [one for one in decisions if one is not None and one.choice is Choice.STOP]
    assert len(stops) == 1


def test_an_alarm_keeps_the_evidence_of_its_worst_reading(kinds: Kinds) -> None:
    desk = Desk(kinds)
    for value in (11.0, 50.0, 12.0):
        desk.see(value)
        desk.wait(S // 10)
    finding = desk.judge.state(*desk.now()).finding
    assert finding is not None
    assert finding.evidence["value"] == "50"
    assert finding.detector == "threshold(above=10.0)"


def test_a_reset_of_one_target_makes_the_rule_judge_anew(kinds: Kinds) -> None:
    desk = Desk(kinds)
    desk.see(99.0)
    decision = desk.decide()
    assert decision is not None
    assert decision.choice is Choice.STOP
    assert desk.bench.tripped
    assert desk.bench.since_us
    assert not desk.bench.hear_of_latches({"shop/agent"}, set()), "said before the stop was there"
    assert desk.bench.tripped
    assert not desk.bench.hear_of_latches({"shop/agent"}, {"shop/agent"})
    assert desk.bench.hear_of_latches({"shop/agent"}, set()), "a person has reset it"
    assert not desk.bench.tripped
    assert desk.channel is Channel.OK
    desk.see(99.0)
    again = desk.decide()
    assert again is not None
    assert again.choice is Choice.STOP, "what is still wrong is stopped again"


def test_what_runs_in_a_rules_scope_is_known_by_its_level() -> None:
    cells: dict[str, dict[str, str | None]] = {
        "shop/agent": {"state": "running", "level": None},
        "shop/agent/a": {"state": "frozen", "level": "freeze"},
        "shop/agent/b": {"state": "stopped", "level": "kill"},
        "shop/agents": {"state": "running", "level": None},
    }
    targets = {name: Target(name, {"tenant": "acme"}) for name in cells}
    scopes = ["shop/agent", "/", "tenant=acme", "nobody"]
    found = coverage(scopes, targets, cells)
    assert found["shop/agent"].names == {"shop/agent", "shop/agent/a", "shop/agent/b"}
    assert found["shop/agent"].latched == {"shop/agent/a", "shop/agent/b"}
    assert found["shop/agent"].known(Level.KILL) == Known(running=2, unlatched=2)
    assert found["shop/agent"].known(Level.FREEZE) == Known(running=2, unlatched=1)
    assert found["/"].known(Level.KILL) == found["tenant=acme"].known(Level.KILL) == Known(3, 3)
    assert found["nobody"].known(Level.KILL) == Known(0, 0)
    cells["shop/agent/a"]["level"] = "kill"
    cells["shop/agent"]["level"] = "nobody knows"
    again = coverage(scopes, targets, cells)["shop/agent"]
    assert again.known(Level.KILL) == Known(running=2, unlatched=1)


def test_status_shows_the_worst_of_several_sources_of_one_kind(kinds: Kinds) -> None:
    desks = [Desk(kinds), Desk(kinds)]
    mono = desks[0].clock.mono_us()
    sources = [desk.source for desk in desks]
    assert shown_signals(sources, mono) == {}, "what was never seen and is not late is left out"
    desks[0].see()
    assert shown_signals(sources, mono + S)["shop/agent"]["data"] == {
        "age_ms": 1000,
        "stale": False,
    }
    desks[1].see(problem="gone")
    assert shown_signals(sources, mono + S)["shop/agent"]["data"] == {"age_ms": None, "stale": True}
