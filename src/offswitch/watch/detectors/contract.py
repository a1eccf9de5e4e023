"""What a detector promises.

A detector judges one series. It is given each reading once, in order, with a clock that
never jumps, and answers at once: no I/O, no waiting, a bounded memory however long the
series. It is pure state: the same readings give the same verdicts.

Which way it fails: an exception or a verdict that is not a number marks its channel as
*failed*, which the rule's vote then degrades by or counts as a trip, as the rule says; it
is never taken for *all is well*.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from offswitch.config.section import DetectorSection

__all__ = ["Detector", "Verdict"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a detector says after a reading."""

    score: float
    """How far the reading is out: 1 is the limit itself, more is beyond it."""
    tripped: bool
    """Whether the alarm stands; it rises once and falls once, however the value rattles (DET-5)."""
    why: str
    """One sentence with the numbers, for people."""
    evidence: Mapping[str, str] = field(default_factory=dict)
    """What the claim rests on, in short texts: `band` (what is usual), `declared` (the false-alarm
    rate that was declared, where one is) and `contradicts` (what would speak against it)."""


class Detector(Protocol):
    """Judges one series."""

    Settings: ClassVar[type[DetectorSection]]
    """The keys that it takes in a rule."""

    # A detector whose score is a share of its limit (0.5: half of it) has `SHARES = True`: then its
    # approach is announced (`watch.approach`). One that must not be the only one behind a rule
    # that stops by itself has `ALONE = False` (DET-7).
    # A detector of events has `EVENTS = True`, and its `update` takes the reading's detail as a
    # third argument: the name of a tool, the text of a template. All of it is hostile.

    def update(self, mono_us: int, value: float) -> Verdict:
        """Take in one reading (monotonic microseconds, never falling) and give the verdict."""
        ...

    def rearm(self) -> None:
        """Let the alarm fall: a person has reset what it stopped.

        What is normal stays learnt; what led to this alarm is forgotten, so that what was
        started again is judged by what it does now.
        """
        ...
