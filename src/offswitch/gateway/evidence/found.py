"""What a server said of its work, and what that lets us say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from offswitch.gateway.evidence.ask import Ask

__all__ = ["Found", "Said", "Standing", "Witness", "judged"]


class Standing(StrEnum):
    """How an upstream stands after a cut."""

    IDLE = "idle"
    """It says that nothing is in work."""
    BUSY = "busy"
    """It says that something is, and nobody else may have asked for it."""
    UNKNOWN = "unknown"
    """It does not say, or not of whom."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a server said at one look."""

    in_work: int | None
    """Requests that it works at or that wait; None: it does not tell."""
    by: str
    """What said so, in few words of ours."""
    written: float | None = None
    """How many tokens it has written, ever; None: it does not tell."""
    mute: bool = False
    """It is there and gives no answer that can be read, as a server may that has much to do."""


@dataclass(frozen=True, slots=True)
class Found:
    """What can be said."""

    standing: Standing
    text: str
    """Follows *egress cut, upstream …*; ours, never the server's words."""


class Witness(Protocol):
    """Knows how one kind of server is asked."""

    FIRST_S: float
    """How long after a cut it is first asked: before, it cannot know."""
    EVERY_S: float
    """How long it is left alone after a question."""

    async def abort(self, ask: Ask, answers: Sequence[str]) -> None:
        """Have it drop these answers by its own API, where it has one; never any other."""
        ...

    async def look(self, ask: Ask) -> Said:
        """Ask once. OSError or ValueError where it does not answer, or not as it should."""
        ...


def judged(said: Said, before: Said | None, *, shared: bool) -> Found:
    """Say what follows; `shared`: others may have work there by right.

    Some servers renew their gauge only while they work: after all was aborted it goes on saying
    what it said. So a gauge that stands while no token is written proves nothing. Nor does one look
    that finds nothing: a request is in no gauge before its first step is done, which a long prompt
    makes a long one, and after *idle* nobody asks any more.
    """
    count = said.in_work
    if count is None:
        return Found(Standing.UNKNOWN, f"not confirmed: {said.by}")
    if count == 0 and (before is None or before.in_work != 0):
        return Found(Standing.UNKNOWN, f"not confirmed: {said.by}, nothing in work at one look")
    if count == 0:
        return Found(Standing.IDLE, f"idle: {said.by}, nothing in work")
    work = f"{count} request{'' if count == 1 else 's'} in work"
    if shared:
        return Found(
            Standing.UNKNOWN, f"not confirmed: {said.by}, {work}, others' perhaps among them"
        )
    if before is not None and said.written is not None and said.written == before.written:
        return Found(
            Standing.UNKNOWN,
            f"not confirmed: {said.by}, {work}, though no token was written between two looks",
        )
    return Found(Standing.BUSY, f"still busy: {said.by}, {work}")
