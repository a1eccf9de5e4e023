"""The safe state of a target: how what it acts on shall be left when it is stopped (ACT-10).

    none needed      nothing in the world depends on it: it may just end
    drain            what it moves is brought to rest: a tank emptied, a queue worked off
    hold last        what it moves stays as it is: a valve keeps its position, a robot its pose
    hand to human    a person takes over, who is named

A declaration begins with one of these, and may say more after a colon. Any other text is for
people alone: nothing checks that it comes true.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = ["SafeState", "safe_state_of"]


class SafeState(StrEnum):
    """What can be declared."""

    NONE_NEEDED = "none needed"
    DRAIN = "drain"
    HOLD_LAST = "hold last"
    HAND_TO_HUMAN = "hand to human"

    @property
    def wanted(self) -> bool:
        """Whether something beside the target has to bring it about."""
        return self in {SafeState.DRAIN, SafeState.HOLD_LAST}


def safe_state_of(text: str) -> tuple[SafeState | None, str]:
    """Read a declaration; gives the state, or None for words of another kind, and what is said."""
    head, _colon, rest = text.partition(":")
    try:
        return SafeState(" ".join(head.lower().split())), rest.strip()
    except ValueError:
        return None, text.strip()
