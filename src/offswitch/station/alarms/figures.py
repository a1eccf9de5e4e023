"""How the console's own alarms do: the figures of ISA-18.2 (16.3, performance metrics), measured.

    rate          annunciations in ten minutes: on average, and at the worst
    flood         more than ten in ten minutes, until there are fewer than five again
    standing      those that have not ended; stale where they have stood for a day
    chattering    the same one at least three times within a minute
    answered      how soon somebody acknowledged it, and how many nobody did
    shelved, and how they are spread over their priorities

They are about what people were told, not about all that was found: an alarm system is for people,
and its figures say whether they can follow it. Pure: made of annunciations, for any span of time.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from offswitch.station.alarms.annunciator import FLOOD, WINDOW_US

__all__ = ["Figures", "Told", "figures"]

_FLOOD_ENDS = 5
_CHATTERS = 3
_MINUTE_US = 60_000_000
_DAY_US = 86_400_000_000
_MOST_NAMED = 20


@dataclass(frozen=True, slots=True)
class Told:
    """One annunciation, and what became of it."""

    key: str
    """What it was about: the rule, or what its group began with."""
    at_us: int
    """UTC, microseconds."""
    priority: str
    """Such as `auto`, `advise`, `shadow`, `finding`."""
    acked_us: int | None = None
    """When somebody acknowledged it; None: nobody has."""
    ended_us: int | None = None
    """When it fell; None: it stands."""
    shelved: bool = False


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of one span of time."""

    since_us: int
    until_us: int
    annunciations: int
    average_10min: float
    """Per ten minutes, over the whole span."""
    peak_10min: int
    """The most in any ten minutes."""
    floods: tuple[tuple[int, int, int], ...]
    """Each period of flood: from, to, and how many in it."""
    flood_share: float
    """The share of the span that was flood; ISA-18.2 wants less than 1 %."""
    standing: int
    """At the end of the span."""
    stale: int
    """Those of them that have stood for more than a day; fewer than five are wanted."""
    chattering: tuple[str, ...]
    """What came at least three times within a minute, the worst first."""
    acked: int
    unacked: int
    acked_median_us: int | None
    acked_p90_us: int | None
    acked_in_10min: float | None
    """The share of the acknowledged that were so within ten minutes."""
    shelved: int
    priorities: Mapping[str, float]
    """The share of each priority."""

    def as_dict(self) -> dict[str, Any]:
        """Give what JSON takes."""
        return {**asdict(self), "priorities": dict(self.priorities)}


def figures(told: Iterable[Told], since_us: int, until_us: int) -> Figures:
    """Measure a span; what was told before it counts among what stands, and nowhere else."""
    known = sorted((one for one in told if one.at_us < until_us), key=lambda one: one.at_us)
    within = [one for one in known if one.at_us >= since_us]
    times = [one.at_us for one in within]
    stands = [one for one in known if one.ended_us is None or one.ended_us >= until_us]
    waits = sorted(
        one.acked_us - one.at_us
        for one in within
        if one.acked_us is not None and one.acked_us <= until_us
    )
    floods = tuple(_floods(times, until_us))
    span_us = max(until_us - since_us, 1)
    counts = Counter(one.priority for one in within)
    return Figures(
        since_us=since_us,
        until_us=until_us,
        annunciations=len(within),
        average_10min=len(within) * WINDOW_US / max(span_us, WINDOW_US),
        peak_10min=max(_running(times), default=0),
        floods=floods,
        flood_share=sum(to - begin for begin, to, _count in floods) / span_us,
        standing=len(stands),
        stale=sum(1 for one in stands if until_us - one.at_us > _DAY_US),
        chattering=tuple(_chattering(within)[:_MOST_NAMED]),
        acked=len(waits),
        unacked=len(within) - len(waits),
        acked_median_us=_quantile(waits, 0.5),
        acked_p90_us=_quantile(waits, 0.9),
        acked_in_10min=sum(one <= WINDOW_US for one in waits) / len(waits) if waits else None,
        shelved=sum(1 for one in stands if one.shelved),
        priorities={name: count / len(within) for name, count in counts.most_common()},
    )


def _running(times: Sequence[int]) -> list[int]:
    """Say at each moment of `times` how many came in the ten minutes up to it."""
    counts, first = [], 0
    for number, at_us in enumerate(times):
        while at_us - times[first] >= WINDOW_US:
            first += 1
        counts.append(number - first + 1)
    return counts


def _floods(times: Sequence[int], until_us: int) -> list[tuple[int, int, int]]:
    """Find the periods of flood."""
    found: list[tuple[int, int, int]] = []
    begin = first = 0
    inside = False
    for number, count in enumerate(_running(times)):
        if not inside and count > FLOOD:
            inside, begin, first = True, times[number - count + 1], number - count + 1
        # It ends when so few are left of ten minutes, at the latest ten minutes after the last.
        ends = number + 1 == len(times) or _thins(times, number)
        if inside and ends:
            last = times[max(number - _FLOOD_ENDS + 2, first)]
            found.append((begin, min(last + WINDOW_US, until_us), number - first + 1))
            inside = False
    return found


def _thins(times: Sequence[int], number: int) -> bool:
    """Tell whether fewer than five are left of ten minutes before the next one comes."""
    oldest = max(number - _FLOOD_ENDS + 2, 0)
    return times[number + 1] - times[oldest] >= WINDOW_US


def _chattering(within: Sequence[Told]) -> list[str]:
    """Name what came at least three times within a minute, the most frequent first."""
    times: dict[str, list[int]] = defaultdict(list)
    for one in within:
        times[one.key].append(one.at_us)
    chatter = [
        key
        for key, those in times.items()
        if any(
            those[number + _CHATTERS - 1] - those[number] < _MINUTE_US
            for number in range(len(those) - _CHATTERS + 1)
        )
    ]
    return sorted(chatter, key=lambda key: (-len(times[key]), key))


def _quantile(values: Sequence[int], share: float) -> int | None:
    """Give the value below which so large a share lies (the nearest rank)."""
    if not values:
        return None
    return values[min(int(share * len(values)), len(values) - 1)]
