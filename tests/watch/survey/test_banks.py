"""Banks: the same detectors over many series at once say what they say one by one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from offswitch.watch.detectors.cusum import Cusum, CusumSection
from offswitch.watch.detectors.e_detector import Evidence
from offswitch.watch.detectors.variance import Variance, VarianceSection
from offswitch.watch.survey.cusum_bank import CusumBank
from offswitch.watch.survey.evidence_bank import EvidenceBank, longer
from offswitch.watch.survey.variance_bank import VarianceBank

SERIES = 20


def _readings(steps: int) -> npt.NDArray[np.float64]:
    """Make series of many kinds that change two thirds of the way, some readings missing."""
    rng = np.random.default_rng(20)
    made = rng.standard_normal((steps, SERIES))
    made[:, 4:8] = rng.standard_t(3, (steps, 4))
    made[:, 8:12] = np.round(np.exp(made[:, 8:12]))
    made[:, 12:16] = np.cumsum(made[:, 12:16], axis=0)
    made[:, 16] = 7.0
    made[steps * 2 // 3 :, ::3] += 3.0
    made[steps * 2 // 3 :, 1::3] *= 4.0
    made[rng.random(made.shape) < 0.1] = np.nan
    made[steps // 2, 3] = np.inf
    return made


def test_a_bank_of_evidence_says_what_each_series_would_say_alone() -> None:
    slots = np.arange(SERIES)
    bank = EvidenceBank(SERIES, wander=2.0)
    alone = [Evidence(longer=int(one), wander=2.0) for one in longer(slots)]
    for slot in range(SERIES):
        bank.join(slot)
    alarms = 0
    for row in _readings(700):
        mass = bank.update(slots, row)
        for slot in np.flatnonzero(~np.isnan(row)):
            expected = alone[slot].update(float(row[slot]))
            assert abs(mass[slot] - expected) <= 1e-9 * expected
            alarms += expected > 1e4
        assert np.isnan(mass).tolist() == np.isnan(row).tolist()
    assert alarms


def test_a_bank_of_sums_says_what_each_series_would_say_alone() -> None:
    section = CusumSection.model_validate({"kind": "cusum", "series": "a.b", "window": 64})
    bank, alone = CusumBank(SERIES, section), [Cusum(section) for _ in range(SERIES)]
    for row in _readings(200):
        scores = bank.update(np.arange(SERIES), row)
        for slot in np.flatnonzero(~np.isnan(row)):
            expected = alone[slot].update(0, float(row[slot])).score
            assert abs(scores[slot] - expected) <= 1e-9 * (1 + expected)


@pytest.mark.parametrize("side", ["both", "grows", "shrinks"])
def test_a_bank_of_variances_says_what_each_series_would_say_alone(side: str) -> None:
    keys = {"kind": "variance", "series": "a.b", "window": 64, "side": side}
    section = VarianceSection.model_validate(keys)
    bank, alone = VarianceBank(SERIES, section), [Variance(section) for _ in range(SERIES)]
    for row in _readings(200):
        scores = bank.update(np.arange(SERIES), row)
        for slot in np.flatnonzero(~np.isnan(row)):
            expected = alone[slot].update(0, float(row[slot])).score
            assert abs(scores[slot] - expected) <= 1e-6 * (1 + expected)


def test_a_series_that_joins_later_begins_at_the_beginning() -> None:
    bank = EvidenceBank(4)
    rng = np.random.default_rng(3)
    values = rng.standard_normal(600)
    bank.join(0)
    first = [float(bank.update(np.array([0]), values[n : n + 1])[0]) for n in range(600)]
    bank.join(0)
    again = [float(bank.update(np.array([0]), values[n : n + 1])[0]) for n in range(600)]
    assert again == first


def test_blocks_that_end_all_at_once_begin_one_after_the_other_and_none_is_forgotten() -> None:
    slots, rng = np.arange(1000), np.random.default_rng(9)
    bank = EvidenceBank(1000)
    for slot in range(1000):
        bank.join(slot)
    begun = []
    for _ in range(34 + 5):
        mass = bank.update(slots, rng.standard_normal(1000))
        begun += bank.begun.tolist()
        assert len(bank.begun) <= 256
        assert (mass >= 0).all()
    assert sorted(begun) == slots.tolist()
