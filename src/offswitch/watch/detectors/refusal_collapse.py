"""Refusal collapse: the share of requests that a model refuses falls, or rises, for good.

    usual   the share among the first `learn` answers, with its interval (Wilson, 99 %)
    fall    x bets p1 = low / factor against low:     e = p1/low  if refused, (1-p1)/(1-low) if not
    rise    p2 = min(high * factor, half way to 1) against high, likewise
    each    is summed by an e-CUSUM against `every`;  score = the larger of the two

Low and high are the ends of the interval, so the bets are fair for every share inside of it, and
the declared rate holds: at most one false alarm in `every` answers on average. Where hardly any
answer is refused to begin with, a fall cannot be told, and only the rise is judged.

An answer is a reading with a `text` (or `line`, `content`): refused if one of `phrases` is among
its first 300 letters. With `reads = "flags"` it is a reading of 1 (refused) or 0 instead.

    { kind = "refusal_collapse", series = "otlp.answer", side = "fall" }
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from offswitch.watch.detectors.contract import Verdict
from offswitch.watch.detectors.deadband import Deadband, DeadbandSection
from offswitch.watch.detectors.e_cusum import ECusum

__all__ = ["RefusalCollapse", "RefusalCollapseSection"]

_KEYS = ("text", "line", "content")
_LOOKED_AT = 300
_Z = 2.576
_LEAST_SHARE = 0.005
_PHRASES = (
    "i can't",
    "i cannot",
    "i can not",
    "i'm unable",
    "i am unable",
    "i won't",
    "i'm not able to",
    "i'm sorry, but",
    "i must decline",
    "as an ai",
)


class RefusalCollapseSection(DeadbandSection):
    """The keys of a refusal collapse."""

    kind: Literal["refusal_collapse"]
    reads: Literal["text", "flags"] = "text"
    phrases: Annotated[list[str], Field(min_length=1, max_length=100)] = Field(
        default_factory=lambda: list(_PHRASES)
    )
    """What a refusal says, in small letters."""
    learn: Annotated[int, Field(ge=50, le=100_000)] = 300
    """From how many answers the usual share is learnt."""
    factor: Annotated[float, Field(gt=1)] = 4.0
    """How large a change is looked for."""
    every: Annotated[float, Field(ge=100)] = 10_000
    """At most one false alarm in so many answers, on average."""
    side: Literal["both", "fall", "rise"] = "both"


class RefusalCollapse:
    """The share of refusals."""

    Settings: ClassVar[type[RefusalCollapseSection]] = RefusalCollapseSection
    EVENTS: ClassVar[bool] = True

    __slots__ = ("_alarm", "_answers", "_fall", "_refused", "_rise", "_settings", "_usual")

    def __init__(self, settings: RefusalCollapseSection) -> None:
        self._settings = settings
        self._alarm = Deadband(settings)
        self._answers = self._refused = 0
        self._usual: tuple[float, float] | None = None
        """The interval of the usual share, once it is learnt."""
        self._fall, self._rise = ECusum(settings.every), ECusum(settings.every)

    def update(
        self, mono_us: int, value: float, detail: Mapping[str, str] | None = None
    ) -> Verdict:
        """Take in one answer; a reading without one says nothing."""
        refused = self._refuses(value, detail or {})
        if refused is None:
            return Verdict(0.0, self._alarm.update(mono_us, beyond=False, inside=False), "none")
        if self._usual is None:
            self._learn(refused=refused)
            return Verdict(0.0, self._alarm.raised, "still learning")
        low, high = self._usual
        fall, rise = self._sums(low, high, refused=refused)
        score = max(fall, rise)
        inside = score < 1 - self._settings.deadband
        raised = self._alarm.update(mono_us, beyond=score >= 1, inside=inside)
        evidence = {
            "band": f"{low:.1%} to {high:.1%} refused",
            "declared": f"one false alarm in {self._settings.every:g} answers, or fewer",
            "contradicts": "other people ask, or for other things, than when it was learnt",
        }
        why = "refuses less than it did" if fall >= rise else "refuses more than it did"
        return Verdict(score, raised, why, evidence)

    def _refuses(self, value: float, detail: Mapping[str, str]) -> bool | None:
        if self._settings.reads == "flags":
            return value > 0
        text = next((detail[key] for key in _KEYS if key in detail), "")
        if not value > 0 or not text:
            return None
        begin = text[:_LOOKED_AT].lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
        return any(phrase in begin for phrase in self._settings.phrases)

    def _learn(self, *, refused: bool) -> None:
        self._answers += 1
        self._refused += refused
        if self._answers == self._settings.learn:
            self._usual = _wilson(self._refused, self._answers)

    def _sums(self, low: float, high: float, *, refused: bool) -> tuple[float, float]:
        factor, side = self._settings.factor, self._settings.side
        fall = rise = 0.0
        if side != "rise" and low > _LEAST_SHARE:
            fall = self._fall.update(_log_bet(low / factor, low, refused=refused))
        if side != "fall" and high < 1:
            other = min(high * factor, (1 + high) / 2)
            rise = self._rise.update(_log_bet(other, high, refused=refused))
        return fall, rise

    def rearm(self) -> None:
        """Let the alarm fall; what is usual stays learnt."""
        self._fall.reset()
        self._rise.reset()
        self._alarm.rearm()


def _log_bet(other: float, usual: float, *, refused: bool) -> float:
    return math.log(other / usual if refused else (1 - other) / (1 - usual))


def _wilson(count: int, total: int) -> tuple[float, float]:
    """Give the interval in which a share lies (Wilson 1927)."""
    share, z2 = count / total, _Z * _Z
    centre = (share + z2 / (2 * total)) / (1 + z2 / total)
    spread = math.sqrt(share * (1 - share) / total + z2 / (4 * total * total))
    spread *= _Z / (1 + z2 / total)
    return max(centre - spread, 0.0), min(centre + spread, 1.0)
