"""The survey: every series is judged, none is promised anything, and nothing grows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from offswitch.model.finding import Finding
from offswitch.watch.onlookers import Batch
from offswitch.watch.sensors.contract import Signal
from offswitch.watch.survey.roster import Roster
from offswitch.watch.survey.rounds import Rounds
from offswitch.watch.survey.survey import Survey

S = 1_000_000
HOUR = 3600 * S


def _batch(when: int, samples: dict[str, float], target: str = "shop/agent") -> Batch:
    told = [(series, value, {}) for series, value in samples.items()]
    return Batch("engine", target, Signal.METRICS, False, when, when, told)


def _look(survey: Survey, when: int, samples: dict[str, float]) -> Sequence[Finding]:
    survey.take(_batch(when, samples))
    found = list(survey.turn(when, when))
    while survey.waiting:
        found += survey.turn(when, when)
    return found


def _seen(survey: Survey, rows: np.ndarray, start: int = 0) -> list[Finding]:  # type: ignore[type-arg]
    found: list[Finding] = []
    for number, row in enumerate(rows.tolist()):
        samples = {f"engine.s{n}": value for n, value in enumerate(row)}
        found += _look(survey, (start + number) * S, samples)
    return found


def test_a_series_that_changes_among_calm_ones_is_found_and_named_with_its_evidence() -> None:
    rng = np.random.default_rng(4)
    survey = Survey(400)
    assert not _seen(survey, rng.standard_t(3, (900, 50)))
    changed = rng.standard_t(3, (90, 50))
    changed[:, 17] += 12
    found = _seen(survey, changed, 900)
    assert [one.series for one in found] == ["engine.s17"]
    finding = found[0]
    assert finding.target == "shop/agent"
    assert finding.detector == "survey(e_detector)"
    assert finding.score >= 1
    low, high = (float(one) for one in finding.evidence["band"].split(" to "))
    assert low < 0 < high < float(finding.evidence["value"])
    assert "at most 0.1 of a day's findings are false" in finding.evidence["declared"]
    assert finding.evidence["contradicts"]
    assert survey.notes(1000 * S) == [f"survey: engine.s17 of shop/agent: {finding.what}"]
    assert survey.notes(1000 * S + HOUR) == []


def test_a_reading_that_cannot_be_known_says_nothing() -> None:
    survey = Survey(8)
    for number in range(50):
        assert not _look(survey, number * S, {"engine.a": float("nan")})
    assert len(survey) == 1


def test_series_without_room_are_left_out_and_that_is_loud() -> None:
    survey = Survey(8)
    crowd = {f"engine.s{n}": 1.0 for n in range(5)}
    (finding,) = _look(survey, S, crowd)
    assert finding.target == "shop/agent"
    assert "were not surveyed" in finding.what
    assert len(survey) == 2, "a quarter of the room is all that a target may have"
    assert not _look(survey, 2 * S, crowd), "it is said again when it is ten times as much"
    loud = [one for n in range(3, 30) for one in _look(survey, n * S, crowd)]
    assert len(loud) == 1


def test_a_series_that_says_a_thousand_things_at_once_does_not_hold_up_the_others() -> None:
    rounds = Rounds()
    for number in range(1000):
        rounds.add(0, float(number), 0)
    rounds.add(1, 5.0, 0)
    assert rounds.take().slots == [0, 1]
    assert len(rounds) == 63
    assert rounds.left_out == 1000 - 64
    rounds.add(0, 7.0, 0)
    waiting = [rounds.take() for _ in range(len(rounds))]
    assert [one.values[0] for one in waiting] == [*map(float, range(1, 64)), 7.0]
    rounds.add(0, 8.0, 0)
    assert rounds.take().values == [8.0]


def test_a_slot_is_given_on_when_its_series_has_not_been_read_for_an_hour() -> None:
    roster = Roster(4)
    for n in range(4):
        assert roster.enter(f"t{n}", "a.b", 0)
    assert roster.known("t2", "a.b", HOUR)
    assert roster.enter("late", "a.b", HOUR) is None
    assert roster.left_out["late"] == 1
    row = roster.enter("later", "a.b", HOUR + 61 * S)
    assert row is not None
    assert roster.of(row.slot).target == "later"
    assert roster.known("t2", "a.b", HOUR), "what was read since is kept"
    assert roster.known("t0", "a.b", HOUR) is None


def test_the_order_in_which_series_are_told_changes_nothing() -> None:
    rng = np.random.default_rng(5)
    rows = rng.standard_normal((400, 3))
    rows[350:, 1] += 10
    names = [f"engine.s{n}" for n in range(3)]
    told = []
    for order in (names, names[::-1]):
        survey = Survey(64)
        told.append(
            [
                (one.series, one.time_us)
                for number, row in enumerate(rows.tolist())
                for one in _look(survey, number * S, {name: row[int(name[-1])] for name in order})
            ]
        )
    assert [name for name, _ in told[0]] == [name for name, _ in told[1]]


@pytest.mark.long
def test_ten_thousand_calm_series_have_no_finding() -> None:
    rng = np.random.default_rng(6)
    survey = Survey(40_000)
    for number in range(1000):
        samples = {f"engine.s{n}": one for n, one in enumerate(rng.standard_t(3, 10_000).tolist())}
        assert not _look(survey, number * S, samples)


def test_a_crowd_is_taken_in_and_judged_a_little_at_a_turn() -> None:
    survey = Survey(20_000)
    crowd = {f"engine.s{n}": 1.0 for n in range(4000)}
    for number in range(16):
        survey.take(_batch(number * S, crowd))
        survey.turn(number * S, number * S)
        assert len(survey) == min(256 * (number + 1), 4000)
    turns = 0
    while survey.waiting:
        survey.turn(16 * S, 16 * S)
        turns += 1
    assert 4 <= turns < 64
