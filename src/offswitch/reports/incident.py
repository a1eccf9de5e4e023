"""An incident: what belongs together of all that the ledger tells.

    a stop ──► commanded ──► confirmed ───────► reset ──► closed
                    └──────► not confirmed ───────┘
    opened by a person, or a near miss ──► open ────────► closed

Everything here is said by entries, and each part names the one that says it. A near miss is an
incident in which nothing was stopped; a false stop is one of which a person said, when closing
it, that it should not have happened (REP-6).

Severity follows one rule, so that nobody argues about it at night: restrict and drain are
*low*, freeze is *medium*, kill is *high*, poweroff is *critical*; one step more where standstill
was not confirmed at first, and one more each time that it trips again while on probation after
its reset. What covered nothing, and near misses, are *low*. A person may grade it otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from offswitch.reports.delays import Delays

__all__ = [
    "Acted",
    "Closing",
    "Event",
    "Incident",
    "IncidentState",
    "Layer",
    "Note",
    "Outcome",
    "Severity",
    "Sort",
    "StopOrder",
    "What",
]


class Sort(StrEnum):
    """What kind of incident it is."""

    STOP = "stop"
    FALSE_STOP = "false-stop"
    """A stop of which a person has said that it was in vain."""
    NEAR_MISS = "near-miss"
    """Something was seen, and nothing was stopped."""
    REPORTED = "reported"
    """A person opened it, and nothing was stopped so far."""


class Outcome(StrEnum):
    """What a person says it was, when closing it."""

    STOP = "stop"
    FALSE_STOP = "false-stop"
    NEAR_MISS = "near-miss"


class IncidentState(StrEnum):
    """How far it has come."""

    OPEN = "open"
    """Nothing is stopped by it."""
    COMMANDED = "commanded"
    """Stopped, and not everything was looked at yet."""
    CONFIRMED = "confirmed"
    """Stopped, and every layer that counts was observed."""
    UNCONFIRMED = "not confirmed"
    """Stopped, and something that counts was not observed."""
    RESET = "reset"
    """No stop of it is live any more."""
    CLOSED = "closed"


class Severity(StrEnum):
    """How bad it is, least first."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    def raised(self, steps: int = 1) -> Severity:
        """Give the severity that many steps above."""
        ladder = list(Severity)
        return ladder[min(ladder.index(self) + steps, len(ladder) - 1)]


class What(StrEnum):
    """What an entry of kind `incident` says has been done."""

    OPENED = "opened"
    GRADED = "graded"
    NOTED = "noted"
    HANDED_OVER = "handed over"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the timeline."""

    index: int
    """The number of its entry."""
    time_us: int
    """When it happened, UTC in microseconds: when read, decided or given, else when written."""
    kind: str
    """The entry's kind."""
    what: str
    """One sentence of public fields; hostile text included."""
    by: str | None = None
    """Who; None: nobody, or erased."""
    words: str = ""
    """What a person gave as reason, or noted: an opinion, and hostile text included."""


@dataclass(frozen=True, slots=True)
class StopOrder:
    """One stop that belongs to it."""

    digest: str
    scope: str
    level: str
    index: int
    given_us: int
    by: str | None
    reason: str
    live: bool
    """Whether no reset has cleared it."""
    times: int = 1
    """How often it was given."""


@dataclass(frozen=True, slots=True)
class Layer:
    """What one layer did about one target, by the latest receipt; times by the first that tells."""

    target: str
    layer: str
    level: str
    order: str
    index: int
    """The latest receipt's entry."""
    commanded_us: int
    """When the command was given, UTC in microseconds."""
    effect_us: int | None
    """When the effect was first observed, likewise; None: it was not."""
    confirmed: bool
    """Whether the latest receipt says that it was observed."""
    counted: bool
    """False for the guard, which is cooperative."""
    detail: str
    """What was seen, or what may still act; empty where it was erased."""
    seen_in: int | None = None
    """The entry that first tells of the effect."""
    missed_in: int | None = None
    """The first entry by which it counts and was not observed in time; None: it was (VER-5)."""


@dataclass(frozen=True, slots=True)
class Acted:
    """What a hand found and did at one target, in its own words, which confirm nothing."""

    target: str
    layer: str
    actuator: str
    index: int
    """The latest entry that tells of it."""
    done: bool
    """Whether it says that it has acted."""
    happened: tuple[tuple[int, str], ...]
    """What was in flight or queued, and how far it had come, each with its entry (ACT-9)."""
    reissue: tuple[tuple[int, str], ...]
    """What a person has to make anew before the target can work again, likewise (RST-8)."""


@dataclass(frozen=True, slots=True)
class Note:
    """What a person noted."""

    index: int
    time_us: int
    by: str | None
    text: str | None
    """None where it was erased."""


@dataclass(frozen=True, slots=True)
class Closing:
    """How a person closed it."""

    index: int
    time_us: int
    by: str | None
    outcome: Outcome
    cause: str | None
    """None where it was erased."""
    actions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Incident:
    """One incident, as of the last entry that was taken in."""

    id: str
    """`inc-` and hex digits: of its first stop's digest, or of a nonce."""
    sort: Sort
    state: IncidentState
    severity: Severity
    severity_why: str
    severity_in: int
    """The entry by which the severity is what it is."""
    title: str
    """One sentence of public facts."""
    why: str
    """What was given as reason, or what the rule said; hostile text included."""
    scope: str
    """The scope of the first stop, or what a person named."""
    scopes: tuple[str, ...]
    """All scopes of its stops."""
    level: str
    """The highest level that was ordered; empty: none."""
    opened_us: int
    opened_in: int
    opened_by: str | None
    aware_us: int
    """The first moment at which somebody or a rule knew: starts all clocks (REP-1)."""
    aware_in: int
    aware_how: str
    reset_us: int | None
    reset_in: int | None
    lead: str | None
    """Who has it in hand: whoever it was last handed over to."""
    targets: tuple[str, ...]
    """What its stops covered, sorted; at most 2000."""
    target_count: int
    orders: tuple[StopOrder, ...]
    """Its stops, the first 500."""
    live: tuple[str, ...]
    """Digests of those that no reset has cleared, and of what stands for many; at most 500."""
    live_count: int
    layers: tuple[Layer, ...]
    """By target and layer."""
    layers_left_out: int
    events: tuple[Event, ...]
    """The timeline: of each kind of entry the first and the last, by time."""
    counts: Mapping[str, int]
    """How many entries of each kind belong to it."""
    left_out: Mapping[str, int]
    """How many of each kind are not in `events`."""
    notes: tuple[Note, ...]
    closing: Closing | None
    delays: Delays
    moved: int
    """How often something lived again while it was latched."""
    trips: int
    """How often it was stopped anew after a reset, on probation."""
    silent: tuple[str, ...]
    """Targets that its stops cover, and of which no receipt of a layer that counts tells."""
    last_us: int
    last_in: int
    """The latest entry that belongs to it."""
    aliases: tuple[str, ...] = ()
    """Names of near misses that became this incident."""
    acted: tuple[Acted, ...] = ()
    """What hands did beyond this machine's own layers, by target and actuator."""
    also: tuple[int, ...] = field(default=())
    """Entries that its facts cite and that are not in `events`."""

    @property
    def unconfirmed(self) -> tuple[Layer, ...]:
        """Layers that count and whose effect was not observed, by the latest receipt."""
        return tuple(one for one in self.layers if one.counted and not one.confirmed)

    @property
    def open(self) -> bool:
        """Whether nobody has closed it."""
        return self.state is not IncidentState.CLOSED

    def line(self) -> dict[str, Any]:
        """Give what a list shows of it."""
        return {
            "incident": self.id,
            "sort": self.sort.value,
            "state": self.state.value,
            "severity": self.severity.value,
            "title": self.title,
            "why": self.why,
            "by": self.opened_by,
            "scope": self.scope,
            "level": self.level,
            "opened_us": self.opened_us,
            "aware_us": self.aware_us,
            "reset_us": self.reset_us,
            "closed_us": None if self.closing is None else self.closing.time_us,
            "lead": self.lead,
            "targets": self.target_count,
            "unconfirmed": len(self.unconfirmed),
            "entry": self.opened_in,
            "last_us": self.last_us,
        }

    def as_dict(self) -> dict[str, Any]:
        """Give all of it as JSON has it."""
        body = asdict(self)
        body["delays"] = self.delays.as_dict()
        body["unconfirmed"] = [asdict(one) for one in self.unconfirmed]
        body["closed_us"] = None if self.closing is None else self.closing.time_us
        body["incident"] = body.pop("id")
        return body
