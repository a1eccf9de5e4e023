"""From channels to decisions, without a clock or a process."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from offswitch.decide.arbiter import FRESH, ChannelState, Known, Standing, decide
from offswitch.decide.budget import parse_budget
from offswitch.decide.rules import Act, Rule
from offswitch.decide.votes import Channel, OnFailed, Vote, count
from offswitch.model.decision import Choice, Decision
from offswitch.model.finding import Finding
from offswitch.model.level import Level
from offswitch.model.scope import Scope

RULE = Rule(
    name="mass-write",
    target="shop/agent",
    scope=Scope("shop/agent"),
    level=Level.KILL,
    act=Act.AUTO,
    vote=Vote.ONE_OF_ONE,
    on_failed=OnFailed.DEGRADE,
    decider="AUTO",
    harm="wrong prices are charged",
    time_to_harm_us=5_000_000,
    false_stop_cost="minutes",
)
RUNS = Known(running=1, unlatched=1)
LATCHED = Known(running=0, unlatched=0)
SECOND = 1_000_000


def _channel(channel: Channel, series: str = "db.rows") -> ChannelState:
    finding = None
    if channel is not Channel.OK:
        finding = Finding("rate()", "shop/agent", series, f"it is {channel}", 1, 2.0)
    return ChannelState(series, channel, f"it is {channel}", finding)


def _decide(
    *channels: Channel,
    rule: Rule = RULE,
    standing: Standing = FRESH,
    known: Known = RUNS,
    at: int = 0,
) -> tuple[Decision | None, Standing]:
    states = [_channel(one, f"db.s{number}") for number, one in enumerate(channels)]
    return decide(rule, states, known, standing, mono_us=at, wall_us=at + 7)


@pytest.mark.parametrize(
    ("act", "choice"),
    [(Act.AUTO, Choice.STOP), (Act.ADVISE, Choice.ASK), (Act.SHADOW, Choice.WOULD_STOP)],
)
def test_a_vote_that_trips_does_what_its_rule_may(act: Act, choice: Choice) -> None:
    decision, standing = _decide(Channel.TRIP, rule=replace(RULE, act=act), at=5)
    assert decision is not None
    assert (decision.choice, decision.level, decision.by) == (choice, Level.KILL, "rule:mass-write")
    assert decision.scope.text == "shop/agent"
    assert decision.time_us == 12
    assert "wrong prices are charged" in decision.why
    assert decision.findings
    assert decision.known["db.s0"] == "trip: it is trip"
    assert standing.tripped


def test_nothing_new_is_no_decision() -> None:
    decision, standing = _decide(Channel.OK)
    assert decision is None
    decision, standing = _decide(Channel.TRIP, standing=standing)
    assert decision is not None
    decision, _ = _decide(Channel.TRIP, standing=standing, known=LATCHED)
    assert decision is None


def test_REC_1_deciding_to_do_nothing_is_a_decision_with_its_reason() -> None:
    rule = replace(RULE, vote=Vote.TWO_OF_THREE)
    decision, standing = _decide(Channel.TRIP, Channel.OK, Channel.OK, rule=rule)
    assert decision is not None
    assert (decision.choice, decision.level) == (Choice.NOTHING, None)
    assert "not enough" in decision.why
    assert len(decision.findings) == 1
    decision, standing = _decide(
        Channel.TRIP, Channel.TRIP, Channel.OK, rule=rule, standing=standing
    )
    assert decision is not None
    assert decision.choice is Choice.STOP
    assert len(decision.findings) == 2


def test_a_channel_that_falls_silent_is_told_and_lowers_the_bar() -> None:
    rule = replace(RULE, vote=Vote.TWO_OF_THREE)
    decision, standing = _decide(Channel.STALE, Channel.OK, Channel.OK, rule=rule)
    assert decision is not None
    assert decision.choice is Choice.NOTHING
    decision, _ = _decide(Channel.STALE, Channel.TRIP, Channel.OK, rule=rule, standing=standing)
    assert decision is not None
    assert decision.choice is Choice.STOP
    assert "1oo2" in decision.why


def test_MON_2_a_rule_without_a_seeing_channel_says_blind_and_never_well() -> None:
    decision, standing = _decide(Channel.STALE)
    assert decision is not None
    assert decision.why.startswith("blind")
    assert standing.blind
    assert _decide(Channel.STALE, standing=standing)[0] is None
    decision, standing = _decide(Channel.OK, standing=standing)
    assert decision is not None
    assert "well again" in decision.why
    assert not standing.blind


def test_an_alarm_that_falls_is_told_and_clears_nothing() -> None:
    _, standing = _decide(Channel.TRIP)
    decision, standing = _decide(Channel.OK, standing=standing, known=LATCHED)
    assert decision is not None
    assert decision.choice is Choice.NOTHING
    assert "stays latched" in decision.why
    decision, _ = _decide(Channel.TRIP, standing=standing)
    assert decision is not None
    assert decision.choice is Choice.STOP, "it rises again"


def test_SR_12_what_runs_unlatched_while_the_alarm_stands_is_stopped_again() -> None:
    _, standing = _decide(Channel.TRIP, at=0)
    assert _decide(Channel.TRIP, standing=standing, at=SECOND - 1)[0] is None
    decision, again = _decide(Channel.TRIP, standing=standing, at=SECOND)
    assert decision is not None
    assert decision.choice is Choice.STOP
    assert "unlatched" in decision.why
    assert _decide(Channel.TRIP, standing=again, at=SECOND + 1)[0] is None
    assert _decide(Channel.TRIP, standing=again, at=2 * SECOND)[0] is not None
    assert _decide(Channel.TRIP, standing=standing, at=SECOND, known=LATCHED)[0] is None


@pytest.mark.parametrize("act", [Act.ADVISE, Act.SHADOW])
def test_only_an_automatic_rule_repeats_itself(act: Act) -> None:
    rule = replace(RULE, act=act, time_to_harm_us=60 * SECOND)
    _, standing = _decide(Channel.TRIP, rule=rule)
    assert _decide(Channel.TRIP, rule=rule, standing=standing, at=9 * SECOND)[0] is None


def test_a_rule_that_is_told_to_trip_on_failure_stops_when_it_goes_blind() -> None:
    rule = replace(RULE, on_failed=OnFailed.TRIP)
    decision, standing = _decide(Channel.STALE, rule=rule)
    assert decision is not None
    assert decision.choice is Choice.STOP
    assert standing.blind


def test_SR_12_a_spent_budget_is_an_alarm_and_withholds_nothing() -> None:
    rule = replace(RULE, budget=parse_budget("2 per 1h"))
    standing, spent = FRESH, []
    for number in range(5):
        decision, standing = _decide(
            Channel.TRIP, rule=rule, standing=standing, at=number * 60 * SECOND
        )
        assert decision is not None
        assert decision.choice is Choice.STOP, "each one leaves"
        spent.append("budget" in decision.known)
        assert any(one.detector == "budget" for one in decision.findings) == spent[-1]
        # A person resets it, and it trips again.
        standing = replace(FRESH, trips=standing.trips)
    assert spent == [False, False, True, True, True]
    decision, _ = _decide(Channel.TRIP, rule=rule, standing=standing, at=3 * 3600 * SECOND)
    assert decision is not None
    assert "budget" not in decision.known, "after an hour they are forgotten"


@pytest.mark.parametrize("text", ["", "3", "0 per 1h", "3 per", "3 per 1y", "-1 per 1h", "3per1h"])
def test_a_budget_is_spelt_in_one_way(text: str) -> None:
    with pytest.raises(ValueError, match=r"budget|duration"):
        parse_budget(text)
    assert parse_budget("3 per 60m").text == "3 per 1h"


def test_REC_1_a_decision_bears_the_options_that_there_were_and_what_each_costs() -> None:
    decision, _ = _decide(Channel.TRIP)
    assert decision is not None
    assert decision.options == {
        "stop kill": "1 of 1 that run in shop/agent; if it is in vain: minutes",
        "ask": "a person decides within 1m, and silence stops",
        "nothing": "if it is true: wrong prices are charged, within 5s",
    }


@pytest.mark.parametrize("seed", range(20))
def test_SR_12_whatever_happens_nothing_runs_unlatched_for_long_while_the_vote_stands(
    seed: int,
) -> None:
    """Random lives of a rule: stopped within a second, or asked and stopped within its time."""
    rng = random.Random(seed)
    vote = rng.choice(list(Vote))
    act = rng.choice([Act.AUTO, Act.ADVISE])
    failed = rng.choice(list(OnFailed))
    budget = rng.choice([None, parse_budget("1 per 1h")])
    rule = replace(RULE, vote=vote, act=act, on_failed=failed, budget=budget, answer_us=5 * SECOND)
    patience = SECOND if act is Act.AUTO else 6 * SECOND
    standing, since, stops, channels = FRESH, None, 0, [Channel.OK] * vote.channels
    for tick in range(600):
        now = tick * SECOND // 4
        if not rng.randrange(10):
            channels[rng.randrange(len(channels))] = rng.choice(list(Channel))
        known = rng.choice([RUNS, RUNS, Known(2, 1)])
        decision, standing = _decide(*channels, rule=rule, standing=standing, known=known, at=now)
        stopped = decision is not None and decision.choice is Choice.STOP
        stops += stopped
        if not count(vote, channels, failed).tripped or stopped:
            since = None
        elif since is None:
            since = now
        assert since is None or now - since <= patience, (tick, channels)
    assert stops
