"""Detectors: each by the public suite, and by what is special about it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from offswitch.testing import DetectorSuite
from offswitch.watch.detectors.rate import Rate, RateSection
from offswitch.watch.detectors.robust_range import RobustRange, RobustRangeSection
from offswitch.watch.detectors.threshold import Threshold, ThresholdSection

S = 1_000_000
SERIES = "processes.count"


class TestThreshold(DetectorSuite):
    kind = "threshold"
    keys: ClassVar[Mapping[str, Any]] = {"series": SERIES, "above": 100.0, "below": -100.0}
    calm = 5.0
    loud = 1000.0


class TestThresholdWithADelay(DetectorSuite):
    kind = "threshold"
    keys: ClassVar[Mapping[str, Any]] = {"series": SERIES, "above": 100.0, "hold": "2s"}
    calm = 5.0
    loud = 1000.0


class TestRate(DetectorSuite):
    kind = "rate"
    keys: ClassVar[Mapping[str, Any]] = {"series": SERIES, "above": 50.0, "per": "1s"}
    calm = 1.0
    loud = 500.0


class TestRobustRange(DetectorSuite):
    kind = "robust_range"
    keys: ClassVar[Mapping[str, Any]] = {"series": SERIES}
    calm = 5.0
    loud = 1000.0


class TestTrend(DetectorSuite):
    kind = "trend"
    keys: ClassVar[Mapping[str, Any]] = {"series": SERIES, "above": 100.0}
    calm = 5.0
    loud = 1000.0


def _threshold(**keys: object) -> Threshold:
    raw = {"kind": "threshold", "series": SERIES, **keys}
    return Threshold(ThresholdSection.model_validate(raw))


def _rate(**keys: object) -> Rate:
    return Rate(RateSection.model_validate({"kind": "rate", "series": SERIES, **keys}))


def _range(**keys: object) -> RobustRange:
    raw = {"kind": "robust_range", "series": SERIES, **keys}
    return RobustRange(RobustRangeSection.model_validate(raw))


def _rises(states: list[bool]) -> int:
    return sum(now and not before for before, now in zip([False, *states], states, strict=False))


@pytest.mark.parametrize("low", [0.0, 45.0, 49.0])
def test_DET_5_a_square_wave_round_the_limit_is_one_alarm(low: float) -> None:
    detector = _threshold(above=50.0)
    wave = [(n * S // 20, 52.0 if n % 2 else low) for n in range(1200)]
    assert _rises([detector.update(when, value).tripped for when, value in wave]) == 1


def test_DET_5_without_its_band_and_delay_the_same_wave_would_be_hundreds() -> None:
    detector = _threshold(above=50.0, deadband=0.0, clear_after="1us")
    wave = [(n * S // 20, 52.0 if n // 2 % 2 else 10.0) for n in range(1200)]
    assert _rises([detector.update(when, value).tripped for when, value in wave]) > 100


def test_DET_5_a_rate_that_comes_and_goes_is_one_alarm() -> None:
    detector = _rate(above=50.0, per="1s")
    bursts = [(n * S // 10, 60.0 if n % 20 == 0 else 0.0) for n in range(600)]
    assert _rises([detector.update(when, value).tripped for when, value in bursts]) == 1


def test_an_alarm_falls_when_it_has_long_been_inside_and_can_rise_again() -> None:
    detector = _threshold(above=50.0, clear_after="2s")
    assert detector.update(0, 60.0).tripped
    assert detector.update(1 * S, 47.0).tripped, "in the band it neither rises nor falls"
    assert detector.update(9 * S, 47.0).tripped
    assert detector.update(10 * S, 44.0).tripped
    assert detector.update(11 * S, 44.0).tripped
    assert not detector.update(12 * S, 44.0).tripped
    assert detector.update(13 * S, 60.0).tripped


def test_a_threshold_has_two_sides_and_a_limit_of_nought() -> None:
    both = _threshold(above=10.0, below=2.0)
    assert not both.update(0, 5.0).tripped
    assert both.update(1, 1.0).tripped
    assert _threshold(above=0.0).update(0, 0.5).score == pytest.approx(1.5)
    assert not _threshold(above=0.0).update(0, 0.0).tripped
    zero = _threshold(above=0.0, clear_after="1s")
    assert zero.update(0, 1.0).tripped
    assert zero.update(S, 0.0).tripped
    assert not zero.update(2 * S, 0.0).tripped


@pytest.mark.parametrize(
    "keys", [{}, {"above": 1.0, "below": 2.0}, {"above": 1.0, "deadband": 1.0}]
)
def test_a_threshold_that_makes_no_sense_is_refused(keys: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        _threshold(**keys)


def test_a_rate_counts_a_burst_wherever_its_window_falls() -> None:
    for start in range(0, 2 * S, 123_457):
        detector = _rate(above=50.0, per="1s")
        states = [detector.update(start + n * 15_000, 1.0).tripped for n in range(60)]
        assert states.index(True) == 50, "the 51st within a second is one too many"


def test_a_rate_below_its_limit_never_trips_however_long() -> None:
    detector = _rate(above=50.0, per="1s")
    assert not any(detector.update(n * 20_001, 1.0).tripped for n in range(5000))


@given(
    st.lists(
        st.tuples(st.integers(0, 300_000), st.integers(0, 100)),
        min_size=1,
        max_size=80,
    )
)
def test_a_rate_is_never_less_than_the_true_sum_of_its_window(
    steps: list[tuple[int, int]],
) -> None:
    detector = _rate(above=1e9, per="1s")
    now, seen = 0, []
    for gap, value in steps:
        now += gap
        seen.append((now, value))
        verdict = detector.update(now, value)
        true = sum(amount for when, amount in seen if when > now - S)
        near = sum(amount for when, amount in seen if when > now - S - S // 256)
        assert true * (1 - 1e-9) <= verdict.score * 1e9 <= near * (1 + 1e-9) + 1e-9


def test_a_robust_range_learns_what_is_usual_and_is_not_taught_by_a_burst() -> None:
    detector = _range(window=40, learn=20)
    values = [100.0 + n % 5 for n in range(40)]
    assert not any(detector.update(n * S, value).tripped for n, value in enumerate(values))
    first = detector.update(41 * S, 400.0)
    assert first.tripped
    assert "usual" in first.why
    for n in range(15):
        assert detector.update((42 + n) * S, 400.0).score > 1, "a burst is not the new normal"


def test_a_robust_range_takes_what_lasts_as_the_new_normal() -> None:
    detector = _range(window=40, learn=20)
    for n in range(40):
        detector.update(n * S, 100.0 + n % 5)
    later = [detector.update((40 + n) * S, 400.0 + n % 5) for n in range(80)]
    assert later[0].tripped
    assert not later[-1].tripped


@pytest.mark.parametrize(("side", "up", "down"), [("above", 1, 0), ("below", 0, 1), ("both", 1, 1)])
def test_a_robust_range_looks_to_the_side_it_is_told(side: str, up: int, down: int) -> None:
    for value, expected in ((1000.0, up), (-1000.0, down)):
        detector = _range(side=side)
        for n in range(50):
            detector.update(n * S, 5.0 + n % 3)
        assert detector.update(60 * S, value).tripped == bool(expected)


def test_a_robust_range_of_a_constant_has_a_floor() -> None:
    detector = _range(floor=1.0, width=3.0)
    for n in range(50):
        detector.update(n * S, 0.0)
    assert not detector.update(51 * S, 2.9).tripped
    assert detector.update(52 * S, 3.1).tripped


def test_what_is_no_number_gives_a_score_that_is_none() -> None:
    for detector in (_rate(above=1.0), _threshold(above=1.0)):
        assert (
            math.isnan(detector.update(0, math.nan).score)
            or not detector.update(1, math.nan).tripped
        )
