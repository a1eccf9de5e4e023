"""What the drills in the ledger prove of each layer (REL-1). Pure: entries in, figures out.

An entry counts when the warden itself wrote it (`via` is the journal: what anybody hands in earns
nothing), when it tells of a layer, and when its drill came to an end as a drill: *passed* or *not
confirmed*. Dry runs (DRL-3), drills that a real stop overtook, and those that failed before the
press count neither way.

What was proven of a layer before it changed is void (`voids`, DRL-4): neither its passes nor its
failures count any longer, nor do the drills as a whole; how many they were is said. Until the next
pass such a layer is *unproven*.

Layer by layer, and *combined*: there a drill is one demand, which has failed if any layer has. That
is the strict reading: that another layer would have made up for it is no excuse here. Each class
of demand (a target that cooperates, has crashed, resists) is counted for itself; the canary
resists, and what was never tried is shown as untried.

`figures` gives everything that a page, `/metrics` or a report shows, in one value. Whoever follows
the record as it grows keeps a `Tally` instead, and asks that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from offswitch.drills import arithmetic
from offswitch.drills.arithmetic import Architecture
from offswitch.drills.voids import Void, void_of

__all__ = [
    "COMBINED",
    "NO_SIL",
    "Demand",
    "Figures",
    "LayerFigures",
    "State",
    "Tally",
    "Times",
    "figures",
]

COMBINED = "combined"
"""The name of the row in which a drill is one demand."""
NO_SIL = "a measured demand-failure bound, not a SIL claim"
_HOUR_US = 3_600_000_000
_COUNTS = frozenset({"passed", "not-confirmed"})
_JOURNAL = "journal"
_FIRST = ("process", "sweep", "network")


class Demand(StrEnum):
    """What kind of target a stop meets."""

    COOPERATIVE = "cooperative"
    CRASHED = "crashed"
    RESISTING = "resisting"


class State(StrEnum):
    """What the drills say of a layer now."""

    PROVEN = "proven"
    """The last drill was clean."""
    UNPROVEN = "unproven"
    """The last drill failed, or the layer has changed since the last one."""
    UNTRIED = "untried"
    """No drill counts."""


@dataclass(frozen=True, slots=True)
class Times:
    """The times of one drill, in nanoseconds since the order was accepted; None: not known."""

    commanded_ns: int | None
    last_act_ns: int | None
    confirmed_ns: int | None


@dataclass(frozen=True, slots=True)
class LayerFigures:
    """What drills prove of one layer under one class of demand."""

    layer: str
    """A layer's name, or `combined`."""
    demand: Demand
    state: State
    n: int
    """Drills that count."""
    k: int
    """How many of them failed."""
    bound: float
    """Failures on demand, at most: Clopper-Pearson, 90 %."""
    jeffreys: float
    """Failures on demand, on average: Jeffreys' mean."""
    rate_per_h: float | None
    """λDU, dangerous undetected failures an hour; None: too few drills to say."""
    interval_us: int | None
    """How far apart the drills were, on average."""
    pfd_average: float | None
    """PFDavg, tested so often: λτ/2."""
    pfd_now: float | None
    """1 - exp(-λ·age); 1 where the last drill failed."""
    last_us: int | None
    """When the last drill ended, UTC in microseconds."""
    last_clean_us: int | None
    """When the last one that passed did."""
    last: Times | None
    """Its times; of the last one that counts, whether it passed or not."""
    slowest_ns: int | None
    """The latest last act of all drills that passed."""
    why: str
    """What the last drill did not see, or what has changed since; empty where it passed."""
    voided_us: int | None = None
    """When a change last voided what was proven; None: none did."""
    voided_n: int = 0
    """How many drills that change made void."""
    voided_k: int = 0
    """How many of them had failed."""

    def as_dict(self) -> dict[str, Any]:
        """Give the object that `--json` shows."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Figures:
    """Everything that the ledger says about drills."""

    now_us: int
    layers: tuple[LayerFigures, ...]
    """Layer by layer and class by class; those that were never tried are listed, too."""
    combined: tuple[LayerFigures, ...]
    """A drill as one demand, class by class."""
    counted: int
    """Drills that count."""
    not_counted: Mapping[str, int]
    """Those that do not, by how they ended: `dry`, `overtaken`, `failed`, `unfinished`."""
    last_us: int | None
    """When the last drill began, whatever became of it."""

    @property
    def worst(self) -> LayerFigures | None:
        """The combined row with the highest bound, of those that were tried."""
        tried = [row for row in self.combined if row.n]
        return max(tried, key=lambda row: row.bound, default=None)

    def as_dict(self) -> dict[str, Any]:
        """Give the object that `--json` shows."""
        return {
            "now_us": self.now_us,
            "layers": [row.as_dict() for row in self.layers],
            "combined": [row.as_dict() for row in self.combined],
            "counted": self.counted,
            "not_counted": dict(self.not_counted),
            "last_us": self.last_us,
            "says": NO_SIL,
        }


@dataclass(frozen=True, slots=True)
class _Trial:
    """One drill of one layer."""

    layer: str
    demand: Demand
    time_us: int
    passed: bool
    times: Times
    why: str


@dataclass(slots=True)
class _Sum:
    """All that is kept of the trials of one layer under one class of demand."""

    n: int = 0
    k: int = 0
    first_us: int = 0
    last: _Trial | None = None
    clean_us: int | None = None
    slowest_ns: int | None = None
    void: Void | None = None
    """What voided the trials before these, and how many they were, and had failed."""
    voided_n: int = 0
    voided_k: int = 0

    def add(self, trial: _Trial) -> None:
        if not self.n:
            self.first_us = trial.time_us
        self.n += 1
        self.last = trial
        if not trial.passed:
            self.k += 1
            return
        self.clean_us = trial.time_us
        at = trial.times.last_act_ns
        if at is not None:
            self.slowest_ns = at if self.slowest_ns is None else max(self.slowest_ns, at)


class Tally:
    """Counts drills as their entries come, oldest first; small however many there were."""

    __slots__ = ("_counted", "_last_us", "_not_counted", "_open", "_sums")

    def __init__(self) -> None:
        """No drill has counted yet."""
        self._sums: dict[tuple[str, Demand], _Sum] = {}
        self._open: dict[str, list[_Trial]] = {}
        """Drills without an end so far."""
        self._counted = 0
        self._not_counted: Counter[str] = Counter()
        self._last_us: int | None = None

    def hear(self, entry: Mapping[str, Any]) -> None:
        """Take in one entry; most are none of a drill.

        It is its public fields, and as far as they can be read the sealed ones, in one object.
        """
        void = void_of(entry)
        if void is not None:
            self._void(void)
        if entry.get("kind") != "drill" or entry.get("via") != _JOURNAL:
            return
        name = str(entry.get("drill"))
        match entry.get("what"):
            case "begin":
                self._open.setdefault(name, [])
                self._last_us = max(self._last_us or 0, _int(entry.get("time_us")) or 0)
            case "layer":
                trial = _trial(entry)
                if trial is not None:
                    self._open.setdefault(name, []).append(trial)
            case "end":
                self._end(str(entry.get("state")), self._open.pop(name, []))
            case _:
                return

    def _void(self, void: Void) -> None:
        """What is known of a layer, and of drills as a whole, was known of something else.

        A drill that is under way may have tried it before or after: its trials of it are void.
        """
        for key, sums in list(self._sums.items()):
            if key[0] in {void.layer, COMBINED} and (sums.n or sums.void is not None):
                n, k = (sums.n, sums.k) if sums.n else (sums.voided_n, sums.voided_k)
                self._sums[key] = _Sum(void=void, voided_n=n, voided_k=k)
        for parts in self._open.values():
            parts[:] = [part for part in parts if part.layer != void.layer]

    def _end(self, state: str, parts: list[_Trial]) -> None:
        if state not in _COUNTS:
            self._not_counted[state] += 1
            return
        self._counted += 1
        wholes = [
            _together([part for part in parts if part.demand is demand])
            for demand in {part.demand for part in parts}
        ]
        for trial in [*parts, *wholes]:
            self._sums.setdefault((trial.layer, trial.demand), _Sum()).add(trial)

    def figures(self, now_us: int) -> Figures:
        """Say what all of it proves at that moment."""
        known = {layer for layer, _demand in self._sums}
        names = [*_FIRST, *sorted(known - {*_FIRST, COMBINED})]
        rows = {
            (layer, demand): _row(layer, demand, self._sums.get((layer, demand), _Sum()), now_us)
            for layer in (*names, COMBINED)
            for demand in Demand
        }
        others = dict(self._not_counted)
        if self._open:
            others["unfinished"] = len(self._open)
        return Figures(
            now_us,
            tuple(row for (layer, _demand), row in rows.items() if layer != COMBINED),
            tuple(rows[COMBINED, demand] for demand in Demand),
            self._counted,
            others,
            self._last_us,
        )


def figures(entries: Iterable[Mapping[str, Any]], now_us: int) -> Figures:
    """Count the drills among `entries`, oldest first; what the warden did not write is not."""
    tally = Tally()
    for entry in entries:
        tally.hear(entry)
    return tally.figures(now_us)


def _trial(entry: Mapping[str, Any]) -> _Trial | None:
    """Read what an entry tells of a layer; None where it tells of none, or is dry."""
    layer = str(entry.get("layer"))
    if layer == COMBINED or _yes(entry.get("dry")):
        return None
    try:
        demand = Demand(str(entry.get("demand")))
    except ValueError:
        return None
    times = [_int(entry.get(key)) for key in ("commanded_ns", "last_act_ns", "confirmed_ns")]
    passed = all(_yes(entry.get(key)) for key in ("passed", "seen", "confirmed"))
    why = "" if passed else str(entry.get("why") or "it was not seen to act")
    return _Trial(layer, demand, _int(entry.get("time_us")) or 0, passed, Times(*times), why)


def _together(parts: list[_Trial]) -> _Trial:
    """Make one trial of a drill's layers: it failed if one has, and was as late as the latest."""

    def latest(key: str) -> int | None:
        known = [getattr(part.times, key) for part in parts]
        return None if None in known else max(known)

    times = Times(*(latest(key) for key in ("commanded_ns", "last_act_ns", "confirmed_ns")))
    why = "; ".join(part.why for part in parts if not part.passed)
    at, passed = max(part.time_us for part in parts), all(part.passed for part in parts)
    return _Trial(COMBINED, parts[0].demand, at, passed, times, why)


def _row(layer: str, demand: Demand, sums: _Sum, now_us: int) -> LayerFigures:
    n, k, last = sums.n, sums.k, sums.last
    exposure_us = last.time_us - sums.first_us if last is not None else 0
    interval_us = exposure_us // (n - 1) if n > 1 else None
    rate = arithmetic.rate(k, exposure_us / _HOUR_US)
    average = pfd_now = None
    if rate is not None and interval_us is not None:
        hours = interval_us / _HOUR_US
        average = min(arithmetic.average(Architecture.ONE_OF_ONE, rate, hours), 1.0)
    if last is not None and not last.passed:
        pfd_now = 1.0
    elif last is not None and rate is not None:
        pfd_now = arithmetic.now(rate, (now_us - last.time_us) / _HOUR_US)
    state = State.UNTRIED if last is None else State.PROVEN if last.passed else State.UNPROVEN
    void, why = sums.void, "" if last is None else last.why
    if last is None and void is not None:
        state, pfd_now = State.UNPROVEN, 1.0
        why = f"{void.layer} has changed since the last drill: {void.why}"
    return LayerFigures(
        layer,
        demand,
        state,
        n,
        k,
        arithmetic.upper_bound(k, n),
        arithmetic.jeffreys_mean(k, n),
        rate,
        interval_us,
        average,
        pfd_now,
        None if last is None else last.time_us,
        sums.clean_us,
        None if last is None else last.times,
        sums.slowest_ns,
        why,
        None if void is None else void.time_us,
        sums.voided_n,
        sums.voided_k,
    )


def _yes(value: object) -> bool:
    """Read a truth as the ledger spells it."""
    return value is True or value == "yes"


def _int(value: object) -> int | None:
    return value if type(value) is int else None
