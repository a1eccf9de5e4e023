"""One alert as others' monitors tell of it, and texts of theirs made short."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

__all__ = ["LONGEST_NAME", "Alert", "State", "number", "short"]

LONGEST_NAME = 60
"""Characters of an alert's name: so much is remembered."""


class State(StrEnum):
    """What became of it."""

    FIRING = "firing"
    RESOLVED = "resolved"
    ONCE = "once"
    """It happened, and has no end that anybody tells."""
    UNKNOWN = "unknown"
    """Its monitor cannot tell."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert of a notification."""

    name: str
    state: State
    identity: str = ""
    """What tells it from others of its name; empty: its name and labels do."""
    severity: str = ""
    value: float | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    """Few, and named by us or by the configuration."""
    text: str = ""
    """What people are told; hostile."""

    @property
    def key(self) -> str:
        """Name it among what fires."""
        said = self.identity or ",".join(
            f"{key}={text}" for key, text in sorted(self.labels.items())
        )
        return hashlib.sha256(f"{self.name}\0{said}".encode("utf-8", "replace")).hexdigest()[:32]


def short(value: object, longest: int = LONGEST_NAME) -> str:
    """Give a text, number or truth value of JSON as a short text; anything else is empty."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)[:longest]
    return ""


def number(value: object) -> float | None:
    """Give a number of JSON, or a text that is one; None: it is none."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None
