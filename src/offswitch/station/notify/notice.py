"""A notice: one thing that people are told, before it is written for any of them.

`Page` is what a page to a person holds, in this order: what is happening, what already stopped,
what still acts, what a stop costs, what happens by when if nobody acts, a link, the command. A
person who was asleep decides on it, so nothing may be missing: what is not known says so.

All notices with one `thread` are about one thing: an incident, a question, a drill. The thread is
PagerDuty's deduplication key and Slack's thread. Notices are values; they lie on disk as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from offswitch.config.notify import Event

__all__ = ["Notice", "Page", "Phase"]

_MOST_LINES = 20
_LONGEST = 1000


class Phase(StrEnum):
    """Where a thread stands."""

    OPEN = "open"
    UPDATE = "update"
    SEEN = "acknowledged"
    """A person has seen it; nobody else is called."""
    CLOSE = "close"


@dataclass(frozen=True, slots=True)
class Page:
    """What a person is told. All of it may hold what targets wrote."""

    headline: str
    """One line."""
    happening: str
    stopped: tuple[str, ...]
    """What was stopped already, a line each; none: nothing was."""
    acting: tuple[str, ...]
    """What may still act."""
    cost: str
    otherwise: str
    """What happens by when if nobody acts."""
    link: str
    command: str

    def bounded(self) -> Page:
        """Give it no longer than a person reads, and a server takes."""
        return Page(
            self.headline[:200],
            self.happening[:_LONGEST],
            _bounded(self.stopped),
            _bounded(self.acting),
            self.cost[:_LONGEST],
            self.otherwise[:_LONGEST],
            self.link[:_LONGEST],
            self.command[:_LONGEST],
        )


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to be told."""

    thread: str
    """`inc-3f9a0c12`, `ask-…`, `alarm-…`, `blind-…`, `drill-…`, `bypass-…`, `tic-…`."""
    event: Event
    phase: Phase
    state: str
    """In a word or two: commanded, confirmed, not confirmed, asks, overdue, …"""
    scope: str
    page: Page
    time_us: int
    """When it happened; UTC, microseconds."""
    urgent: bool = False
    """Whether a person must acknowledge it, or the next one is called."""
    worse: bool = False
    """Whether it calls again those who have acknowledged what was before."""
    backup: bool = False
    """Whether it goes to the second of the chain at once."""
    concerns: tuple[str, ...] = ()
    """People who are told in any case, by name: whoever placed what was cleared."""
    level: str = ""
    """At which level its stop button stops; empty: it has none."""

    def as_dict(self) -> dict[str, Any]:
        """Give the object that lies on disk and that a webhook carries."""
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Notice:
        """Read it back from the disk."""
        page = raw["page"]
        return cls(
            **{
                **raw,
                "event": Event(raw["event"]),
                "phase": Phase(raw["phase"]),
                "concerns": tuple(raw["concerns"]),
                "page": Page(
                    **{
                        **page,
                        "stopped": tuple(page["stopped"]),
                        "acting": tuple(page["acting"]),
                    }
                ),
            }
        )


def _bounded(lines: tuple[str, ...]) -> tuple[str, ...]:
    kept = tuple(line[:_LONGEST] for line in lines[:_MOST_LINES])
    more = len(lines) - len(kept)
    return (*kept, f"and {more} more") if more > 0 else kept
