"""What every table of the configuration has in common, and the bases for plugins' own keys.

A sensor or detector, ours or a third party's, says which keys it takes by a subclass of
`SensorSection` or `DetectorSection`: pydantic checks them, and an unknown key is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
)

from offswitch.config.duration import format_duration, parse_duration
from offswitch.config.series import parse_series
from offswitch.errors import Usage
from offswitch.model.reserved import check_free_name

__all__ = [
    "ActuatorSection",
    "DetectorSection",
    "Duration",
    "Name",
    "Section",
    "SensorSection",
    "TargetName",
    "Text",
]


_LONGEST_TRIP_US = 30_000_000
_SHORTEST_PROOF_US, _LONGEST_PROOF_US = 500_000, 3_600_000_000


def _duration(value: object) -> int:
    if not isinstance(value, str):
        raise ValueError('a duration is a text such as "250ms", "1s" or "1h"')  # noqa: TRY004
    return parse_duration(value)


def _target_name(value: str) -> str:
    try:
        return check_free_name(value)
    except Usage as error:
        raise ValueError(f"{error.message}; {error.hint}") from None


def _deadline(value: int) -> int:
    if value > _LONGEST_TRIP_US:
        raise ValueError('at most "30s": nobody waits for a stop for longer')
    return value


def _between_proofs(value: int) -> int:
    if not _SHORTEST_PROOF_US <= value <= _LONGEST_PROOF_US:
        raise ValueError('from "500ms" to "1h"')
    return value


def _series(value: str) -> str:
    return parse_series(value).text


Duration = Annotated[
    int,
    BeforeValidator(_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema(
        {"type": "string", "pattern": r"^\d+(\.\d+)?(us|ms|s|m|h|d)$", "examples": ["250ms", "1s"]}
    ),
]
"""A duration above zero, in microseconds; written as text."""

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
"""A name that people type and that becomes part of a series."""

TargetName = Annotated[str, AfterValidator(_target_name), Field(examples=["shop/eu/checkout"])]
"""A target's path."""

Text = Annotated[str, Field(min_length=1, max_length=2000)]
"""Words for people; never empty."""


class Section(BaseModel):
    """A table of the file. Unknown keys are refused; values are what TOML says, not coerced."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True
    )


class SensorSection(Section):
    """The keys of every `[[sensor]]`; a kind adds its own in a subclass."""

    name: Name
    """What its series begin with."""
    target: TargetName
    """What it watches. A reading's target is this, whatever the watched one says of itself."""
    kind: str
    every: Duration = 1_000_000
    """How often it looks, at the least; silence for three times as long is an alarm."""

    SERIES: ClassVar[frozenset[str]] = frozenset()
    """What it reads: the part of a series after the dot."""
    SECRETS: ClassVar[frozenset[str]] = frozenset()
    """Its keys that are paths of files with a secret, which only their owner may read."""
    ALONE: ClassVar[bool] = True
    """Whether a rule that stops by itself may rest on its series alone (DET-7)."""

    def eye(self) -> str:
        """Name the eye that hosts it; sensors that name the same one share a process."""
        return f"sensor {self.name}"

    def apart(self) -> bool:
        """Tell whether it gets an eye of its own though its kind shares the one of the cells."""
        return False

    def meaning(self, what: str) -> str:
        """Say what a series means, for people, where a kind knows it; empty: it does not."""
        del what
        return ""

    def problem(self, what: str, labels: Mapping[str, str]) -> str | None:
        """Say why it has no such series, or None; a kind may look at the labels, too."""
        if what in self.SERIES:
            return None
        known = ", ".join(sorted(self.SERIES))
        given = f"{what}{{…}}" if labels else what
        return f"sensor {self.name} ({self.kind}) reads no {given}; it reads: {known}"


class ActuatorSection(Section):
    """The keys of every `[[actuator]]`; a kind adds its own in a subclass."""

    name: Name
    """By which it is told of."""
    target: TargetName
    """What it stops."""
    kind: str
    deadline: Annotated[Duration, AfterValidator(_deadline)] = 1_000_000
    """How long a trip may take; then its process is killed, and another one told the same."""
    prove: Annotated[Duration, AfterValidator(_between_proofs)] = 5_000_000
    """How often it proves that it could act."""

    LAYER: ClassVar[str] = ""
    """The layer that it is of."""
    SECRETS: ClassVar[frozenset[str]] = frozenset()
    """Its keys that are paths of files with a secret, or `keyring:NAME`."""
    FILES: ClassVar[frozenset[str]] = frozenset()
    """Its keys that are paths of further files that it rests on."""
    KEEPS: ClassVar[frozenset[int]] = frozenset()
    """Capabilities, by their numbers, that its acting process keeps."""
    LOOK_KEEPS: ClassVar[frozenset[int]] = frozenset()
    """Likewise the process that looks."""
    READS: ClassVar[tuple[str, ...]] = ()
    """Folders and files that it reads, besides its code."""
    WRITES: ClassVar[tuple[str, ...]] = ()
    """Folders and files that it writes."""
    RUNS: ClassVar[bool] = False
    """Whether it runs programs."""
    AS_ROOT: ClassVar[bool] = False
    """Whether its acting process stays root, since whom it commands obeys root alone."""

    def layer(self) -> str:
        """Name the layer that it is of."""
        return self.LAYER

    def given(self, key: str, *, looks: bool) -> bool:
        """Tell whether the process that acts, or looks, is given the secret of that key.

        Whoever acts needs none that is there for looking; whoever looks none that has its like. A
        kind that knows better says so: what is not needed is not given (SR-4).
        """
        if not looks:
            return not key.startswith("look_")
        return getattr(self, f"look_{key}", None) is None

    def reads(self) -> tuple[str, ...]:
        """Name the folders and files that it reads; a kind adds what its own keys name."""
        return self.READS

    def writes(self) -> tuple[str, ...]:
        """Name the folders and files that its acting process writes."""
        return self.WRITES


class DetectorSection(Section):
    """The keys of every detector of a rule; a kind adds its own in a subclass."""

    kind: str
    series: Annotated[str, AfterValidator(_series)]
    """What it judges, such as 'orders-db.rows_changed{table="prices"}'."""

    def delay_us(self) -> int:
        """How long it waits on purpose before it trips, in microseconds."""
        return 0
