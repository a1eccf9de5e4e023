"""The tables of the file: `[[target]]`, `[[sensor]]`, `[[actuator]]`, `[[rule]]`, `[readings]`.

A rule without harm, time to harm and cost of a false stop is refused (DET-1, the alarm
rationalisation of ISA-18.2). Who decides follows from the time to harm (DEC-1, after
ANSI/ANS-58.8): under ten seconds only a rule that acts by itself is fast enough, up to
two minutes one person may be asked, beyond that two.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    SerializeAsAny,
    model_validator,
)

from offswitch.config.drill import Drill
from offswitch.config.duration import parse_duration
from offswitch.config.gateway import Gateway
from offswitch.config.notify import AnyNotify, Escalation, Outside
from offswitch.config.reset import Reset
from offswitch.config.section import (
    ActuatorSection,
    DetectorSection,
    Duration,
    Name,
    Section,
    SensorSection,
    TargetName,
    Text,
)
from offswitch.config.size import Size
from offswitch.config.station import Station
from offswitch.config.stop_plan import LayerName, LevelName, StopPlan
from offswitch.errors import Usage
from offswitch.model.level import Level
from offswitch.model.named import KINDS, Named
from offswitch.model.scope import parse_scope
from offswitch.model.target import check_label

__all__ = [
    "ONE_PERSON_US",
    "TWO_PEOPLE_US",
    "Config",
    "Decider",
    "LayerName",
    "Limits",
    "Readings",
    "Rule",
    "StopImpact",
    "StopSection",
    "Target",
    "decider_of",
]

ONE_PERSON_US = 10_000_000
"""The shortest time to harm, in microseconds, in which one person can decide."""
TWO_PEOPLE_US = 120_000_000
"""The same for two people."""

_DAY_US = 86_400_000_000
_LEAST_KEPT = 4 << 20

_BUDGET = re.compile(r"[1-9]\d{0,3} per \S+")


def _labels(value: dict[str, str]) -> dict[str, str]:
    try:
        return dict(check_label(key, text) for key, text in value.items())
    except Usage as error:
        raise ValueError(f"{error.message}; {error.hint}") from None


def _scope(value: str) -> str:
    try:
        return parse_scope(value).text
    except Usage as error:
        raise ValueError(f"{error.message}; {error.hint}") from None


def _budget(value: str) -> str:
    if _BUDGET.fullmatch(value) is None:
        raise ValueError('a budget says how many stops in how long, such as "3 per 1h"')
    parse_duration(value.rpartition(" ")[2])
    return value


def _at_most_a_day(value: int) -> int:
    if value > _DAY_US:
        raise ValueError('at most "1d": until then what is stopped is not dead')
    return value


Limit = Annotated[Duration, AfterValidator(_at_most_a_day)]
"""How long a lesser stop may last before it becomes a kill."""


class Limits(Section):
    """How much a target's cell may have."""

    processes: Annotated[int, Field(ge=1)] | None = None
    """Processes and threads at once."""
    memory: Size | None = None
    """Bytes."""


class StopImpact(Section):
    """What a stop of this target does to others (ACT-10)."""

    who: Text
    harm: Text
    bearable: Duration
    """For how long that can be borne."""
    told_by: Text


class Target(Section):
    """One thing that can be stopped."""

    name: TargetName
    kind: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")] = "process"
    labels: Annotated[dict[str, str], AfterValidator(_labels)] = Field(default_factory=dict)
    unit: Text | None = None
    """Adopted: the service or scope of systemd's that it is, instead of a command of ours."""
    container: Text | None = None
    """Adopted: likewise the container's name or id."""
    cgroup: Text | None = None
    """Adopted: likewise the cgroup's path, from the root of the v2 tree."""
    program: Text | None = None
    """Adopted: likewise the name of a program that has a cgroup to itself."""
    command: Annotated[list[str], Field(min_length=1)] | None = None
    """With it, `start` can bring the target up."""
    user: Text | None = None
    cwd: Text | None = None
    env_file: Text | None = None
    limits: Limits = Limits()
    stop_impact: StopImpact | None = None
    safe_state: Text | None = None
    """How what it acts on shall be left: `none needed`, `drain`, `hold last` or `hand to human`,
    and after a colon in words how (ACT-10); any other text is for people alone."""
    on_blind: LevelName | None = None
    """What it falls to when nobody watches it (SR-13)."""
    stop: StopPlan = Field(default_factory=StopPlan)
    """The stop plan."""
    drain_for: Limit | None = None
    """How long work in flight may take to end in a drain, before the kill; 30 s unless given."""
    freeze_for: Limit | None = None
    """How long a freeze lasts before it becomes a kill; 10 s unless given."""
    staged: bool | None = None
    """Whether it starts restricted after a reset; as `[reset]` says unless given (RST-6)."""

    @model_validator(mode="after")
    def _adopted_or_ours(self) -> Self:
        try:
            named = Named.of(self.model_dump(include=set(KINDS)))
        except Usage as error:
            raise ValueError(f"{error.message}; {error.hint}") from None
        ours = [key for key in ("command", "user", "cwd", "env_file") if getattr(self, key)]
        if named is not None and ours:
            raise ValueError(f"adopted as {named.text}, so others start it: leave out {ours[0]}")
        return self


class StopSection(Section):
    """What a rule orders."""

    level: LevelName = "kill"
    scope: Annotated[str, AfterValidator(_scope)] | None = None
    """What is stopped; the rule's own target unless given."""
    also: Literal["same weights", "nothing"] | None = None
    """Whether all that is declared with the same label `weights` is stopped, too; unless given,
    where each channel of the rule looks for an attempt on the stop (ACT-13)."""


class Decider(StrEnum):
    """Who can decide in time (DEC-1)."""

    AUTO = "AUTO"
    HUMAN_1 = "HUMAN-1"
    HUMAN_2 = "HUMAN-2"


def decider_of(time_to_harm_us: int) -> Decider:
    """Name the slowest decider that still comes before the harm."""
    if time_to_harm_us < ONE_PERSON_US:
        return Decider.AUTO
    return Decider.HUMAN_1 if time_to_harm_us < TWO_PEOPLE_US else Decider.HUMAN_2


class Rule(Section):
    """One trip function."""

    name: Name
    target: TargetName
    harm: Text
    """What happens if nobody stops it."""
    time_to_harm: Duration
    false_stop_cost: Text
    """What a needless stop costs."""
    detectors: Annotated[list[SerializeAsAny[DetectorSection]], Field(min_length=1, max_length=3)]
    vote: Literal["1oo1", "1oo2", "2oo3"] = "1oo1"
    on_failed: Literal["degrade", "trip"] = "degrade"
    """A channel that fails or falls silent is left out of the vote, or votes to stop (DET-4)."""
    act: Literal["shadow", "advise", "auto"]
    people: Literal[1, 2] = 1
    """How many people an advising rule asks: so many must say that it may go on (DEC-3)."""
    answer_within: Duration | None = None
    """How long they may take; then silence stops it. As long as the harm takes unless given."""
    unanswered: LevelName = "restrict"
    """What is ordered when it asks and two thirds of `time_to_harm` are over; it asks on."""
    budget: Annotated[str, AfterValidator(_budget)] | None = None
    """How many stops are usual, such as "3 per 1h"; more are an alarm, and are not withheld."""
    probation: Duration = 1_800_000_000
    """How long the rule is stricter after a reset of what it stopped."""
    stop: StopSection = StopSection()

    @property
    def decider(self) -> Decider:
        """Who decides under this rule."""
        if self.act != "advise":
            return Decider.AUTO
        return Decider.HUMAN_1 if self.people == 1 else Decider.HUMAN_2

    @property
    def answer_us(self) -> int:
        """How long people may take to answer, in microseconds."""
        return self.answer_within or self.time_to_harm

    @property
    def scope(self) -> str:
        """What it stops."""
        return self.stop.scope or self.target


class Readings(Section):
    """What is kept of what was read, for `rule test` and for incidents."""

    keep: Duration = 3 * _DAY_US
    """For how long; the oldest go first."""
    size: Annotated[Size, Field(ge=_LEAST_KEPT)] = 256 << 20
    """Bytes on disk, at the most."""


class Config(Section):
    """The whole file."""

    mode: Literal["act", "observe"] = "act"
    """`observe`: rules, leases and the keeper only record what they would do (SR-15)."""
    target: list[Target] = Field(default_factory=list)
    sensor: list[SerializeAsAny[SensorSection]] = Field(default_factory=list)
    actuator: list[SerializeAsAny[ActuatorSection]] = Field(default_factory=list)
    rule: list[Rule] = Field(default_factory=list)
    readings: Readings = Readings()
    reset: Reset = Reset()
    station: Station = Station()
    drill: Drill = Drill()
    notify: list[SerializeAsAny[AnyNotify]] = Field(default_factory=list)
    escalation: Escalation = Escalation()
    outside: list[Outside] = Field(default_factory=list)
    gateway: list[Gateway] = Field(default_factory=list)

    def on_blind(self, name: str) -> Level:
        """Give the level to which `name` falls when nobody watches it (SR-13)."""
        for target in self.target:
            if target.name == name and target.on_blind is not None:
                return Level[target.on_blind.upper()]
        fast = any(rule.target == name and rule.time_to_harm < ONE_PERSON_US for rule in self.rule)
        return Level.KILL if fast else Level.RESTRICT
