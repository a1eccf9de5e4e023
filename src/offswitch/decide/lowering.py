"""What a person may lower for a while: a rule, one of its channels, or its alarm (SR-12, HMI-6).

    bypass   a rule that stops by itself asks instead; or one channel is left out of its vote
    shelve   its alarm is no longer shown among those that want somebody; it acts as before

After IEC 61511-1, 16.2: each has an owner, a reason, a measure that stands in for what was taken
out, and an end, at most eight hours away, at which it returns by itself. It is recorded, counted,
and shown as long as it lasts. Whoever wants the same thing lowered again, within a day after it
was last, needs a second person: one lowering is maintenance, a row of them is a rule that
somebody has given up. Only root and the owner lower anything by themselves; the second person may
be anyone of the group who is not the first, and no target's user. From the station it takes the
proofs of people whose role is safety, over the digest of the very thing that is to be lowered: one
where it is the first time, two where it is not, and always two where two people must reset (SEC-5).

Nothing that is lowered is ever silent: a rule that asks stops when nobody answers (DEC-3).
Pure: what there is is a value, and a request gives the next one or is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from offswitch.decide.who import Who, surely_two
from offswitch.errors import Refused, Usage

__all__ = [
    "AGAIN_US",
    "CONFIRM_US",
    "LONGEST_US",
    "Lowered",
    "What",
    "again",
    "begun",
    "checked",
    "confirmed",
    "digest_of",
]

_DOMAIN = b"offswitch lowering v1\0"

LONGEST_US = 8 * 3_600_000_000
"""The longest that anything stays lowered."""
AGAIN_US = 24 * 3_600_000_000
"""So long after one has ended the next one needs a second person."""
CONFIRM_US = 10 * 60_000_000
"""How long a second person may take."""
_LONGEST_TEXT = 500


class What(StrEnum):
    """What is lowered."""

    BYPASS = "bypass"
    SHELVE = "shelve"


@dataclass(frozen=True, slots=True)
class Lowered:
    """One thing that is or was lowered."""

    what: What
    rule: str
    series: str
    """The channel that is left out; empty: the whole rule."""
    owner: str
    """Who answers for it, in words."""
    reason: str
    measure: str
    """What stands in for it meanwhile."""
    by: str
    """Who asked for it: `uid:N` as the kernel says, or `person:NAME` who has proved it."""
    since_us: int
    """UTC, microseconds."""
    until_us: int
    second: str = ""
    """The second person, where one was needed; as `by`."""

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes two of them the same thing."""
        return (self.what.value, self.rule, self.series)

    def stands(self, wall_us: int) -> bool:
        """Tell whether it is lowered now; a clock that went back far ends it."""
        return self.since_us - LONGEST_US <= wall_us < self.until_us


def checked(lowered: Lowered, *, owner: bool) -> Lowered:
    """Give the request as it is, or raise what is wrong with it."""
    if not owner:
        raise Refused(
            f"{lowered.by} may not lower a rule",
            "the owner of this installation does it; anyone of the group may confirm a second one",
        )
    for name in ("owner", "reason", "measure"):
        text = getattr(lowered, name)
        if not text.strip() or len(text) > _LONGEST_TEXT:
            raise Usage(
                f"{name}: some words are wanted, {_LONGEST_TEXT} characters at most",
                "say who answers for it, why, and what is done instead meanwhile",
            )
    lasts_us = lowered.until_us - lowered.since_us
    if not 0 < lasts_us <= LONGEST_US:
        raise Usage("it is lowered for at most 8 hours", 'say how long: --for "2h"')
    return lowered


def again(lowered: Lowered, known: Sequence[Lowered]) -> Lowered | None:
    """Give the one for which a second person is needed: the same thing, within a day."""
    for earlier in reversed(known):
        if earlier.key == lowered.key and lowered.since_us - earlier.until_us < AGAIN_US:
            return earlier
    return None


def confirmed(waiting: Lowered, first: Who, second: Who, wall_us: int) -> Lowered:
    """Let a second person confirm `waiting`; the time begins now, and ends as it was asked."""
    if not surely_two(first, second):
        raise Refused(
            "a second person is needed, and you may be the first", "let somebody else confirm it"
        )
    if wall_us - waiting.since_us > CONFIRM_US:
        raise Refused("it was asked for too long ago", "ask for it again")
    return begun(waiting, wall_us, waiting.by, second.text)


def begun(wanted: Lowered, wall_us: int, by: str, second: str = "") -> Lowered:
    """Give what was asked for as it begins now; it lasts as long as was asked."""
    until_us = wall_us + wanted.until_us - wanted.since_us
    return replace(wanted, by=by, since_us=wall_us, until_us=until_us, second=second)


def digest_of(wanted: Lowered, nonce: str) -> str:
    """Name what is to be lowered, by all that it is: that is what people prove they mean."""
    about = [
        wanted.what.value, wanted.rule, wanted.series, wanted.owner, wanted.reason,
        wanted.measure, wanted.by, wanted.since_us, wanted.until_us, nonce,
    ]  # fmt: skip
    return hashlib.sha256(_DOMAIN + json.dumps(about).encode()).hexdigest()
