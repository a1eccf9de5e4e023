"""Where the time went between the first sign and the record, in pieces that add up (DRL-9).

    first sign ─detect─► detected ─decide─► decided ─order─► accepted ─last act─► commanded
                                                    ─confirmed─► observed ─recorded─► recorded

    first sign   the reading of the first finding that tripped: of those that the rule decided on;
                 for a hand's press, of those of the quarter of an hour before
    detected     the reading of the last of them; for a hand's press the first sign itself, since
                 from then on a person could see it
    decided      the rule's decision, a person's answer included; else the press itself
    accepted     the warden has the order (the entry of the order; by its monotonic clock)
    commanded    the last command of the last layer was given: the headline figure
    observed     the last layer that counts was seen to stand still
    recorded     the last of these receipts stood in the journal, which outlives our crashes; when
                 a commit made it durable on disk no entry says

Each piece is the difference of two moments, in whole microseconds, so that they add up exactly.
Where a moment is not known the pieces on its two sides are UNKNOWN, and the sum says how much
lies in them; what is unknown at either end is outside of the total. Moments of one boot are
compared by the monotonic clock, so that a clock which was set meanwhile shortens nothing; those
that an entry names as UTC are brought to it all by one difference of the two clocks, so that
equal times stay equal, unless their own entry shows that the clock was set in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from offswitch.reports.said import Moment

__all__ = ["Delays", "Segment", "Step", "split"]

_JITTER_US = 5000
"""Two clocks are never read at once: so far apart they may be, and were not set."""


class Step(StrEnum):
    """One piece of the way, by the name of what it waits for."""

    DETECT = "detect"
    DECIDE = "decide"
    ORDER = "order"
    LAST_ACT = "last act"
    CONFIRMED = "confirmed"
    RECORDED = "recorded"


@dataclass(frozen=True, slots=True)
class Segment:
    """One piece."""

    step: Step
    begin: Moment | None
    end: Moment | None
    us: int | None
    """Its length in microseconds; None: UNKNOWN. Negative where a clock was set back."""


@dataclass(frozen=True, slots=True)
class Delays:
    """All pieces of one stop."""

    segments: tuple[Segment, ...]
    """In the order of `Step`; empty where nothing was stopped."""
    total_us: int | None
    """From the first moment that is known to the last; None where there are not two."""
    known_us: int
    """The sum of the pieces that are known."""
    unknown_us: int
    """What lies in UNKNOWN pieces between known ones: `known_us + unknown_us == total_us`."""
    complete: bool
    """Whether every piece is known, so that the total is the whole way."""
    clock: str
    """`monotonic`, or `utc` where the moments are of several boots."""

    def of(self, step: Step) -> int | None:
        """Give the length of one piece; None: UNKNOWN, or nothing was stopped."""
        return next((one.us for one in self.segments if one.step is step), None)

    def as_dict(self) -> dict[str, Any]:
        """Give what JSON has of it."""
        return {
            "segments": [
                {
                    "step": one.step.value,
                    "us": one.us,
                    "begin": None if one.begin is None else asdict(one.begin),
                    "end": None if one.end is None else asdict(one.end),
                }
                for one in self.segments
            ],
            "total_us": self.total_us,
            "known_us": self.known_us,
            "unknown_us": self.unknown_us,
            "complete": self.complete,
            "clock": self.clock,
        }


def split(moments: Sequence[Moment | None]) -> Delays:
    """Split the way along its seven moments, those that are not known being None."""
    known = [one for one in moments if one is not None]
    mono = _one_clock(known)

    def at(moment: Moment) -> int:
        return moment.wall_us if mono is None else _on_it(moment, mono)

    segments = []
    for step, begin, end in zip(Step, moments, moments[1:], strict=False):
        us = None if begin is None or end is None else at(end) - at(begin)
        segments.append(Segment(step, begin, end, us))
    total = at(known[-1]) - at(known[0]) if len(known) > 1 else None
    sure = sum(one.us for one in segments if one.us is not None)
    return Delays(
        segments=tuple(segments),
        total_us=total,
        known_us=sure,
        unknown_us=0 if total is None else total - sure,
        complete=bool(segments) and all(one.us is not None for one in segments),
        clock="utc" if mono is None else "monotonic",
    )


def _one_clock(known: Sequence[Moment]) -> int | None:
    """Give UTC less the monotonic clock where all are of one boot; None: compare by UTC."""
    if not known or len({one.boot for one in known}) > 1:
        return None
    differences = [one.wall_us - one.mono_us for one in known if one.mono_us is not None]
    if len(differences) < len(known):
        return None
    return next(
        (one.wall_us - one.mono_us for one in known if not one.by_wall and one.mono_us is not None),
        differences[0],
    )


def _on_it(moment: Moment, difference: int) -> int:
    """Give the monotonic time of a moment."""
    mono = moment.mono_us or 0
    if moment.by_wall and abs(moment.wall_us - mono - difference) <= _JITTER_US:
        return moment.wall_us - difference
    return mono
