from __future__ import annotations

import math
import random
from itertools import pairwise

import pytest

from offswitch.clock import SimulatedClock
from offswitch.config.load import Kinds, Loaded, installed_kinds, parse
from offswitch.decide.arbiter import Known
from offswitch.model.decision import Choice
from offswitch.watch.bench import Bench, rule_of
from offswitch.watch.channels import Judge, Source
from offswitch.watch.readings.replay import Episode, Incident, Past, compare, replay

TABLES = """
[[sensor]]
name = "db"
target = "shop/agent"
kind = "sqlite"
path = "/x"
tables = ["t"]

[[rule]]
name = "r"
target = "shop/agent"
harm = "h"
time_to_harm = "60s"
false_stop_cost = "c"
act = "auto"
"""
ONE = """detectors = [{ kind = "threshold", series = 'db.rows{table="t"}', above = 10 }]"""
THREE = """vote = "2oo3"
detectors = [
    { kind = "threshold", series = 'db.rows{table="t"}', above = 10 },
    { kind = "rate", series = 'db.rows_changed{table="t"}', above = 10, per = "5s" },
    { kind = "threshold", series = 'db.mean{column="c",table="t"}', above = 10 },
]
"""
ROWS, CHANGED, MEAN = (
    'db.rows{table="t"}',
    'db.rows_changed{table="t"}',
    'db.mean{column="c",table="t"}',
)


@pytest.fixture(scope="module")
def kinds() -> Kinds:
    return installed_kinds()


def loaded(kinds: Kinds, detectors: str) -> Loaded:
    return Loaded(parse((TABLES + detectors).encode(), "x", kinds), kinds, "x", "")


def past(seed: int, seconds: int = 3000) -> list[Past]:
    noise = random.Random(seed)
    return [
        Past(at * 1_000_000, series, noise.gauss(5, 3))
        for at in range(seconds)
        for series in (ROWS, CHANGED, MEAN)
    ]


def test_it_says_when_a_rule_would_have_stopped(kinds: Kinds) -> None:
    quiet = [Past(at * 1_000_000, ROWS, 20.0 if 50 <= at < 60 else 1.0) for at in range(200)]
    config = loaded(kinds, ONE)
    [done] = replay(config.config.rule[0], config, quiet)
    [episode] = done.episodes
    assert episode.begin_us == 50_000_000
    assert episode.end_us == 70_000_000, "ten seconds inside"
    assert "20, limit 10" in episode.why


def test_nothing_of_the_future_is_used(kinds: Kinds) -> None:
    config, readings = loaded(kinds, THREE), past(3)
    whole = replay(config.config.rule[0], config, readings)[0].episodes
    half = replay(config.config.rule[0], config, readings[: len(readings) // 2])[0].episodes
    assert half
    assert [one.begin_us for one in half] == [one.begin_us for one in whole[: len(half)]]


@pytest.mark.parametrize("seed", range(3))
def test_REL_3_a_replay_counts_what_watch_would_have_counted(kinds: Kinds, seed: int) -> None:
    """The live path, rule by rule as the loop drives it, on the same readings."""
    config, readings = loaded(kinds, THREE), past(seed)
    declared = config.config.rule[0]
    section = config.config.sensor[0]
    source = Source(section, kinds.sensors["sqlite"].cls.SIGNAL, 0)
    judges = [Judge(one, kinds.detectors[one.kind].cls(one), source) for one in declared.detectors]
    bench = Bench(rule_of(declared, "observe"), judges)
    clock = SimulatedClock()
    stops = 0
    for at in range(0, len(readings), 3):
        clock.advance(1_000_000 if at else 0)
        source.hear(clock.mono_us(), clock.wall_us(), problem="", absent=False, note="")
        for judge, reading in zip(judges, readings[at : at + 3], strict=True):
            judge.feed(clock.mono_us(), clock.wall_us(), reading.value, {})
        decision = bench.decide(Known(1, 1), clock.mono_us(), clock.wall_us())
        stops += decision is not None and decision.choice is Choice.WOULD_STOP
    assert stops > 3
    assert len(replay(declared, config, readings)[0].episodes) == stops


def test_REL_3_what_other_votes_would_have_cost_stands_beside_it(kinds: Kinds) -> None:
    config = loaded(kinds, THREE)
    done = replay(config.config.rule[0], config, past(1))
    counts = {one.vote: len(one.episodes) for one in done}
    assert len(counts) == 7
    assert counts["as declared"] > 0
    for first, second in pairwise(done[0].episodes):
        assert first.end_us is not None
        assert first.end_us <= second.begin_us
    alone = [count for vote, count in counts.items() if vote.endswith("alone")]
    assert max(alone) > 0


def test_a_value_that_cannot_be_known_trips_nothing(kinds: Kinds) -> None:
    config = loaded(kinds, ONE)
    readings = [Past(at * 1_000_000, ROWS, math.nan) for at in range(50)]
    assert replay(config.config.rule[0], config, readings)[0].episodes == ()


def test_episodes_beside_incidents_are_early_late_in_vain_or_missed() -> None:
    episodes = [Episode(at, at + 5, "") for at in (100, 205, 900)]
    incidents = [Incident(110, 120, "a"), Incident(200, 210, "b"), Incident(500, 510, "c")]
    judged = compare(episodes, incidents, 50)
    assert judged.early_us == {0: 10, 1: -5}
    assert [one.begin_us for one in judged.in_vain] == [900]
    assert [one.what for one in judged.missed] == ["c"]
