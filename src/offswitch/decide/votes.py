"""How the channels of a rule add up: 1oo1, 1oo2, 2oo3 (IEC 61511-1, 11.4).

A channel is one detector on one series. *k out of n* trips when k of n channels do. A
channel whose source is silent (stale) or cannot be judged (failed) is not *well*, and the
rule says what it counts as:

    degrade   it is left out: 2oo3 becomes 1oo2, then 1oo1; 1oo2 becomes 1oo1. With no
              channel left the rule is *blind*, which is an alarm of its own
    trip      it votes to stop

A channel that a person has *bypassed* is left out under either: it was taken out on purpose,
so it votes for nothing, and where all are the rule is blind. Leaving a channel out never
makes it harder to trip: of those that remain, one is enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from offswitch.errors import Internal

__all__ = ["Channel", "OnFailed", "Outcome", "Vote", "count"]


class Channel(StrEnum):
    """The state of one channel."""

    OK = "ok"
    TRIP = "trip"
    STALE = "stale"
    FAILED = "failed"
    BYPASSED = "bypassed"
    """A person has taken it out, for a while and recorded (HMI-6)."""


class Vote(StrEnum):
    """The votes that a rule may take."""

    ONE_OF_ONE = "1oo1"
    ONE_OF_TWO = "1oo2"
    TWO_OF_THREE = "2oo3"

    @property
    def channels(self) -> int:
        """How many channels it wants."""
        return int(self.value[-1])

    @property
    def needed(self) -> int:
        """How many of them must trip while all are well."""
        return int(self.value[0])


class OnFailed(StrEnum):
    """What a channel that is not well counts as."""

    DEGRADE = "degrade"
    TRIP = "trip"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the channels amount to."""

    tripped: bool
    blind: bool
    """No channel is well, so nothing can be said."""
    counted: str
    """The vote as it was counted, such as `1oo2` for a 2oo3 with a failed channel."""


def count(vote: Vote, channels: Sequence[Channel], on_failed: OnFailed) -> Outcome:
    """Count the channels of a rule; raises `Internal` for a wrong number of them."""
    if len(channels) != vote.channels:
        raise Internal(f"a vote {vote} over {len(channels)} channels")
    trips = channels.count(Channel.TRIP)
    unwell = channels.count(Channel.STALE) + channels.count(Channel.FAILED)
    bypassed = channels.count(Channel.BYPASSED)
    blind = unwell + bypassed == len(channels)
    votes_to_stop = on_failed is OnFailed.TRIP
    out = bypassed if votes_to_stop else bypassed + unwell
    left = len(channels) - out
    if not left:
        return Outcome(tripped=False, blind=True, counted="blind")
    needed = vote.needed if not out else 1
    votes = trips + (unwell if votes_to_stop else 0)
    return Outcome(votes >= needed, blind, f"{needed}oo{left}")
