"""Template novelty: more new kinds of log lines at once than this log has ever taught us to expect.

    S        = new kinds within the last `per`
    usual    : K new kinds in a time T were seen before; the rate is then Gamma(K + 1, T), and
               S is negative binomial with r = K + 1 and p = T / (T + per)
    score    = ln P(S' >= S) / ln `chance`;  beyond when P < `chance` and S >= `least`

A program that fails, is attacked or does what it never did says things that it never said:
the first sight of a kind of line is the earliest sign, long before its rate says anything
(Drain's templates, He et al. 2017; new ones as anomalies: Du et al., DeepLog, 2017). The
rate is estimated with its own uncertainty, so a short past makes it careful, and old past
counts half as much after `forget`. While the alarm stands nothing is learnt.

`chance` is the declared probability that a window is called odd though the kinds come as
before and independently; a deployment brings many at once and is no false alarm of it: bypass
the rule, or raise `least`.

    { kind = "template_novelty", series = "app-log.templates_new" }
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from offswitch.config.duration import format_duration
from offswitch.config.section import Duration
from offswitch.watch.detectors.contract import Verdict
from offswitch.watch.detectors.deadband import Deadband, DeadbandSection

__all__ = ["TemplateNovelty", "TemplateNoveltySection"]

_GRAINS = 64
_MOST = 1000


class TemplateNoveltySection(DeadbandSection):
    """The keys of template novelty."""

    kind: Literal["template_novelty"]
    per: Duration = 10_000_000
    """The width of the sliding window."""
    learn: Duration = 600_000_000
    """How long it only learns."""
    forget: Duration = 86_400_000_000
    """After how long the past counts half."""
    least: Annotated[int, Field(ge=1, le=1000)] = 3
    """How many new kinds there must be at all."""
    chance: Annotated[float, Field(gt=0, lt=0.1)] = 1e-6
    """How improbable a window must be: the declared false-alarm rate, a window."""


class TemplateNovelty:
    """How often something new is said."""

    EVENTS: ClassVar[bool] = True
    Settings: ClassVar[type[TemplateNoveltySection]] = TemplateNoveltySection

    __slots__ = ("_alarm", "_began_us", "_count", "_grain", "_recent", "_settings", "_shown",
                 "_told_us", "_weight_us")  # fmt: skip

    def __init__(self, settings: TemplateNoveltySection) -> None:
        self._settings = settings
        self._alarm = Deadband(settings)
        self._grain = max(settings.per // _GRAINS, 1)
        self._recent: deque[tuple[int, float]] = deque()
        """Begin of a grain, and how many kinds were new in it."""
        self._began_us: int | None = None
        self._told_us = 0
        self._count = 0.0
        """K: new kinds in the past, those of long ago for less."""
        self._weight_us = 0.0
        """T, in microseconds."""
        self._shown: dict[str, str] = {}

    def update(
        self, mono_us: int, value: float, detail: Mapping[str, str] | None = None
    ) -> Verdict:
        """Judge how many new kinds there are in the window by the past before it, then learn."""
        settings = self._settings
        if self._began_us is None:
            self._began_us = self._told_us = mono_us
        fresh = min(max(value, 0.0), float(_MOST))
        if fresh:
            self._take(mono_us, fresh, detail or {})
        self._pass(mono_us)
        total = sum(count for _, count in self._recent)
        if mono_us - self._began_us < settings.learn:
            return Verdict(0.0, self._alarm.raised, f"{total:g} new kinds, still learning")
        log_chance = _log_tail(total, self._count, self._weight_us / settings.per)
        enough = total >= settings.least
        score = log_chance / math.log(settings.chance) if enough else 0.0
        raised = self._alarm.update(mono_us, beyond=score > 1, inside=score < 1 - settings.deadband)
        return self._verdict(score, total, raised=raised)

    def _verdict(self, score: float, total: float, *, raised: bool) -> Verdict:
        settings = self._settings
        usual = self._count * settings.per / self._weight_us if self._weight_us else 0.0
        per = format_duration(settings.per)
        why = f"{total:g} new kinds of lines in {per}, usual {usual:.3g}"
        if not raised:
            return Verdict(score, raised, why)
        return Verdict(
            score,
            raised,
            why,
            {
                **self._shown,
                "band": f"{usual:.3g} in {per}, learnt from {self._weight_us / 3.6e9:.3g} h",
                "declared": f"{settings.chance:g} a window of {per}",
                "contradicts": "a deployment or a changed log format at this time",
            },
        )

    def _take(self, mono_us: int, fresh: float, detail: Mapping[str, str]) -> None:
        shown = {key: text for key, text in detail.items() if key.startswith("template_")}
        self._shown = shown or self._shown
        if self._recent and mono_us - self._recent[-1][0] <= self._grain:
            begin, count = self._recent[-1]
            self._recent[-1] = (begin, min(count + fresh, float(_MOST)))
        else:
            self._recent.append((mono_us, fresh))

    def _pass(self, mono_us: int) -> None:
        """Let time pass; what leaves the window becomes the past, unless an alarm stands."""
        settings = self._settings
        learns = not self._alarm.raised
        since_us, self._told_us = mono_us - self._told_us, mono_us
        if learns:
            kept = 0.5 ** (since_us / settings.forget)
            self._count *= kept
            self._weight_us = self._weight_us * kept + since_us
        while self._recent and self._recent[0][0] <= mono_us - settings.per:
            _begin, count = self._recent.popleft()
            if learns:
                self._count += count

    def rearm(self) -> None:
        """Let the alarm fall; what led to it is taken for known."""
        self._recent.clear()
        self._shown = {}
        self._alarm.rearm()


def _log_tail(total: float, count: float, windows: float) -> float:
    """Give ln P(S >= total): negative binomial, r = count + 1, p = windows / (windows + 1).

    Summed from `total` upwards, so that a small chance is no difference of large ones.
    """
    if total <= 0:
        return 0.0
    shape, rest = count + 1.0, 1.0 / (windows + 1.0)
    term = (
        math.lgamma(total + shape)
        - math.lgamma(shape)
        - math.lgamma(total + 1)
        + shape * math.log1p(-rest)
        if windows
        else -math.inf
    )
    if term == -math.inf:
        return 0.0
    term += total * math.log(rest)
    ratio, tail, step = 1.0, 1.0, total
    # The terms fall geometrically.
    while ratio > 1e-9 * tail and step < total + 10_000:
        ratio *= (step + shape) / (step + 1) * rest
        tail += ratio
        step += 1
    return min(term + math.log(tail), 0.0)
