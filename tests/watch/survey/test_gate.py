"""The gate: what many series together may be said to have done."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offswitch.watch.survey.gate import Gate, e_value, share

DAY = 24 * 3600 * 1_000_000
N = 256


def _opened(slots: int, when: int = 0, rate: float = 0.1) -> Gate:
    gate = Gate(slots, rate)
    gate.open(np.arange(slots), np.full(slots, N), when)
    return gate


def _least(gate_rate: float, index: int, findings: int) -> float:
    """Find by bisection which evidence the hypothesis of that number must reach."""
    limit = 1 / (gate_rate * float(share(np.array([index]))[0]) * (findings + 1))
    low, high = 3.0, 1e12
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if e_value(np.array([middle]))[0] < limit else (low, middle)
    return high * N


def test_all_shares_together_are_one_at_most() -> None:
    for most, expected in ((1024, 1 / 2), (3 * 1024, 2 / 3), (1023 * 1024, 1 - 1 / 11)):
        assert share(np.arange(most)).sum() == pytest.approx(expected)


def test_the_calibrated_evidence_of_calm_is_an_e_value() -> None:
    # P(max M / n >= x) = 1/x is the worst that calm may do. Beyond X the mean has another 1 / ln X.
    p = (np.arange(100_000) + 0.5) / 100_000
    assert 0.5 < e_value(1 / p).mean() + 1 / np.log(100_000) <= 1.0


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=20))
def test_more_evidence_never_counts_for_less(masses: list[float]) -> None:
    values = e_value(np.sort(np.array(masses)))
    assert (np.diff(values) >= -1e-12).all()


def test_what_must_be_reached_is_what_the_docstring_says_and_falls_with_each_finding() -> None:
    gate = _opened(4)
    first, second = _least(0.1, 0, 0), _least(0.1, 0, 1)
    assert second < first
    just_not = np.array([first * 0.999, 0, 0, 0])
    assert gate.passing(np.arange(4), just_not) == []
    ((place, score),) = gate.passing(np.arange(4), np.array([0, first * 1.001, 0, 0]))
    assert (place, score) == (1, pytest.approx(1.0, abs=1e-3))
    assert [one for one, _ in gate.passing(np.arange(4), just_not)] == [0], "there is credit now"


def test_a_block_has_one_finding_and_a_restless_series_three_a_day() -> None:
    gate = _opened(1)
    slot, loud = np.array([0]), np.array([1e30])
    for _ in range(3):
        assert gate.passing(slot, loud)
        assert not gate.passing(slot, loud)
        gate.open(slot, np.array([N]), 0)
    assert gate.restless(0)
    assert not gate.passing(slot, loud)
    gate.open(slot, np.array([N]), DAY)
    assert gate.passing(slot, loud), "tomorrow is another day"


def test_who_comes_after_a_restless_series_is_another_one() -> None:
    gate = _opened(1)
    for _ in range(3):
        gate.passing(np.array([0]), np.array([1e30]))
        gate.open(np.array([0]), np.array([N]), 0)
    gate.leave(0)
    gate.open(np.array([0]), np.array([N]), 0)
    assert gate.passing(np.array([0]), np.array([1e30]))


def test_a_slot_that_has_no_block_yet_is_never_a_finding() -> None:
    assert Gate(3).passing(np.arange(3), np.full(3, 1e30)) == []


def test_of_many_the_strongest_evidence_is_counted_first() -> None:
    gate = _opened(3)
    found = gate.passing(np.arange(3), np.array([1e12, 1e20, 1e15]))
    assert [place for place, _ in found] == [1, 2, 0]


def test_of_ten_thousand_calm_blocks_none_in_nine_days_of_ten_is_a_finding() -> None:
    # The worst that calm may do, in ten thousand series that know nothing of each other.
    rng = np.random.default_rng(8)
    days, loud = 200, 0
    for _day in range(days):
        gate = _opened(10_000)
        loud += bool(gate.passing(np.arange(10_000), N / rng.random(10_000)))
    assert loud / days <= 0.1
