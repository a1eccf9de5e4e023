"""The detectors of log templates: what is new, and what comes in other proportions."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from offswitch.testing import DetectorSuite
from offswitch.watch.detectors.contract import Detector, Verdict
from offswitch.watch.detectors.template_novelty import TemplateNovelty, TemplateNoveltySection
from offswitch.watch.detectors.template_shift import TemplateShift, TemplateShiftSection

S = 1_000_000


class _EventsSuite(DetectorSuite):
    """Gives each reading a detail, as its sensor does."""

    def detail(self, value: float) -> Mapping[str, str]:
        raise NotImplementedError

    def feed(self, detector: Detector, values: Sequence[float], start: int = 0) -> list[Verdict]:
        events: Any = detector
        return [
            events.update((start + number) * 100_000, value, self.detail(value))
            for number, value in enumerate(values)
        ]


class TestTemplateNoveltySuite(_EventsSuite):
    kind = "template_novelty"
    keys: ClassVar[Mapping[str, Any]] = {"series": "app.templates_new", "learn": "15s", "per": "5s"}
    calm = 0.0
    loud = 20.0

    def detail(self, value: float) -> Mapping[str, str]:
        return {"template_1": "a1b2c3d4 disk is gone"} if value else {}


class TestTemplateShiftSuite(_EventsSuite):
    kind = "template_shift"
    keys: ClassVar[Mapping[str, Any]] = {"series": "app.template_mix", "learn": 1000, "per": "5s"}
    calm = 40.0
    loud = 4000.0
    learning = 400

    def detail(self, value: float) -> Mapping[str, str]:
        if value == self.calm:
            return {"aa": "30", "bb": "10"}
        return {"aa": "100", "cc": "3900"} if value == self.loud else {}


def _novelty(**keys: object) -> TemplateNovelty:
    raw = {"kind": "template_novelty", "series": "app.templates_new", **keys}
    return TemplateNovelty(TemplateNoveltySection.model_validate(raw))


def test_a_log_that_brings_new_kinds_now_and_then_is_calm_and_a_burst_of_them_is_none() -> None:
    detector = _novelty(learn="10m")
    chance = random.Random(3)
    raised = 0
    for second in range(6 * 3600):
        # One in two minutes, for six hours.
        verdict = detector.update(second * S, float(chance.random() < 1 / 120), {})
        raised += verdict.tripped
    assert raised == 0
    detail = {"template_1": "deadbeef removing all volumes"}
    verdicts = [detector.update((6 * 3600 + n) * S, 2.0, detail) for n in range(4)]
    assert verdicts[-1].tripped
    assert verdicts[-1].evidence["template_1"] == detail["template_1"]
    assert verdicts[-1].evidence["declared"] == "1e-06 a window of 10s"
    assert "usual 0.0" in verdicts[-1].why


def test_the_false_alarms_of_novelty_are_no_more_than_declared() -> None:
    """With a chance of one in a hundred, windows that come as before trip at most so often."""
    trips = windows = 0
    for seed in range(20):
        detector = _novelty(learn="2m", chance=0.01, least=1, clear_after="1ms", deadband=0.0)
        chance = random.Random(seed)
        for second in range(3600):
            fresh = float(sum(chance.random() < 0.05 for _ in range(4)))
            verdict = detector.update(second * S, fresh, {})
            if second > 120 and second % 10 == 0:
                windows += 1
                trips += verdict.score > 1
    assert trips / windows <= 0.01


def test_a_short_past_makes_it_careful() -> None:
    detector = _novelty(learn="10s")
    for second in range(12):
        detector.update(second * S, 0.0, {})
    assert not detector.update(12 * S, 4.0, {}).tripped, "twelve quiet seconds prove little"


def _shift(**keys: object) -> TemplateShift:
    raw = {"kind": "template_shift", "series": "app.template_mix", **keys}
    return TemplateShift(TemplateShiftSection.model_validate(raw))


def _mix(chance: random.Random, lines: int, weights: Mapping[str, float]) -> dict[str, str]:
    drawn = chance.choices(list(weights), list(weights.values()), k=lines)
    return {kind: str(drawn.count(kind)) for kind in set(drawn)}


def test_more_of_the_same_mix_is_calm_and_another_mix_of_the_same_number_is_not() -> None:
    detector = _shift()
    chance = random.Random(1)
    usual = {"get": 70.0, "put": 25.0, "slow": 4.0, "error": 1.0}
    for second in range(900):
        lines = 20 if second % 300 < 200 else 200  # the load changes tenfold, the mix does not
        verdict = detector.update(second * S, float(lines), _mix(chance, lines, usual))
        assert not verdict.tripped, verdict.why
    odd = {"get": 25.0, "put": 5.0, "slow": 30.0, "error": 40.0}
    verdicts = [detector.update((900 + n) * S, 200.0, _mix(chance, 200, odd)) for n in range(60)]
    assert verdicts[-1].tripped
    assert verdicts[-1].evidence["moved"].startswith(("get -", "error +"))
    assert "contradicts" in verdicts[-1].evidence


def test_silence_does_not_clear_a_shift() -> None:
    detector = _shift(learn=500, per="10s")
    for second in range(60):
        detector.update(second * S, 100.0, {"a": "90", "b": "10"})
    for second in range(60, 75):
        detector.update(second * S, 100.0, {"c": "100"})
    for second in range(75, 200):
        verdict = detector.update(second * S, 0.0, {})
    assert verdict.tripped


def test_few_lines_are_too_few_to_tell() -> None:
    detector = _shift(learn=500, per="10s")
    for second in range(60):
        detector.update(second * S, 100.0, {"a": "90", "b": "10"})
    for second in range(75, 90):
        assert not detector.update(second * S, 3.0, {"c": "3"}).tripped
