"""What the fold of `events` remembers of one incident: its stops, what was seen of each target."""

from __future__ import annotations

from dataclasses import dataclass, field

from offswitch.config.notify import Event

__all__ = ["Incident", "Stop"]

COOPERATIVE = "guard"
"""The layer that is listed and never counted."""


@dataclass(slots=True)
class Stop:
    """One stop that is live."""

    digest: str
    scope: str
    level: str
    by: str
    why: str
    targets: set[str]
    """What it covered when it was placed."""


@dataclass(slots=True)
class Incident:
    """One thread: the first stop, and all that belongs to it."""

    name: str
    opened_us: int
    event: Event
    scope: str
    machine: bool
    """Whether no person began it."""
    stops: dict[str, Stop] = field(default_factory=dict)
    layers: dict[str, dict[str, bool]] = field(default_factory=dict)
    """Target → layer → whether it was seen to have acted."""
    missing: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Target → layers of which the warden says that a person must look."""
    tell: dict[str, None] = field(default_factory=dict)
    """Who is to be told first, as the stop plans say."""
    others: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Target that was not confirmed → what else would go with the machine that it is on."""
    happening: str = ""
    rule: str = ""
    reset_us: int = 0
    """When its last stop was cleared; 0: something is latched."""
    last_us: int = 0
    touched: bool = False
    """Whether anything came that may have changed its state."""
    grown: bool = False
    """Whether something has changed that was not told yet."""
    worse: bool = False
    told: str = ""
    """The state that was told last."""
    told_us: int = 0
    times: int = 0
    """How often it was told."""

    def place(self, stop: Stop, time_us: int) -> None:
        """Take a stop in."""
        self.stops[stop.digest] = stop
        self.last_us, self.grown, self.touched = time_us, True, True
        for target in stop.targets:
            self.layers.pop(target, None)
        if not self.happening:
            said = f": {stop.why}" if stop.why else ""
            self.happening = f"{stop.level} of {stop.scope} by {stop.by}{said}"
            self.rule = stop.by.removeprefix("rule:") if stop.by.startswith("rule:") else ""

    def again(self, scope: str, *, machine: bool) -> None:
        """Begin anew: it was reset, and something of it is stopped again."""
        self.reset_us, self.times, self.told, self.happening = 0, 0, "", ""
        self.event, self.worse, self.scope, self.machine = Event.RE_TRIP, True, scope, machine

    @property
    def targets(self) -> list[str]:
        """List all that its stops covered."""
        return sorted({name for stop in self.stops.values() for name in stop.targets})

    @property
    def level(self) -> str:
        """The level of its latest stop."""
        return next(reversed(self.stops.values())).level if self.stops else ""

    def seen(self, target: str) -> bool | None:
        """Tell whether a target was seen to stand still; None: nobody has looked yet."""
        if target in self.missing:
            return False
        counted = {k: v for k, v in self.layers.get(target, {}).items() if k != COOPERATIVE}
        return all(counted.values()) if counted else None

    @property
    def state(self) -> str:
        """Say in a word how it stands."""
        if self.reset_us:
            return "reset"
        seen = [self.seen(target) for target in self.targets]
        if not seen:
            return "latched, covers nothing yet"
        if False in seen:
            return "not confirmed"
        return "commanded" if None in seen else "confirmed"
