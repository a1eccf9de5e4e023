"""What every way to tell somebody promises: one method, one answer of three.

    Sent(ref)       it is there; `ref` is what later notices of the thread need (Slack's `ts`)
    Later(why)      not now: the server is away, slow, or asks for patience. It is tried again
    Never(why)      the server says no, and would say it again. It is dropped, and that is recorded

`send` may be called twice with the same thing, when a station dies between sending and writing
that down: `Outgoing.id` stays the same, and a receiver may go by that. It ends within the deadline
that it was given, and raises nothing that it can foresee; whatever it raises counts as `Later`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from offswitch.station.notify.notice import Notice

__all__ = ["Later", "Never", "Outgoing", "Result", "Sent", "Sink"]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One notice on its way by one way."""

    id: str
    """The same at every try."""
    notice: Notice
    ref: str
    """What an earlier notice of the thread was given; empty: there was none."""
    seen_by: str
    """Who has acknowledged the thread; empty: nobody."""
    called: str = ""
    """Who is called by this, where it is the chain that calls."""
    lead: str = ""


@dataclass(frozen=True, slots=True)
class Sent:
    """It is there."""

    ref: str = ""


@dataclass(frozen=True, slots=True)
class Later:
    """It may be there some time."""

    why: str
    after_us: int = 0
    """Not before so long, where the server says so."""


@dataclass(frozen=True, slots=True)
class Never:
    """It will not be there."""

    why: str


Result = Sent | Later | Never


class Sink(Protocol):
    """One way to tell somebody."""

    name: str
    kind: str

    async def send(self, outgoing: Outgoing) -> Result:
        """Send it, within some ten seconds."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
