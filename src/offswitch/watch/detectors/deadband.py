"""Deadband and delays: one alarm for a value that rattles round its limit (DET-5, EEMUA 191).

    raise   once the value has been beyond the limit for `hold`           (on-delay)
    fall    once it has been inside by more than `deadband` for `clear_after`  (off-delay),
            and not before it has stood for `refractory`

The band stops small chatter, the off-delay stops a value that swings all the way, and the
refractory time one that comes back every minute: what returns within it is still the same alarm.
None of them delays the first alarm unless `hold` says so, and none withholds one: an alarm is
made to last longer, never to come later.
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

    refractory: Duration | None = None
    """How long an alarm stands at the least."""

    def delay_us(self) -> int:
        """How long it waits on purpose before it trips."""
        return self.hold or 0


class Deadband:
    """The state of one alarm: raised or not."""

    __slots__ = (
        "_beyond_since", "_clear_after", "_hold", "_inside_since", "_raised_at", "_refractory",
        "raised",
    )  # fmt: skip

    def __init__(self, settings: DeadbandSection) -> None:
        self._hold = settings.hold or 0
        self._clear_after = settings.clear_after
        self._refractory = settings.refractory or 0
        self._raised_at = 0
        self._beyond_since: int | None = None
        self._inside_since: int | None = None
        self.raised = False

    @classmethod
    def of(cls, *, clear_after: int) -> Deadband:
        """Make one without a table of the file; `clear_after` in microseconds."""
        return cls(DeadbandSection.model_construct(clear_after=clear_after))

    def update(self, mono_us: int, *, beyond: bool, inside: bool) -> bool:
        """Take in where the value is: `beyond` the limit, well `inside`, or in the band."""
        if beyond:
            self._inside_since = None
            if self._beyond_since is None:
                self._beyond_since = mono_us
            if mono_us - self._beyond_since >= self._hold:
                if not self.raised:
                    self._raised_at = mono_us
                self.raised = True
            return self.raised
        self._beyond_since = None
        if not inside:
            self._inside_since = None
        elif self._inside_since is None:
            self._inside_since = mono_us
        elif mono_us - self._inside_since >= self._clear_after:
            self.raised = self.raised and mono_us - self._raised_at < self._refractory
        return self.raised

    def rearm(self) -> None:
        """Let the alarm fall at once."""
        self._beyond_since = self._inside_since = None
        self.raised = False
