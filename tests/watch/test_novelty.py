"""The detectors that rank by rarity: by the public suite, and by what is special about them."""

from __future__ import annotations

import itertools
import math
import random
from array import array
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offswitch import testing
from offswitch.plugins import DETECTORS, installed
from offswitch.testing import DetectorSuite
from offswitch.watch.detectors.contract import Detector, Verdict
from offswitch.watch.detectors.novelty import Novelty, NoveltySection
from offswitch.watch.detectors.past import Past, Surprise

MINUTE_US = 60_000_000
SERIES = "processes.count"
SMALL: Mapping[str, Any] = {"series": SERIES, "window": 200, "ranked": 200}
KINDS = ("novelty", "range_novelty", "ranked_deviation", "season", "shape_memory")


class RaritySuite(DetectorSuite):
    """The public suite; with rooms of 200 a memory that grows is seen in 1,000 readings."""

    loudness = 0
    """A surprise is news in its first reading only."""

    @pytest.fixture(autouse=True)
    def _short(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(testing, "_LONG_RUN", 1000)


class TestNovelty(RaritySuite):
    kind = "novelty"
    keys: ClassVar[Mapping[str, Any]] = {**SMALL, "recent": 200, "prototypes": 50}
    calm = 5.0
    loud = 1000.0


class TestRangeNovelty(RaritySuite):
    kind = "range_novelty"
    keys: ClassVar[Mapping[str, Any]] = SMALL
    calm = 5.0
    loud = 1000.0


class TestRankedDeviation(RaritySuite):
    kind = "ranked_deviation"
    keys: ClassVar[Mapping[str, Any]] = SMALL
    calm = 5.0
    loud = 1000.0


class TestShapeMemory(RaritySuite):
    kind = "shape_memory"
    keys: ClassVar[Mapping[str, Any]] = {**SMALL, "prototypes": 50}
    calm = 5.0
    loud = 1000.0


class TestSeason(RaritySuite):
    kind = "season"
    keys: ClassVar[Mapping[str, Any]] = SMALL
    calm = 5.0
    loud = 1000.0

    def feed(self, detector: Detector, values: Sequence[float], start: int = 0) -> list[Verdict]:
        """Give readings half an hour apart: what it learns are days."""
        return [
            detector.update((start + number) * 30 * MINUTE_US, value)
            for number, value in enumerate(values)
        ]


@pytest.fixture
def rng() -> random.Random:
    """One noise for all runs: of any, a few in a hundred are surprised just before the surprise."""
    return random.Random(11)


def _detector(kind: str = "novelty", **keys: object) -> Detector:
    cls = installed(DETECTORS)[kind].cls
    made: Detector = cls(cls.Settings.model_validate({"kind": kind, "series": SERIES, **keys}))
    return made


def _scores(kind: str, values: Sequence[float]) -> bytes:
    detector = _detector(kind)
    scores = array("d")
    for number, value in enumerate(values):
        verdict = detector.update(number * 20 * MINUTE_US, value)
        scores.extend((verdict.score, float(verdict.tripped)))
    return scores.tobytes()


def _daily(rng: random.Random, count: int) -> list[float]:
    course = [math.sin(2 * math.pi * number / 72) for number in range(count)]
    return [10 + 3 * level + rng.gauss(0, 0.2) for level in course]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=12, deadline=None)
@given(values=st.lists(st.floats(), max_size=120), cut=st.integers(0, 120))
def test_the_scores_of_a_beginning_are_those_of_the_whole(
    kind: str, values: list[float], cut: int
) -> None:
    whole = _scores(kind, values)
    beginning = _scores(kind, values[:cut])
    assert whole[: len(beginning)] == beginning


def test_the_scores_of_a_long_beginning_are_those_of_the_whole(rng: random.Random) -> None:
    values = [*_daily(rng, 1900), *(100.0 + rng.random() for _ in range(100))]
    whole = _scores("novelty", values)
    for cut in (21, 799, 801, 1650):
        assert whole[: 16 * cut] == _scores("novelty", values[:cut])


def test_what_is_still_to_come_has_no_say(rng: random.Random) -> None:
    values = _daily(rng, 600)
    ends = [_scores("novelty", [*values, *end])[: 16 * 600] for end in ([], [1e9] * 9, [0.0] * 90)]
    assert ends[0] == ends[1] == ends[2]


def test_a_new_level_is_one_alarm_that_says_what_was_usual(rng: random.Random) -> None:
    detector = _detector()
    quiet = [detector.update(n * MINUTE_US, 10 + rng.gauss(0, 1)) for n in range(600)]
    steps = [detector.update(n * MINUTE_US, 40 + rng.gauss(0, 1)) for n in range(600, 640)]
    states = [verdict.tripped for verdict in (*quiet[-80:], *steps)]
    assert sum(now and not before for before, now in itertools.pairwise(states)) == 1
    first = next(verdict for verdict in steps if verdict.evidence)
    assert first.tripped
    assert first.score > 1
    low, high = (float(text) for text in first.evidence["band"].split(" to "))
    assert 0 < low < 10 < high < 20
    assert first.evidence["contradicts"]
    assert all(verdict.score < 1 for verdict in steps if verdict is not first)


def test_a_day_without_its_course_is_seen_though_no_value_is_new(rng: random.Random) -> None:
    values = _daily(rng, 72 * 12)
    values[72 * 11 :] = [10 + rng.gauss(0, 0.2) for _ in range(72)]
    detector = _detector("season", quiet=0)
    scores = [detector.update(n * 20 * MINUTE_US, value).score for n, value in enumerate(values)]
    assert max(scores[72 * 11 :]) > max(1.0, *scores[: 72 * 11])


def test_a_gap_says_nothing_and_teaches_nothing() -> None:
    values = [float(number % 7) for number in range(200)]
    with_gap = _detector()
    for number, value in enumerate(values):
        with_gap.update(number, value)
    assert math.isnan(with_gap.update(200, math.nan).score)
    without = _detector()
    for number, value in enumerate(values):
        without.update(number, value)
    assert with_gap.update(201, 3.5) == without.update(201, 3.5)


def test_one_absurd_reading_does_not_blind_it() -> None:
    rng = random.Random(11)  # with others an alarm of the noise may still stand when the step comes
    detector = _detector()
    for number in range(700):
        detector.update(number * MINUTE_US, 1e300 if number == 400 else 10 + rng.gauss(0, 1))
    later = [detector.update(n * MINUTE_US, 25 + rng.gauss(0, 1)) for n in range(700, 720)]
    assert max(verdict.score for verdict in later) > 1


def test_a_past_keeps_the_last_in_order(rng: random.Random) -> None:
    past, numbers = Past(50), [float(rng.randrange(20)) for _ in range(400)]
    for count, number in enumerate(numbers, 1):
        past.learn(number)
        kept = sorted(numbers[max(0, count - 50) : count])
        assert len(past) == len(kept)
        assert [past.share(q) for q in (0, 0.5, 1)] == [
            kept[int(q * (len(kept) - 1))] for q in (0, 0.5, 1)
        ]
        assert past.at_least(7.0) == sum(one >= 7 for one in kept)
        away = sorted(abs(one - 7.5) for one in kept)
        assert past.nearest(7.5, min(3, len(kept))) == away[min(3, len(kept)) - 1]


def test_a_surprise_is_how_rare_it_was() -> None:
    surprise = Surprise(1000)
    for number in range(999):
        surprise.of(float(number % 3))
    assert surprise.of(3.0) == pytest.approx(3.0)
    assert surprise.of(0.0) == 0.0


def test_its_memory_is_what_it_says() -> None:
    detector = Novelty(NoveltySection(kind="novelty", series=SERIES, window=100, recent=100))
    for number in range(400):
        detector.update(number, float(number % 13))
    assert len(detector._past) == len(detector._recent) == 100
