"""Names that nobody gives: what begins with a dot is the warden's own.

Below `.drill/` it makes the targets of its rehearsals, and nobody else makes one there: a drill's
own stop may be reset by nobody at all (SR-20), and no other target may slip under that.
"""

from __future__ import annotations

from offswitch.errors import Usage
from offswitch.model.target import check_name

__all__ = ["DRILLS", "check_free_name", "is_drill"]

DRILLS = ".drill"
"""The scope of everything that is made for a drill."""


def is_drill(name: str) -> bool:
    """Tell whether a target's name, or a path scope, lies below the scope of drills."""
    return name.startswith(f"{DRILLS}/")


def check_free_name(name: str) -> str:
    """Return `name` if it is lawful and may be given to a target; else raise `Usage`."""
    if check_name(name).startswith("."):
        raise Usage(f"{name}: names that begin with a dot are reserved", "take another name")
    return name
