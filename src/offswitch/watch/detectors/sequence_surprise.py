"""Sequence surprise: calls in an order in which this agent does not work.

    p(x | a b) = c(a b x) / (n(a b) + d(a b))                      if x has followed a b before,
                 d(a b) / (n(a b) + d(a b)) * p(x | b)             else: escape to the shorter past
    surprise   = -log2 p;   rank = (1 + how many of the last `memory` were no smaller) / (1 + them)
    e          = mean of  k * rank ** (k - 1)  for k = 0.1, 0.3, 0.6;   e-CUSUM against `every`

Prediction by partial matching, method C (Moffat 1990), two calls deep. The rank is a conformal
p-value (Vovk et al. 2005), the bet a calibrator of it (Vovk and Wang 2021), and the sum has a
declared rate: no more than one false alarm in `every` calls on average, as long as surprises come
in no particular order. A loop is not surprising: `repetition` finds that. Who changes slowly
enough teaches it that the new is usual, which is why it is one voter and not a scope.

    { kind = "sequence_surprise", series = 'guard.step{kind="tool"}' }
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import Counter, deque
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from offswitch.watch.detectors.call import call_of
from offswitch.watch.detectors.contract import Verdict
from offswitch.watch.detectors.deadband import Deadband, DeadbandSection
from offswitch.watch.detectors.e_cusum import ECusum

__all__ = ["SequenceSurprise", "SequenceSurpriseSection"]

_DEPTH = 2
_MOST_NAMES = 1000
_MOST_COUNTS = 20_000
_BETS = (0.1, 0.3, 0.6)
_SHOWN = 60
_OTHER = -1


class SequenceSurpriseSection(DeadbandSection):
    """The keys of a sequence surprise."""

    kind: Literal["sequence_surprise"]
    every: Annotated[float, Field(ge=100)] = 10_000
    """At most one false alarm in so many calls, on average."""
    learn: Annotated[int, Field(ge=20)] = 200
    """How many calls are needed before it judges."""
    memory: Annotated[int, Field(ge=100, le=10_000)] = 1000
    """Against how many of the last calls a surprise is ranked."""


class SequenceSurprise:
    """A model of which call follows which."""

    Settings: ClassVar[type[SequenceSurpriseSection]] = SequenceSurpriseSection
    EVENTS: ClassVar[bool] = True

    __slots__ = ("_alarm", "_counts", "_names", "_past", "_ranked", "_settings", "_size", "_sum")

    def __init__(self, settings: SequenceSurpriseSection) -> None:
        self._settings = settings
        self._alarm = Deadband(settings)
        self._names: dict[str, int] = {}
        self._past: deque[int] = deque(maxlen=_DEPTH)
        """The last calls, the newest last."""
        self._counts: dict[tuple[int, ...], Counter[int]] = {}
        self._size = 0
        """How many different counts are kept."""
        self._ranked: tuple[deque[float], list[float]] = (deque(), [])
        """The last surprises in their order, and by size."""
        self._sum = ECusum(settings.every)

    def update(
        self, mono_us: int, value: float, detail: Mapping[str, str] | None = None
    ) -> Verdict:
        """Take in one call; a reading of 0 says that there was none."""
        if not value > 0:
            raised = self._alarm.update(mono_us, beyond=False, inside=True)
            return Verdict(0.0, raised, "no call")
        name = call_of(detail or {}).name
        number = self._number(name)
        surprise = -math.log2(self._likelihood(number))
        self._learn(number)
        rank, known = self._rank(surprise)
        if known < self._settings.learn:
            return Verdict(0.0, self._alarm.raised, "still learning")
        bet = sum(k * rank ** (k - 1) for k in _BETS) / len(_BETS)
        score = self._sum.update(math.log(bet))
        inside = score < 1 - self._settings.deadband
        raised = self._alarm.update(mono_us, beyond=score >= 1, inside=inside)
        evidence = {
            "band": f"{surprise:.1f} bits, rank {rank:.3g} among the last {known}",
            "declared": f"one false alarm in {self._settings.every:g} calls, or fewer",
            "contradicts": "it was given another task",
        }
        why = f"{name[:_SHOWN]} after what came before: surprises add up"
        return Verdict(score, raised, why, evidence)

    def _number(self, name: str) -> int:
        known = self._names.get(name)
        if known is None:
            known = len(self._names) if len(self._names) < _MOST_NAMES else _OTHER
            if known != _OTHER:
                self._names[name] = known
        return known

    def _likelihood(self, number: int) -> float:
        past, weight = tuple(self._past), 1.0
        for start in range(len(past) + 1):
            seen = self._counts.get(past[start:])
            if not seen:
                continue
            total = seen.total() + len(seen)
            if seen[number]:
                return weight * seen[number] / total
            weight *= len(seen) / total
        return weight / (len(self._names) + 1)

    def _learn(self, number: int) -> None:
        past = tuple(self._past)
        for start in range(len(past) + 1):
            seen = self._counts.setdefault(past[start:], Counter())
            self._size += number not in seen
            seen[number] += 1
        self._past.append(number)
        if self._size > _MOST_COUNTS:
            self._fade()

    def _fade(self) -> None:
        """Halve every count, and let go of what was seen once."""
        self._counts = {
            past: kept
            for past, seen in self._counts.items()
            if (kept := Counter({one: count // 2 for one, count in seen.items() if count > 1}))
        }
        self._size = sum(map(len, self._counts.values()))

    def _rank(self, surprise: float) -> tuple[float, int]:
        """Rank it among those before it, then add it to them; gives how many there were."""
        order, by_size = self._ranked
        known = len(order)
        smaller = bisect_left(by_size, surprise - 1e-9)
        rank = (1 + known - smaller) / (1 + known)
        if known == self._settings.memory:
            del by_size[bisect_left(by_size, order.popleft())]
        order.append(surprise)
        insort(by_size, surprise)
        return rank, known

    def rearm(self) -> None:
        """Let the alarm fall; what is usual stays learnt."""
        self._past.clear()
        self._sum.reset()
        self._alarm.rearm()
