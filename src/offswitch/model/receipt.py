"""A receipt: what one actuator did, and what was *observed* afterwards, with times.

*Commanded*, *confirmed* and *not confirmed* are three different words: `effect_ns` is
only set from what the observer saw, never from the actuator's own word.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Receipt"]


@dataclass(frozen=True, slots=True)
class Receipt:
    """What one layer did about one target."""

    layer: str
    """`guard`, `process`, `network`, `sweep`, …"""
    commanded_ns: int
    """When the command had been given, nanoseconds since the order was accepted."""
    effect_ns: int | None
    """When the effect was observed, likewise; None: not seen."""
    confirmed: bool
    """Whether the observer saw it."""
    detail: str = ""
    """For people: what was seen, or what may still act and what to do next."""
    counted: bool = True
    """False for cooperative layers (the guard): listed, never part of *confirmed*."""

    def as_dict(self) -> dict[str, object]:
        """Give the object of INTERFACES' `layers`."""
        return {
            "layer": self.layer,
            "commanded_ns": self.commanded_ns,
            "effect_ns": self.effect_ns,
            "confirmed": self.confirmed,
            "detail": self.detail,
        }
