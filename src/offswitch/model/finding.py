"""A finding: a detector's claim on readings: what, on which target, how sure, by what evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Finding"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A detector's claim."""

    detector: str
    """Kind and parameters, such as `rate(above=50 per 1s)`."""
    target: str
    series: str
    what: str
    """One sentence for people."""
    time_us: int
    """When the deciding reading happened, UTC in microseconds."""
    score: float
    """How far beyond the limit, in units of the limit or of spread; 1 is the limit itself."""
    evidence: Mapping[str, str] = field(default_factory=dict)
    """Values, band, before-images; hostile text included."""
