"""What `rule check` has to say of rules that are accepted, and what is refused for it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from offswitch.config.difference import changes
from offswitch.config.lints import lints
from offswitch.config.load import Kinds, installed_kinds, parse
from offswitch.errors import BadConfig

TABLES = """
[[target]]
name = "shop/agent"
stop_impact = { who = "w", harm = "h", bearable = "1h", told_by = "t" }
stop = { kill = ["process", "data"] }
[[rule]]
name = "r"
target = "shop/agent"
harm = "h"
time_to_harm = "5m"
false_stop_cost = "c"
"""
COUNT = '{ kind = "threshold", series = "processes.count", above = 9 }'
THREADS = '{ kind = "threshold", series = "processes.threads", above = 9 }'
LINES = '{ kind = "rate", series = "log.lines", above = 9 }'
STEPS = """{ kind = "rate", series = 'guard.steps{kind="tool"}', above = 9 }"""

GATEWAY = """
[[gateway]]
name = "models"
listen = ["127.0.0.1:0"]
upstream = "http://127.0.0.1:8000"
route = [{ target = "shop/agent" }]
"""


@pytest.fixture(scope="module")
def kinds() -> Kinds:
    return installed_kinds()


def said(kinds: Kinds, *lines: str) -> str:
    config = parse((TABLES + "\n".join(lines)).encode(), "x", kinds)
    return "; ".join(lints(config).get("r", []))


def test_one_input_behind_a_2oo3_is_told(kinds: Kinds) -> None:
    vote = ['act = "auto"', 'vote = "2oo3"', 'stop = { level = "freeze" }']
    same = said(kinds, *vote, f"detectors = [{COUNT}, {COUNT}, {LINES}]")
    assert "2 of the 3 channels of 2oo3 look at the series processes.count" in same
    sensor = said(kinds, *vote, f"detectors = [{COUNT}, {THREADS}, {LINES}]")
    assert "look at the sensor processes" in sensor
    assert said(kinds, *vote, f"detectors = [{COUNT}, {LINES}, {STEPS}]") == ""


def test_an_actuator_that_the_target_lacks_is_told(kinds: Kinds) -> None:
    rule = ['act = "auto"', f"detectors = [{COUNT}]"]
    assert "plans data at level kill, and no actuator" in said(kinds, *rule)
    assert "obeyed by programs that ask the guard" in said(
        kinds, *rule, 'stop = { level = "drain" }'
    )


def test_DEC_6_a_gateway_obeys_what_is_less_than_a_kill(kinds: Kinds) -> None:
    rule = ['act = "auto"', f"detectors = [{COUNT}]", 'stop = { level = "restrict" }']
    assert "obeyed by programs that ask the guard" in said(kinds, *rule)
    assert said(kinds, *rule, GATEWAY) == ""


def test_DEC_1_a_question_with_no_time_to_answer_is_told(kinds: Kinds) -> None:
    rule = ['act = "advise"', f"detectors = [{COUNT}]", 'stop = { level = "freeze" }']
    assert said(kinds, *rule) == ""
    assert "nobody answers within 5s" in said(kinds, *rule, 'answer_within = "5s"')
    assert "silence stops it too late" in said(kinds, *rule, 'answer_within = "10m"')


def test_DEC_3_what_silence_does_on_the_way_is_no_more_than_at_its_end(kinds: Kinds) -> None:
    rule = ['act = "advise"', f"detectors = [{COUNT}]", 'stop = { level = "freeze" }']
    with pytest.raises(BadConfig, match="kill goes further than the rule's own level, freeze"):
        said(kinds, *rule, 'unanswered = "kill"')
    with pytest.raises(BadConfig):
        said(kinds, *rule, 'unanswered = "softly"')
    early = said(kinds, 'act = "advise"', f"detectors = [{COUNT}]", 'unanswered = "freeze"')
    assert "becomes a kill after 10s, 90s before the time to answer is over" in early
    assert said(kinds, *rule, 'unanswered = "drain"').count("becomes a kill after 30s") == 1
    assert "no backup is ever called" in said(kinds, *rule, 'answer_within = "90s"')
    before = parse((TABLES + "\n".join([*rule, 'unanswered = "drain"'])).encode(), "x", kinds)
    after = parse((TABLES + "\n".join(rule)).encode(), "x", kinds)
    [change] = changes(before, after)
    assert (change.what, change.weaker) == ("rule r: unanswered restrict, was drain", True)


def test_DET_7_a_monitor_that_can_be_talked_to_is_never_alone_behind_a_stop(kinds: Kinds) -> None:
    class Monitor(kinds.detectors["threshold"].cls):  # type: ignore[misc]
        ALONE = False

    talkative = replace(kinds.detectors["threshold"], cls=Monitor)
    some = Kinds(kinds.sensors, {**kinds.detectors, "threshold": talkative})
    assert some.dependent == {"threshold"}
    assert kinds.dependent <= {"llm_monitor"}
    for vote, detectors in (("1oo1", [COUNT]), ("1oo2", [COUNT, LINES]),
                            ("2oo3", [COUNT, THREADS, LINES])):  # fmt: skip
        rule = ['act = "auto"', f'vote = "{vote}"', f"detectors = [{', '.join(detectors)}]"]
        with pytest.raises(BadConfig, match="alone must not stop anything"):
            said(some, *rule)
    said(some, 'act = "auto"', 'vote = "2oo3"', f"detectors = [{COUNT}, {LINES}, {STEPS}]")
    said(some, 'act = "advise"', f"detectors = [{COUNT}]")


@pytest.mark.parametrize(
    ("before", "after", "what", "weaker"),
    [
        ('act = "auto"', 'act = "shadow"', "act shadow, was auto", True),
        ('act = "shadow"', 'act = "auto"', "act auto, was shadow", False),
        ("above = 9", "above = 10", "channel 1: above 10.0, was 9.0", True),
        ("above = 9", "above = 8", "channel 1: above 8.0, was 9.0", False),
        ("processes.count", "processes.threads", "threads, was threshold of", True),
        ('harm = "h"\n', 'harm = "other"\n', "harm other, was h", False),
        ('act = "auto"', 'act = "auto"\non_failed = "trip"', "trip, was degrade", False),
        ('act = "auto"', 'act = "auto"\nprobation = "1s"', "probation 1s, was 30m", True),
        ('act = "auto"', 'act = "auto"\nstop = { level = "drain" }', "level drain, was kill", True),
        ('name = "r"', 'name = "s"', "rule r (auto): removed", True),
    ],
)
def test_SR_3_what_becomes_weaker_is_named(
    kinds: Kinds, before: str, after: str, what: str, *, weaker: bool
) -> None:
    text = TABLES + f'act = "auto"\ndetectors = [{COUNT}]\n'
    if 'act = "shadow"' in before:
        text = text.replace('act = "auto"', before)
    old = parse(text.encode(), "x", kinds)
    new = parse(text.replace(before, after, 1).encode(), "x", kinds)
    assert changes(old, old) == []
    found = changes(old, new)
    assert [(one.weaker) for one in found if what in one.what] == [weaker], found
