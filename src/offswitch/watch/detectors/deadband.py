"""Deadband and delays: one alarm for a value that rattles round its limit (DET-5, EEMUA 191).

    raise   once the value has been beyond the limit for `hold`           (on-delay)
    fall    once it has been inside by more than `deadband` for `clear_after`  (off-delay)

The band stops small chatter, the off-delay stops a value that swings all the way. Neither
delays the first alarm unless `hold` says so.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from offswitch.config.section import DetectorSection, Duration

__all__ = ["Deadband", "DeadbandSection"]


class DeadbandSection(DetectorSection):
    """The keys of every detector that has a limit."""

    deadband: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """How far inside the limit it must come to count as inside, as a share of the limit."""
    hold: Duration | None = None
    """How long it must be beyond the limit before the alarm rises; at once unless given."""
    clear_after: Duration = 10_000_000
    """How long it must be inside before the alarm falls."""

    def delay_us(self) -> int:
        """How long it waits on purpose before it trips."""
        return self.hold or 0


class Deadband:
    """The state of one alarm: raised or not."""

    __slots__ = ("_beyond_since", "_clear_after", "_hold", "_inside_since", "raised")

    def __init__(self, settings: DeadbandSection) -> None:
        self._hold = settings.hold or 0
        self._clear_after = settings.clear_after
        self._beyond_since: int | None = None
        self._inside_since: int | None = None
        self.raised = False

    def update(self, mono_us: int, *, beyond: bool, inside: bool) -> bool:
        """Take in where the value is: `beyond` the limit, well `inside`, or in the band."""
        if beyond:
            self._inside_since = None
            if self._beyond_since is None:
                self._beyond_since = mono_us
            if mono_us - self._beyond_since >= self._hold:
                self.raised = True
            return self.raised
        self._beyond_since = None
        if not inside:
            self._inside_since = None
        elif self._inside_since is None:
            self._inside_since = mono_us
        elif mono_us - self._inside_since >= self._clear_after:
            self.raised = False
        return self.raised

    def rearm(self) -> None:
        """Let the alarm fall at once."""
        self._beyond_since = self._inside_since = None
        self.raised = False
