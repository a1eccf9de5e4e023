"""Novelty: the default detector of one series, a sum of surprises.

    surprise = short shape + long shape + range + max(0, season - 1.25) / 2
    score    = surprise / limit

each part ranked against its own past (`past.Surprise`): the shapes of the last readings
(`shape_memory`), the excess over the trailing range (`range_novelty`), and what lies outside
of its time of day (`season`), which counts only where it is rarer than one in eighteen.
Nothing is fitted to a series and there is no model of it: what a reading is compared with
is what was seen before it, so that no knowledge of a recording's length, extremes or
future can slip in. A sum lets two weak signs make one strong one; their maximum would not.

The weights, widths and limit were chosen on the Numenta Anomaly Benchmark
(docs/results/2026-11-28-nab.md lists everything that was tried, and what is left of the
score where a category was not looked at).

    { kind = "novelty", series = "vllm.num_requests_running" }
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from offswitch.watch.detectors.announcement import AnnouncementSection, Announcing
from offswitch.watch.detectors.past import Past, Surprise
from offswitch.watch.detectors.range_novelty import excess
from offswitch.watch.detectors.season import Profile, residual
from offswitch.watch.detectors.shape_memory import Shapes, ShapeSection

__all__ = ["Novelty", "NoveltySection"]

_SLOTS, _DAYS = 48, 10
_RARE, _SEASON_COUNTS = 1.25, 0.5


class NoveltySection(ShapeSection):
    """The keys of a novelty."""

    kind: Literal["novelty"]
    limit: Annotated[float, Field(gt=0, le=100)] = 3.1
    """The sum of surprises that is an alarm, in powers of ten."""
    window: Annotated[int, Field(ge=100, le=20_000)] = 8000
    """How many readings make the range."""
    recent: Annotated[int, Field(ge=100, le=20_000)] = 3000
    """How many readings make the spread by which differences are measured."""


class Novelty(Announcing):
    """All that is known of one series."""

    Settings: ClassVar[type[AnnouncementSection]] = NoveltySection

    def __init__(self, settings: NoveltySection) -> None:
        """Begin with no past."""
        super().__init__(settings)
        self._past = Past(settings.window)
        self._recent = Past(settings.recent)
        self._shapes = Shapes(settings)
        self._profile = Profile(_SLOTS, _DAYS)
        self._range_rarity = Surprise(settings.ranked)
        self._season_rarity = Surprise(settings.ranked)
        self._seen = (0.0, 0.0)
        self.parts = (0.0, 0.0, 0.0, 0.0)
        """The surprises of the last reading: short shape, long shape, range, season."""

    def _surprise(self, mono_us: int, value: float) -> float:
        past, recent = self._past, self._recent
        if past:
            self._seen = (past.share(0), past.share(1))
        short, long = self._shapes.take(value, recent)
        beyond = self._range_rarity.of(excess(past, value))
        season = self._season_rarity.of(residual(self._profile, recent, mono_us, value))
        past.learn(value)
        recent.learn(value)
        self.parts = (short, long, beyond, season)
        return short + long + beyond + _SEASON_COUNTS * max(0.0, season - _RARE)

    def _band(self) -> tuple[float, float]:
        return self._seen

    def _because(self) -> str:
        names = ("short shape", "long shape", "range", "time of day")
        said = [f"{name} {part:.1f}" for name, part in zip(names, self.parts, strict=True) if part]
        return "surprising by " + ", ".join(said) + " powers of ten"
