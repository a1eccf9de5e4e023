"""How far a stop goes: restrict < drain < freeze < kill < poweroff (IEC 60204-1).

*Drain* is stop category 1, *freeze* category 2, *kill* and *poweroff* category 0.
Levels are ordered by their value; a target's level is the highest of its live stops.
"""

from __future__ import annotations

from enum import IntEnum

from offswitch.errors import Usage

__all__ = ["Level", "parse_level"]


class Level(IntEnum):
    """The closed ladder of levels; the number is also what the page's word holds, plus one."""

    RESTRICT = 1
    DRAIN = 2
    FREEZE = 3
    KILL = 4
    POWEROFF = 5

    @property
    def label(self) -> str:
        """The level's name as people and the wire write it."""
        return self.name.lower()


def parse_level(text: str) -> Level:
    """Read a level's name; anything else is a usage error that lists the five."""
    for level in Level:
        if level.label == text:
            return level
    names = ", ".join(level.label for level in Level)
    raise Usage(f"unknown level {text!r}", f"use one of: {names}")
