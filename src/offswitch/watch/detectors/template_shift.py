"""Template shift: a log says the same kinds of things as ever, in other proportions.

    learnt   p: lines of each kind in the past       window   q: lines of each kind within `per`
    JS     = H((p + q) / 2) - (H(p) + H(q)) / 2, in bits: 0 the same mix, 1 nothing in common
    G      = 2 * sum of observed * ln(observed / expected) of the two rows p and q: the
             likelihood-ratio test of one mix for both, chi-square with k - 1 degrees
    score  = min(JS / above, G / chi-square's quantile at 1 - chance);  beyond when score > 1

The Jensen-Shannon divergence (Lin 1991) says how far the mix has moved, the G-test (Wilks
1938; the quantile by Wilson and Hilferty 1931) whether so few lines could say so by chance.
Both must. Lines are no independent draws, so `chance` bounds the small samples only; what
keeps the long ones calm is `above`. Lines that leave the window are learnt, the past counts half
after `forget` lines, and while the alarm stands nothing is learnt.

    { kind = "template_shift", series = "app-log.template_mix", above = 0.2 }
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from statistics import NormalDist
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from offswitch.config.section import Duration
from offswitch.watch.detectors.contract import Verdict
from offswitch.watch.detectors.deadband import Deadband, DeadbandSection

__all__ = ["TemplateShift", "TemplateShiftSection"]

_GRAINS = 32
_MOST_KINDS = 256
_OTHER = "other"
_MOST_LINES = 1e9

Mix = dict[str, float]


class TemplateShiftSection(DeadbandSection):
    """The keys of template shift."""

    kind: Literal["template_shift"]
    above: Annotated[float, Field(gt=0, le=1)] = 0.2
    """How far the mix must have moved, in bits."""
    per: Duration = 60_000_000
    """The width of the sliding window."""
    learn: Annotated[int, Field(ge=100)] = 2000
    """How many lines are learnt before it judges."""
    least: Annotated[int, Field(ge=10)] = 100
    """How many lines the window must hold."""
    forget: Annotated[int, Field(ge=1000)] = 100_000
    """After how many lines the past counts half."""
    chance: Annotated[float, Field(gt=0, lt=0.1)] = 1e-6
    """The declared false-alarm rate of a test, were the lines independent."""


class TemplateShift:
    """The usual mix of kinds, and the present one."""

    EVENTS: ClassVar[bool] = True
    Settings: ClassVar[type[TemplateShiftSection]] = TemplateShiftSection

    __slots__ = ("_alarm", "_grain", "_learnt", "_quantile", "_recent", "_settings", "_window")

    def __init__(self, settings: TemplateShiftSection) -> None:
        self._settings = settings
        self._alarm = Deadband(settings)
        self._grain = max(settings.per // _GRAINS, 1)
        self._quantile = NormalDist().inv_cdf(1 - settings.chance)
        self._learnt: Mix = {}
        self._window: Mix = {}
        self._recent: deque[tuple[int, Mix]] = deque()
        """Begin of a grain, and its lines by kind."""

    def update(
        self, mono_us: int, value: float, detail: Mapping[str, str] | None = None
    ) -> Verdict:
        """Compare the window's mix with the learnt one."""
        settings = self._settings
        if value > 0:
            self._take(mono_us, _counts(value, detail or {}))
        while self._recent and self._recent[0][0] <= mono_us - settings.per:
            self._leave()
        past, now = sum(self._learnt.values()), sum(self._window.values())
        if past < settings.learn:
            return Verdict(0.0, self._alarm.raised, f"{past:g} lines learnt, still learning")
        if now < settings.least:
            # Too few to tell: no sign of alarm, and none of calm, or silence would clear it.
            raised = self._alarm.update(mono_us, beyond=False, inside=False)
            return Verdict(0.0, raised, f"{now:g} lines are too few to tell")
        moved, statistic, kinds = _compare(self._learnt, self._window)
        score = min(moved / settings.above, statistic / self._critical(kinds - 1))
        raised = self._alarm.update(mono_us, beyond=score > 1, inside=score < 1 - settings.deadband)
        why = f"the mix of {now:g} lines is {moved:.3g} bits from the usual, limit "
        why += f"{settings.above:g}"
        return Verdict(score, raised, why, self._evidence(past, now) if raised else {})

    def _evidence(self, past: float, now: float) -> dict[str, str]:
        moves = {
            kind: self._window.get(kind, 0.0) / now - self._learnt.get(kind, 0.0) / past
            for kind in {*self._window, *self._learnt}
        }
        most = sorted(moves, key=lambda kind: (-abs(moves[kind]), kind))[:3]
        told = ", ".join(f"{kind} {100 * moves[kind]:+.1f} %" for kind in most)
        return {
            "band": f"0 to {self._settings.above:g} bits from a mix learnt from {past:.0f} lines",
            "declared": f"{self._settings.chance:g} a test, were lines independent",
            "contradicts": "a change of load, of version or of the log's level at this time",
            "moved": told,
        }

    def _critical(self, degrees: int) -> float:
        """Give the quantile of chi-square (Wilson and Hilferty)."""
        part = 2 / (9 * max(degrees, 1))
        return float(max(degrees, 1) * (1 - part + self._quantile * math.sqrt(part)) ** 3)

    def _take(self, mono_us: int, counts: Mix) -> None:
        if not self._recent or mono_us - self._recent[-1][0] > self._grain:
            self._recent.append((mono_us, {}))
        _add(self._recent[-1][1], counts.items())
        _add(self._window, counts.items())

    def _leave(self) -> None:
        """Take the oldest grain out of the window; it is learnt unless an alarm stands."""
        _begin, grain = self._recent.popleft()
        self._window = {}
        for _at, counts in self._recent:
            _add(self._window, counts.items())
        if self._alarm.raised:
            return
        kept = 0.5 ** (sum(grain.values()) / self._settings.forget)
        self._learnt = {
            kind: count * kept
            for kind, count in self._learnt.items()
            if count * kept > 1e-6  # noqa: PLR2004 - as good as never seen
        }
        _add(self._learnt, grain.items())

    def rearm(self) -> None:
        """Let the alarm fall, and forget what led to it."""
        self._recent.clear()
        self._window = {}
        self._alarm.rearm()


def _counts(value: float, detail: Mapping[str, str]) -> Mix:
    """Read the lines by kind; what is told without kinds is one kind of its own."""
    counts = {kind: float(text) for kind, text in detail.items() if text.isdecimal()}
    return counts or {_OTHER: min(value, _MOST_LINES)}


def _add(mix: Mix, counts: Iterable[tuple[str, float]]) -> None:
    for kind, count in counts:
        name = kind if kind in mix or len(mix) < _MOST_KINDS else _OTHER
        mix[name] = mix.get(name, 0.0) + min(count, _MOST_LINES)


def _compare(learnt: Mix, window: Mix) -> tuple[float, float, int]:
    """Give the divergence in bits, the statistic of the G-test, and how many kinds there are."""
    kinds = {*learnt, *window}
    past, now = sum(learnt.values()), sum(window.values())
    moved = statistic = 0.0
    for kind in kinds:
        before, after = learnt.get(kind, 0.0), window.get(kind, 0.0)
        one, other = before / past, after / now
        middle = (one + other) / 2
        both = (before + after) / (past + now)
        if before:
            moved += one * math.log2(one / middle) / 2
            statistic += 2 * before * math.log(one / both)
        if after:
            moved += other * math.log2(other / middle) / 2
            statistic += 2 * after * math.log(other / both)
    return moved, statistic, len(kinds)
