"""E-detector, CUSUM and variance change: by the public suite, and by what they declare."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from random import Random
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pytest
from pydantic import ValidationError

from offswitch.testing import DetectorSuite
from offswitch.watch.detectors.cusum import CusumSection, limit
from offswitch.watch.detectors.e_detector import EDetector, EDetectorSection
from offswitch.watch.detectors.urn import BETS, BOLDNESS, LEVELS, timidity, urn, wandered
from offswitch.watch.detectors.variance import Variance, VarianceSection
from offswitch.watch.detectors.whitening import whiten
from offswitch.watch.survey.cusum_bank import CusumBank
from offswitch.watch.survey.evidence_bank import EvidenceBank
from scale import LONG

S = 1_000_000
Noise = npt.NDArray[np.float64]


class TestEDetector(DetectorSuite):
    kind = "e_detector"
    keys: ClassVar[Mapping[str, Any]] = {"series": "processes.count", "run_length": 500}
    calm = 5.0
    loud = 1000.0
    learning = 400


class TestCusum(DetectorSuite):
    kind = "cusum"
    keys: ClassVar[Mapping[str, Any]] = {
        "series": "processes.count",
        "run_length": 100,
        "window": 128,
    }
    calm = 5.0
    loud = 1000.0


class TestVariance(DetectorSuite):
    kind = "variance"
    keys: ClassVar[Mapping[str, Any]] = {"series": "processes.count", "ratio": 2.0}
    calm = 5.0
    loud = 1000.0


def _e_detector(**keys: object) -> EDetector:
    raw = {"kind": "e_detector", "series": "a.b", **keys}
    return EDetector(EDetectorSection.model_validate(raw))


@pytest.mark.parametrize("gaps", LEVELS)
@pytest.mark.parametrize("timid", range(len(BOLDNESS)))
def test_whatever_was_drawn_the_urn_expects_one_of_every_bet(gaps: int, timid: int) -> None:
    one = urn(gaps)
    balls = [float(high - low) for low, high in pairwise([0, *one.edges, gaps])]
    sums = [float(gaps)] * len(BETS)
    rng = Random(gaps)
    for drawn in range(200):
        total = gaps + drawn
        for bet in range(len(BETS)):
            expected = sum(
                ball / total * one.bets[timid][place][bet] * total / sums[bet]
                for place, ball in enumerate(balls)
            )
            assert expected == pytest.approx(1.0)
        place = rng.choices(range(len(balls)), balls)[0]
        balls[place] += 1
        sums = [known + bet for known, bet in zip(sums, one.bets[timid][place], strict=True)]


def _noise(name: str, steps: int, series: int) -> Noise:
    rng = np.random.default_rng(12)
    if name == "normal":
        return rng.standard_normal((steps, series))
    if name == "student-t3":
        return rng.standard_t(3, (steps, series))
    if name == "lognormal":
        return np.exp(rng.standard_normal((steps, series)))
    made = rng.standard_normal((steps, series))
    for step in range(1, steps):
        made[step] += 0.5 * made[step - 1]
    return made


@pytest.mark.parametrize("name", ["normal", "student-t3", "lognormal", "ar1-0.5"])
def test_false_alarms_are_no_more_often_than_declared_whatever_the_noise(name: str) -> None:
    declared, series = 1000, 1000 if LONG else 150
    made = _noise(name, 8000 if LONG else 800, series)
    bank, quiet = EvidenceBank(series), np.arange(series)
    for slot in range(series):
        bank.join(slot)
    judged = alarms = 0
    for step, row in enumerate(made):
        beyond = bank.update(quiet, row[quiet]) >= 2 * declared
        judged += len(quiet) if step >= 34 else 0
        alarms += int(beyond.sum())
        quiet = quiet[~beyond]
    least = 0.5 if name == "ar1-0.5" else 1.0
    assert judged / max(alarms, 1) >= least * declared, f"{alarms} alarms in {judged} readings"


def test_a_cusum_on_normal_readings_alarms_about_as_often_as_declared() -> None:
    section = CusumSection.model_validate(
        {"kind": "cusum", "series": "a.b", "run_length": 1000, "window": 128}
    )
    bank, quiet, judged, alarms = CusumBank(400, section), np.arange(400), 0, 0
    for step, row in enumerate(_noise("normal", 1200, 400)):
        beyond = bank.update(quiet, row[quiet]) > 1
        judged += len(quiet) if step >= 128 else 0
        alarms += int(beyond.sum())
        quiet = quiet[~beyond]
    assert 0.7 <= judged / alarms / 1000 <= 1.4


def test_a_cusum_with_a_long_window_has_the_limit_of_the_textbooks() -> None:
    # Siegmund: 938 readings for one side at 5 spreads and a slack of a half; 469 for both.
    assert limit(469, 0.5, 4096) == pytest.approx(5.0, abs=0.05)
    assert limit(469, 0.5, 64) > limit(469, 0.5, 512) > 5.0


def test_white_noise_is_left_as_it_is_and_an_autoregression_is_not() -> None:
    white, red = _noise("normal", 258, 1)[:, 0].tolist(), _noise("ar1-0.5", 258, 1)[:, 0].tolist()
    assert whiten(white)[0].phi == (0.0, 0.0, 0.0)
    found, left = whiten(red)
    assert found.phi[0] == pytest.approx(0.5, abs=0.15)
    assert abs(sum(a * b for a, b in pairwise(left)) / sum(a * a for a in left)) < 0.15


def test_one_odd_reading_is_cleaned_and_no_alarm() -> None:
    rng = Random(3)
    detector, value, tripped = _e_detector(), 0.0, False
    for number in range(1000):
        value = 0.7 * value + rng.gauss(0, 1)
        odd = 1000.0 if number == 700 else 0.0
        tripped |= detector.update(number * S, value + odd).tripped
    assert not tripped


def test_a_shift_is_found_with_its_evidence_and_what_lasts_becomes_normal() -> None:
    rng = Random(4)
    detector = _e_detector(clear_after="1s")
    verdicts = [detector.update(n * S, rng.gauss(100 if n < 700 else 103, 1)) for n in range(1600)]
    first = next(n for n, verdict in enumerate(verdicts) if verdict.tripped)
    assert 700 <= first <= 712
    evidence = verdicts[first].evidence
    assert set(evidence) == {"band", "declared", "contradicts"}
    low, high = (float(one) for one in evidence["band"].split(" to "))
    assert 96 < low < 100 < high < 104
    assert not verdicts[-1].tripped


def test_a_series_that_wanders_is_asked_for_more_evidence() -> None:
    assert timidity(1.0) == 0
    assert timidity(16.0) == 4
    assert timidity(1e9) == len(BOLDNESS) - 1
    calm = stormy = 1.0
    for block in range(40):
        calm = wandered(calm, block, 1.0, timidity(calm))
        stormy = wandered(stormy, block, math.exp(5 * BOLDNESS[timidity(stormy)]), timidity(stormy))
    assert timidity(calm) == 0
    assert stormy == pytest.approx(25, rel=0.2)


def test_a_promise_that_nobody_can_keep_is_refused() -> None:
    for run_length in (10, float("nan"), float("inf")):
        with pytest.raises(ValidationError):
            _e_detector(run_length=run_length)


@pytest.mark.parametrize(
    ("spread", "side", "trips"),
    [
        (8.0, "both", True),
        (8.0, "shrinks", False),
        (0.05, "both", True),
        (0.05, "grows", False),
        (1.0, "both", False),
    ],
)
def test_a_variance_change_looks_to_the_side_it_is_told_and_not_at_the_level(
    spread: float, side: str, *, trips: bool
) -> None:
    rng = Random(5)
    raw = {"kind": "variance", "series": "a.b", "side": side}
    detector = Variance(VarianceSection.model_validate(raw))
    tripped = False
    for number in range(400):
        value = rng.gauss(0, 1 if number < 300 else spread) + number / 20
        tripped |= detector.update(number * S, value).tripped
    assert tripped == trips
