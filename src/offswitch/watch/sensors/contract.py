"""What a sensor promises.

A sensor looks at one source and says what it saw. It runs in an *eye*, a process apart
from the loop, so that a source that hangs, crashes or lies takes nothing with it: silence
for three intervals is an alarm (MON-2), and the eye is replaced.

What it watches is hostile: its bytes, its file names, its timing. A sensor never runs,
follows or trusts any of it, bounds what it reads, never blocks what it watches, and never
writes to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Protocol

from offswitch.clock import Clock
from offswitch.config.section import SensorSection
from offswitch.watch.evidence import Evidence

__all__ = ["CellFacts", "Glance", "Need", "Sample", "Sensor", "SensorContext", "Signal"]


class Signal(StrEnum):
    """The kinds of signal that `status` tells apart (MON-1)."""

    METRICS = "metrics"
    LOGS = "logs"
    TOOLS = "tools"
    MODEL = "model"
    DATA = "data"


class Need(StrEnum):
    """What an eye must be able to do for a sensor; it loses all other rights (SR-4)."""

    FILES = "files"
    """Read files that belong to others."""
    PROCESSES = "processes"
    """Read the counters of others' processes."""
    NETWORK = "network"
    """Connect to what it watches."""


@dataclass(frozen=True, slots=True)
class CellFacts:
    """What the warden says of the cell of a sensor's target."""

    path: str | None
    """Its cgroup v2 folder; None on a lower rung."""
    pids: tuple[int, ...] = ()
    """Its processes as the warden last listed them; for the rung without cgroups."""
    log: str | None = None
    """The file with its output."""
    state: str = ""
    report: str | None = None
    """The pipe by which it reports its steps."""
    uid: int | None = None
    """The user that it runs as; None: unknown."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One number that was read."""

    what: str
    """The part of the series after the dot, such as `rows_changed`."""
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)
    detail: Mapping[str, str] = field(default_factory=dict)
    """Evidence; hostile text included."""


@dataclass(frozen=True, slots=True)
class Glance:
    """What one look gave."""

    samples: Sequence[Sample] = ()
    again_us: int | None = None
    """Look again this soon even if nothing wakes it, in microseconds; None: at the interval."""
    problem: str = ""
    """Why this look gave nothing or not all; then the source counts as *failed*, not as quiet."""
    absent: bool = False
    """There is nothing to look at just now (no cell runs): neither stale nor failed."""
    note: str = ""
    """What people should know of the source though it is seen; shown by `status`."""
    memory: Mapping[str, str] = field(default_factory=dict)
    """What another life of this sensor must know to go on from here; short, kept by the loop."""


@dataclass(slots=True)
class SensorContext:
    """What a sensor is given besides its settings."""

    clock: Clock
    cells: Mapping[str, CellFacts]
    """The cell of each target; the eye keeps it up to date."""
    evidence: Evidence | None = None
    """Where before-images are kept; None: nowhere."""
    memory: Mapping[str, str] = field(default_factory=dict)
    """The last `memory` of the life before, whose eye died; empty: there was none."""
    secrets: Mapping[str, str] = field(default_factory=dict)
    """The text of each file that a key of the section's `SECRETS` names."""
    descriptor: int | None = None
    """What `prepare` gave; the eye's own copy, which the sensor may close."""
    shared: dict[str, Any] = field(default_factory=dict)
    """One for all sensors of an eye, such as a listener by its address."""


class Sensor(Protocol):
    """Looks at one source."""

    Settings: ClassVar[type[SensorSection]]
    """The keys that it takes in `[[sensor]]`."""
    SIGNAL: ClassVar[Signal]
    ISOLATED: ClassVar[bool]
    """Whether it reads what the target made, and so gets an eye of its own; others share one."""
    NEEDS: ClassVar[frozenset[Need]]
    """What its eye must be able to do."""
    IMPLICIT: ClassVar[str]
    """The name under which every target has one without a word in the file; empty: none."""

    # A sensor may have more, which is looked for by name:
    #   HEARSAY = True    It is what a target says about itself: its series raise findings and never
    #                     take one back, and it is no sign that anybody sees the target (SR-6).
    #                     Its section's `hearsay` and `signal`, if it has them, say it instead.
    #   IMPORTS = (...)   Modules to be imported while watch is root: an eye may not be able to read
    #                     code. Its own module imports none of them at its top.
    #   prepare(section)  A class method that is called while watch is root, at each start; the
    #                     descriptor that it returns, if any, is `context.descriptor` in each life.

    def wake(self) -> Sequence[int]:
        """Give the descriptors whose readability means *look now*; may change after each look."""
        ...

    def look(self) -> Glance:
        """Look once. Bounded in time; never raises for what the source did."""
        ...

    def close(self) -> None:
        """Let go of everything; may be called twice."""
        ...
