"""What a guard raises when the program may not go on.

`Stopped` derives from `BaseException`, as `KeyboardInterrupt` does. Agent frameworks wrap
tool calls in `except Exception`, hand the text to the model and go on: a stop that can be
swallowed by accident is a stop that argues with a retry loop. Catch it by its name.
"""

from __future__ import annotations

__all__ = ["Stopped"]


class Stopped(BaseException):
    """The program is latched, or nobody vouches for it any more."""

    def __init__(self, reason: str, level: str | None = None) -> None:
        """Say why, and at which level it is latched (None: no lease, no page, no word)."""
        super().__init__(reason, level)
        self.reason = reason
        self.level = level

    def __str__(self) -> str:
        """Show the reason."""
        return self.reason
