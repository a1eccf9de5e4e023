"""Incidents counted: how many of each sort a month, and how long things took (REP-6).

Near misses and false stops are counted beside stops, month by month (UTC, by when they began),
so that it is seen whether they grow. Times are those of `delays`, medians over the stops of which
they are known, and how many those are. Nothing is guessed: where none is known it says None.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from statistics import median_low
from typing import Any

from offswitch.reports.delays import Step
from offswitch.reports.incident import Incident, Sort

__all__ = ["Figures", "Month", "Taken", "figures"]

_MOST_EMPTY = 24
"""So many months without an incident are listed between two that have some."""
_LATEST = 253_402_300_800_000_000
_MONTHS = 12


@dataclass(frozen=True, slots=True)
class Taken:
    """How long one thing took."""

    median_us: int | None
    """None: it is known of none."""
    longest_us: int | None
    known: int
    """Of how many stops it is known."""


@dataclass(frozen=True, slots=True)
class Month:
    """One month, or all of them together."""

    month: str
    """`2026-11`; `all` for all together."""
    incidents: int
    """Of every sort but near misses."""
    stops: int
    """Things that were stopped, those in vain included."""
    false_stops: int
    near_misses: int
    reported: int
    """Opened by a person, with nothing stopped."""
    not_confirmed: int
    """Stops of which something was not confirmed, as it stands now."""
    open: int
    """Not closed by anybody, near misses left out."""
    false_share: float | None
    """False stops of all stops; None where nothing was stopped."""
    near_for_each_stop: float | None
    detect: Taken
    decide: Taken
    confirm: Taken
    """From the warden's having the order until the last layer was seen to stand still."""
    change: dict[str, int] | None
    """What has become more (or fewer, below 0) than in the month before; None: there is none."""


@dataclass(frozen=True, slots=True)
class Figures:
    """All months, the earliest first, and their sum."""

    months: tuple[Month, ...]
    total: Month
    size: int
    """Of how many entries of the ledger."""

    def as_dict(self) -> dict[str, Any]:
        """Give what JSON has of it."""
        return asdict(self)


def figures(incidents: Iterable[Incident], size: int) -> Figures:
    """Count the incidents of a ledger of `size` entries."""
    by_month: dict[str, list[Incident]] = {}
    every = list(incidents)
    for incident in every:
        by_month.setdefault(_month_of(incident.opened_us), []).append(incident)
    made: list[Month] = []
    for month in _with_empty(sorted(by_month)):
        made.append(_counted(month, by_month.get(month, []), made[-1] if made else None))
    return Figures(tuple(made), _counted("all", every, None), size)


def _counted(month: str, incidents: Sequence[Incident], before: Month | None) -> Month:
    stopped = [one for one in incidents if one.sort in {Sort.STOP, Sort.FALSE_STOP}]
    false = sum(one.sort is Sort.FALSE_STOP for one in stopped)
    near = sum(one.sort is Sort.NEAR_MISS for one in incidents)
    counts = {
        "incidents": len(incidents) - near,
        "stops": len(stopped),
        "false_stops": false,
        "near_misses": near,
        "reported": len(incidents) - near - len(stopped),
        "not_confirmed": sum(bool(one.unconfirmed) for one in stopped),
    }
    change = None
    if before is not None:
        earlier = asdict(before)
        change = {key: count - earlier[key] for key, count in counts.items()}
    return Month(
        month=month,
        **counts,
        open=sum(one.open and one.sort is not Sort.NEAR_MISS for one in incidents),
        false_share=round(false / len(stopped), 4) if stopped else None,
        near_for_each_stop=round(near / len(stopped), 4) if stopped else None,
        detect=_taken(one.delays.of(Step.DETECT) for one in stopped),
        decide=_taken(one.delays.of(Step.DECIDE) for one in stopped),
        confirm=_taken(map(_confirmed_after, stopped)),
        change=change,
    )


def _confirmed_after(incident: Incident) -> int | None:
    acted, seen = (incident.delays.of(step) for step in (Step.LAST_ACT, Step.CONFIRMED))
    return None if acted is None or seen is None else acted + seen


def _taken(times: Iterable[int | None]) -> Taken:
    known = [one for one in times if one is not None]
    return Taken(
        median_us=median_low(known) if known else None,
        longest_us=max(known, default=None),
        known=len(known),
    )


def _month_of(time_us: int) -> str:
    if not 0 <= time_us < _LATEST:
        return "unknown"
    moment = datetime.fromtimestamp(time_us // 1_000_000, UTC)
    return f"{moment.year:04}-{moment.month:02}"


def _with_empty(months: Sequence[str]) -> list[str]:
    """Put the empty months in between, where they are few."""
    made: list[str] = []
    for month in months:
        if made and month != "unknown":
            gap = _number(month) - _number(made[-1])
            if gap <= _MOST_EMPTY:
                first = _number(made[-1]) + 1
                made += [_name(first + number) for number in range(gap - 1)]
        made.append(month)
    return made


def _number(month: str) -> int:
    year, _, of_year = month.partition("-")
    return int(year) * _MONTHS + int(of_year) - 1


def _name(number: int) -> str:
    return f"{number // _MONTHS:04}-{number % _MONTHS + 1:02}"
