"""One alarm for one surprise: what the detectors that rank by rarity have in common.

    news   = surprise / limit
    raise  when news > 1
    for the next `quiet` readings the alarm stands, and what belongs to it is no news: their
    score is a tenth of what it would be; it falls `clear_after` after the last of them

A surprise is over in a reading or two, and what caused it goes on: without the quiet each
of its readings would be an alarm of its own. The alarm stands meanwhile, so nothing is
missed by it. `score` is thus large where an alarm begins, and only there.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

from pydantic import Field

from offswitch.watch.detectors.contract import Verdict
from offswitch.watch.detectors.deadband import Deadband, DeadbandSection
from offswitch.watch.detectors.past import bounded

__all__ = ["AnnouncementSection", "Announcing"]

_NO_NEWS = 0.1
_CONTRADICTS = (
    "a known change of what the series measures, of its load or of its unit at that time; "
    "or the same change on series that have nothing to do with this target"
)


class AnnouncementSection(DeadbandSection):
    """The keys of a detector that ranks by rarity."""

    limit: Annotated[float, Field(gt=0, le=100)] = 3.0
    """The surprise that is an alarm, in powers of ten: 3 is one in a thousand."""
    quiet: Annotated[int, Field(ge=0, le=100_000)] = 80
    """For how many readings after an alarm there is no other; it stands meanwhile."""
    ranked: Annotated[int, Field(ge=100, le=20_000)] = 5000
    """Among how many of those before it something is ranked."""


class Announcing:
    """Turns surprises into verdicts; a detector says in `_surprise` how rare a reading is."""

    Settings: ClassVar[type[AnnouncementSection]]

    def __init__(self, settings: AnnouncementSection) -> None:
        """Begin with no alarm."""
        self._limit = settings.limit
        self._quiet = settings.quiet
        self._alarm = Deadband(settings)
        self._left = 0
        """How many more readings belong to the alarm."""

    def _surprise(self, mono_us: int, value: float) -> float:
        """Judge a finite reading by those before it, then learn it."""
        raise NotImplementedError

    def _band(self) -> tuple[float, float]:
        """Give what was usual before this reading."""
        raise NotImplementedError

    def _because(self) -> str:
        """Say in a clause what was surprising in this reading."""
        raise NotImplementedError

    def update(self, mono_us: int, value: float) -> Verdict:
        """Judge one reading; a NaN cannot be judged and teaches nothing."""
        if math.isnan(value):
            return Verdict(value, self._alarm.raised, "the value is not a number")
        news = self._surprise(mono_us, bounded(value)) / self._limit
        if self._left:
            self._left -= 1
            score, began = news * _NO_NEWS, False
        else:
            score, began = news, news > 1
            if began:
                self._left = self._quiet
        standing = began or self._left > 0
        raised = self._alarm.update(mono_us, beyond=standing, inside=not standing)
        if not began:
            return Verdict(score, raised, f"{value:g}, surprise {news:.2f} of the limit")
        low, high = self._band()
        why = f"{value:g}, seen before {low:g} to {high:g}: {self._because()}"
        evidence = {"band": f"{low:g} to {high:g}", "contradicts": _CONTRADICTS}
        return Verdict(score, raised, why, evidence)

    def rearm(self) -> None:
        """Let the alarm fall, and count what comes next as news; what is normal stays learnt."""
        self._left = 0
        self._alarm.rearm()
