"""How a value comes near its limit: announcements, early signs, probation, DET-5."""

from __future__ import annotations

import math
import random

import pytest

from offswitch.clock import SimulatedClock
from offswitch.config.load import Kinds, installed_kinds, parse
from offswitch.decide.arbiter import Known
from offswitch.model.decision import Choice
from offswitch.model.finding import Finding
from offswitch.model.level import Level
from offswitch.watch.bench import Bench, rule_of
from offswitch.watch.channels import Judge, Source
from offswitch.watch.detectors.slope import Slope
from offswitch.watch.sensors.contract import Signal

CONFIG = """
[[sensor]]
name = "db"
target = "shop/agent"
kind = "sqlite"
path = "/x.db"
tables = ["t"]
every = "100ms"
[[rule]]
name = "r"
target = "shop/agent"
harm = "h"
time_to_harm = "5m"
false_stop_cost = "c"
act = "auto"
stop = { level = "restrict" }
detectors = [{ kind = "threshold", series = 'db.rows{table="t"}', above = 100, MORE }]
"""
S = 1_000_000


@pytest.fixture(scope="module")
def kinds() -> Kinds:
    return installed_kinds()


class Table:
    """One judge of one rule, fed on a clock that is only told to move."""

    def __init__(self, kinds: Kinds, more: str = "deadband = 0.1") -> None:
        self.clock = SimulatedClock(1000 * S)
        config = parse(CONFIG.replace("MORE", more).encode(), "x", kinds)
        [section], [declared] = config.sensor, config.rule
        source = Source(section, Signal.DATA, self.clock.mono_us())
        [wanted] = declared.detectors
        self.judge = Judge(wanted, kinds.detectors[wanted.kind].cls(wanted), source)
        self.source = source
        self.bench = Bench(rule_of(declared), [self.judge], declared.probation)
        self.found: list[Finding] = []
        self.rises = 0

    def see(self, value: float, wait_us: int = S // 10) -> None:
        now = self.clock.mono_us(), self.clock.wall_us()
        before = self.judge.trips
        self.source.hear(*now, problem="", absent=False, note="")
        self.judge.feed(*now, value, {})
        self.found += self.judge.signs(*now)
        self.rises += self.judge.trips and not before
        self.clock.advance(wait_us)

    @property
    def said(self) -> list[str]:
        return [one.what for one in self.found if one.detector == "announce"]

    @property
    def early(self) -> list[Finding]:
        return [one for one in self.found if one.detector == "early"]


def test_DET_5_a_square_wave_at_10_hz_for_a_minute_is_one_annunciation(kinds: Kinds) -> None:
    for high, announced in ((120.0, 3), (80.0, 2), (55.0, 1)):
        table = Table(kinds)
        for number in range(600):
            table.see(high if number % 2 else 0.0)
        assert table.rises == (high > 100)
        assert len(table.said) <= announced
        assert len(set(table.said)) == len(table.said), "each step once"


def test_a_limit_is_announced_at_50_75_and_90_percent_once_each(kinds: Kinds) -> None:
    table = Table(kinds)
    for value in (10, 49, 51, 52, 74, 76, 89, 91, 95, 91, 76, 51):
        table.see(value)
    assert [text.split(": ")[1][:3] for text in table.said] == ["50%", "75%", "90%"]
    assert table.judge.nears == "90% of the limit"
    for _ in range(150):
        table.see(10)
    assert table.judge.nears == ""
    before = len(table.said)
    table.see(60)
    assert len(table.said) == before + 1, "after it has long been below it is said again"


def test_DET_5_a_refractory_time_makes_an_alarm_last_and_withholds_none(kinds: Kinds) -> None:
    table = Table(kinds, 'refractory = "5m", clear_after = "1s"')
    for _ in range(4):
        table.see(120)
        for _ in range(100):
            table.see(0)
    assert table.rises == 1, "four peaks in a minute are one alarm"
    for _ in range(2700):
        table.see(0)
    assert not table.judge.trips
    table.see(120)
    assert table.rises == 2, "the next one is not withheld"
    table.judge.rearm()
    table.see(120)
    assert table.rises == 3, "nor is one after a reset"


def test_a_slow_climb_is_an_early_sign_long_before_its_limit_and_stops_nothing(
    kinds: Kinds,
) -> None:
    rng = random.Random(4)
    table = Table(kinds)
    for number in range(5400):  # a leak: from 20 to 110 in 90 minutes
        table.see(20 + number / 60 + rng.gauss(0, 1.5), S)
        if table.judge.trips:
            break
    [first, *_more] = table.early
    left_us = table.clock.wall_us() - first.time_us
    assert left_us > 20 * 60 * S, f"{left_us / 6e7:.0f} minutes ahead"
    assert len(table.early) <= 3
    assert first.what.startswith("threshold(above=100.0): at this rate the limit is reached in")
    assert set(first.evidence) == {"band", "slope", "contradicts"}


def test_a_fast_climb_after_an_hour_of_calm_is_seen_as_early(kinds: Kinds) -> None:
    rng = random.Random(5)
    table = Table(kinds)
    for _ in range(3600):
        table.see(30 + rng.gauss(0, 2), S)
    assert table.early == []
    begin = table.clock.wall_us()
    for number in range(300):  # five minutes from there to the limit
        table.see(30 + number * 70 / 300 + rng.gauss(0, 2), S)
    assert table.early[0].time_us - begin < 150 * S, "more than half of the time is left"


@pytest.mark.parametrize("seed", range(2))
def test_noise_and_a_steady_level_are_no_early_sign(kinds: Kinds, seed: int) -> None:
    rng = random.Random(seed)
    table = Table(kinds)
    for _ in range(2000):
        table.see(60 + rng.gauss(0, 5), S)
    assert table.early == []


def test_a_trend_is_found_through_outliers_and_by_its_own_past_only() -> None:
    slope = Slope()
    for number in range(599):
        slope.add(number * S, 0.2 + number / 1000 if number % 7 else 9.0 * (number % 2))
    crossing = slope.crossing()
    assert crossing is not None
    assert crossing.in_us == pytest.approx(202 * S, rel=0.15)
    assert crossing.earliest_us <= crossing.in_us <= crossing.latest_us
    slope.add(400 * S, math.nan)
    slope.clear()
    assert slope.crossing() is None


def test_RST_6_while_the_warden_says_that_it_is_on_probation_its_rules_are_strict(
    kinds: Kinds,
) -> None:
    """It may be started long after its reset: the probation of its start is what counts."""
    table = Table(kinds)
    bench = table.bench
    bench.heighten(table.clock.mono_us(), on_probation=False)
    assert not bench.probation(table.clock.mono_us())
    bench.heighten(table.clock.mono_us(), on_probation=True)
    table.see(85)
    assert bench.probation(table.clock.mono_us())
    decision = bench.decide(Known(1, 1), table.clock.mono_us(), table.clock.wall_us())
    assert decision is not None
    assert (decision.choice, decision.level) == (Choice.STOP, Level.DRAIN), "earlier, and harder"
    table.clock.advance(4 * S)
    assert not bench.probation(table.clock.mono_us()), "it lapses when nobody says so any more"


def test_RST_6_what_was_reset_is_on_probation_and_a_re_trip_is_one_level_higher(
    kinds: Kinds,
) -> None:
    table = Table(kinds)
    bench, known = table.bench, Known(1, 1)

    def decide() -> tuple[Choice, Level | None] | None:
        now = table.clock.mono_us(), table.clock.wall_us()
        decision = bench.decide(known, *now)
        return None if decision is None else (decision.choice, decision.level)

    table.see(85)
    assert decide() is None
    table.see(120)
    assert decide() == (Choice.STOP, Level.RESTRICT)
    bench.hear_of_latches({"shop/agent"}, {"shop/agent"}, table.clock.mono_us())
    table.see(10)
    assert bench.hear_of_latches({"shop/agent"}, set(), table.clock.mono_us()), "it is reset"
    assert bench.probation(table.clock.mono_us())
    table.see(79)
    assert decide() is None
    table.see(85)
    assert decide() == (Choice.STOP, Level.DRAIN), "earlier, and harder"
    table.clock.advance(31 * 60 * S)
    assert not bench.probation(table.clock.mono_us())
