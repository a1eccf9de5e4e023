"""A ticket: an order from outside that held, and what has become of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from hashlib import sha256
from typing import Any

from offswitch.decide.outside import OutsideOrder

__all__ = ["State", "Ticket", "ticket_of"]


class State(StrEnum):
    """Where a ticket stands."""

    OPEN = "open"
    OVERDUE = "overdue"
    """Its deadline is over, and nobody has answered; it still can be."""
    ACCEPTED = "accepted"
    DECLINED = "declined"


@dataclass(frozen=True, slots=True)
class Ticket:
    """One ticket."""

    id: str
    """`tic-` and the beginning of the digest of the line that was signed."""
    sender: str
    reference: str
    """The sender's own name for it; each counts once."""
    scopes: tuple[str, ...]
    level: str
    reason: str
    came_us: int
    deadline_us: int
    channel: str
    """How it came: `api`, `cli`."""
    state: State = State.OPEN
    reminded: int = 0
    """How many of the two reminders were given."""
    by: str = ""
    """Who has answered."""
    answer: str = ""
    """Why they declined, or what they said to accepting."""
    answered_us: int = 0
    press: str = ""
    """The press that an acceptance made."""

    @property
    def waits(self) -> bool:
        """Whether a person has still to answer."""
        return self.state in {State.OPEN, State.OVERDUE}

    def due_us(self) -> int:
        """When the next reminder is to be given, or it is overdue; 0: nothing is."""
        if self.state is not State.OPEN:
            return 0
        if self.reminded >= 2:  # noqa: PLR2004 - a third, two thirds
            return self.deadline_us
        return self.came_us + (self.deadline_us - self.came_us) * (self.reminded + 1) // 3

    def reminded_at(self, now_us: int) -> tuple[Ticket, str]:
        """Give it as it is after what is due now, and the word for that; empty: nothing was.

        Who was away for long is given one word for all of it, the latest.
        """
        word, ticket = "", self
        while (due_us := ticket.due_us()) and now_us >= due_us:
            if ticket.reminded >= 2:  # noqa: PLR2004 - a third, two thirds
                ticket, word = replace(ticket, state=State.OVERDUE), State.OVERDUE.value
            else:
                ticket, word = replace(ticket, reminded=ticket.reminded + 1), "reminder"
        return ticket, word

    def as_dict(self) -> dict[str, Any]:
        """Give the object that the API, the command line and the disk have."""
        return {**asdict(self), "scopes": list(self.scopes), "state": self.state.value}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Ticket:
        """Read it back from the disk."""
        return cls(**{**raw, "scopes": tuple(raw["scopes"]), "state": State(raw["state"])})


def ticket_of(order: OutsideOrder, now_us: int, channel: str) -> Ticket:
    """Make the ticket of an order that holds."""
    return Ticket(
        f"tic-{sha256(order.signed.encode()).hexdigest()[:12]}",
        order.sender,
        order.reference,
        order.scopes,
        order.level.label,
        order.reason,
        now_us,
        order.deadline_us,
        channel,
    )
