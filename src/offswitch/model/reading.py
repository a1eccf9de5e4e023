"""A reading: one observed thing, with its time and its source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Reading", "series"]


@dataclass(frozen=True, slots=True)
class Reading:
    """One observed thing. Its target comes from its channel, never from its labels (SR-6)."""

    source: str
    """The sensor's name."""
    target: str
    """The target's path."""
    series: str
    """What was read, such as `orders-db.rows_changed{table="prices"}`."""
    time_us: int
    """When it happened, UTC in microseconds."""
    value: float
    """The number; the unit belongs to the series."""
    detail: Mapping[str, str] = field(default_factory=dict)
    """What else was seen, hostile text included; escaped wherever it is shown."""


def series(sensor: str, what: str, labels: Mapping[str, str] | None = None) -> str:
    """Spell a series name: `sensor.what{label="value"}`, labels sorted, quotes escaped."""
    if not labels:
        return f"{sensor}.{what}"
    quoted = (
        '{}="{}"'.format(key, value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n"))
        for key, value in sorted(labels.items())
    )
    return f"{sensor}.{what}{{{','.join(quoted)}}}"
