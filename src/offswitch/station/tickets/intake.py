"""Taking orders from outside in, answering them, and reminding people of them.

Tickets lie with what is to be told (`notify/book`): in memory, and on disk by a thread. That a
reference came before is known for as long as its order could be handed in again. What is refused
is recorded with why, though of a flood only the first, and how many more there were.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

from offswitch.clock import Clock
from offswitch.config.notify import Outside
from offswitch.decide.outside import Issuer, OutsideOrder, issuer_of, parse_outside
from offswitch.decide.sshsig import parse_key
from offswitch.errors import Busy, Latched, NotFound, OffswitchError, Refused, Usage
from offswitch.ledger.outbox import Outbox
from offswitch.model.entry import EntryKind
from offswitch.model.level import parse_level
from offswitch.model.scope import parse_scope
from offswitch.printable import printable
from offswitch.station.notify.book import Queues
from offswitch.station.press.pressing import Presser
from offswitch.station.tickets.ticket import State, Ticket, ticket_of

__all__ = ["Tickets", "issuers_of"]

_ROOM = "tickets"
_MOST = 2000
"""Tickets that are kept; those that were answered go first."""
_MINUTE_US = 60_000_000
_A_MINUTE = 60
"""Orders that are looked at within a minute: a signature takes some milliseconds to check."""
_RECORDED = 30
"""Refusals within a minute that are recorded one by one."""
_TICK_S = 1.0
_LONGEST_REASON = 2000
_DURABLE_S = 2.0


def issuers_of(sections: Sequence[Outside]) -> tuple[list[Issuer], list[str]]:
    """Make issuers of the configuration's; gives those whose keys cannot be read as problems."""
    issuers, problems = [], []
    for section in sections:
        try:
            keys = tuple(parse_key(line) for line in section.keys)
            scopes = tuple(parse_scope(text) for text in section.scopes)
            issuers.append(Issuer(section.name, keys, scopes))
        except OffswitchError as error:
            problems.append(f"outside {section.name} may hand in nothing: {error.message}")
    return issuers, problems


class Tickets:
    """All tickets of a station."""

    def __init__(
        self,
        sections: Sequence[Outside],
        clock: Clock,
        outbox: Outbox,
        queues: Queues,
        presser: Presser,
        installation: Callable[[], str],
    ) -> None:
        """Take in the orders of `sections`; an acceptance is pressed by `presser`."""
        self._issuers, self.problems = issuers_of(sections)
        self._clock = clock
        self._outbox = outbox
        self._queues = queues
        self._presser = presser
        self._installation = installation
        self._came: deque[int] = deque()
        self._refusals: deque[int] = deque()
        self._uncounted = 0

    # --- what there is ----------------------------------------------------------------

    def all(self) -> list[Ticket]:
        """List them: those that wait by their deadline, then the others, the latest first."""
        found = [Ticket.from_dict(raw) for raw in self._queues.kept(_ROOM).values()]
        waiting = sorted((one for one in found if one.waits), key=lambda one: one.deadline_us)
        rest = sorted((one for one in found if not one.waits), key=lambda one: -one.answered_us)
        return waiting + rest

    def get(self, name: str) -> Ticket:
        """Give one by its id, or by enough of it to be the only one."""
        known = self._queues.kept(_ROOM)
        named = [one for one in known if one == name] or [
            one for one in known if one.startswith(name) and len(name) > len("tic-")
        ]
        if len(named) != 1:
            raise NotFound(f"no ticket {name[:40]!r}", "see: offswitch ticket list")
        return Ticket.from_dict(known[named[0]])

    # --- taking in ----------------------------------------------------------------------

    async def file(self, text: str, channel: str, by: str) -> Ticket:
        """Take an order in; raises why it does not hold, which is recorded."""
        now_us = self._clock.wall_us()
        _forget_before(self._came, now_us - _MINUTE_US)
        if len(self._came) >= _A_MINUTE:
            self._refuse("too many within a minute", channel, by, "")
            raise Busy("too many orders came within a minute", "hand it in again in a minute")
        self._came.append(now_us)
        sender = ""
        try:
            order = parse_outside(text)
            sender = order.sender
            issuer_of(order, self._issuers, self._installation(), now_us)
            self._once(order)
        except OffswitchError as error:
            self._refuse(error.message, channel, by, sender)
            raise
        ticket = ticket_of(order, now_us, channel)
        self._make_room()
        self._keep(ticket)
        self._tell(ticket, "came in", "none", "open", by, ticket.reason, channel)
        await self._durable()
        return ticket

    def _once(self, order: OutsideOrder) -> None:
        for raw in self._queues.kept(_ROOM).values():
            if (raw["sender"], raw["reference"]) == (order.sender, order.reference):
                raise Refused(
                    f"{order.reference} of {order.sender} came before: it is ticket {raw['id']}",
                    "another order has a reference of its own",
                )

    def _make_room(self) -> None:
        known = self._queues.kept(_ROOM)
        if len(known) < _MOST:
            return
        now_us = self._clock.wall_us()
        over = [
            one for one in self.all() if not one.waits and one.deadline_us < now_us
        ]  # an order whose deadline is over is refused for that: its reference need not be known
        if not over:
            raise Busy("there are too many tickets already", "answer those that wait")
        self._queues.write(self._queues.forget(_ROOM, over[-1].id))

    # --- answering ------------------------------------------------------------------------

    async def accept(self, name: str, by: str, reason: str, channel: str) -> Ticket:
        """A person stops what was asked; the stop is theirs. Raises where it was answered."""
        ticket = self._waiting(name)
        said = f"order from outside {ticket.reference} of {ticket.sender}: {ticket.reason}"
        pressed = self._presser.press(
            ticket.scopes, parse_level(ticket.level), by, "ticket", said[:_LONGEST_REASON]
        )
        return await self._answer(ticket, State.ACCEPTED, by, reason, channel, pressed.id)

    async def decline(self, name: str, by: str, reason: str, channel: str) -> Ticket:
        """A person says no, and why; nothing is stopped."""
        if not reason.strip():
            raise Usage("to decline takes a reason", "--reason TEXT: it is told to whoever asked")
        return await self._answer(self._waiting(name), State.DECLINED, by, reason, channel, "")

    def _waiting(self, name: str) -> Ticket:
        ticket = self.get(name)
        if not ticket.waits:
            raise Latched(f"{ticket.id} was {ticket.state} by {ticket.by}", "nothing is open in it")
        return ticket

    async def _answer(
        self, ticket: Ticket, state: State, by: str, reason: str, channel: str, press: str
    ) -> Ticket:
        prior = ticket.state
        ticket = replace(
            ticket, state=state, by=by, answer=reason[:_LONGEST_REASON],
            answered_us=self._clock.wall_us(), press=press,
        )  # fmt: skip
        self._keep(ticket)
        self._tell(ticket, state.value, prior.value, state.value, by, reason, channel)
        await self._durable()
        return ticket

    # --- time -----------------------------------------------------------------------------

    async def run(self) -> None:
        """Remind people, until cancelled."""
        for problem in self.problems:
            self._outbox.tell(
                EntryKind.NOTE, problem, why="its key", prior="-", state="not used",
                channel="ticket",
            )  # fmt: skip
        while True:
            self.tick()
            await asyncio.sleep(_TICK_S)

    def tick(self) -> None:
        """Remind people of what waits, and say what is overdue; once each."""
        now_us = self._clock.wall_us()
        for raw in list(self._queues.kept(_ROOM).values()):
            if raw["state"] != State.OPEN:
                continue
            before = Ticket.from_dict(raw)
            ticket, word = before.reminded_at(now_us)
            if word:
                self._keep(ticket)
                what = "nobody has answered"
                self._tell(ticket, what, before.state.value, word, "station", "", "ticket")
        _forget_before(self._refusals, now_us - _MINUTE_US)
        if self._uncounted and len(self._refusals) < _RECORDED:
            count, self._uncounted = self._uncounted, 0
            self._recorded(f"{count} more were refused", "ticket", "outside")

    # --- keeping and recording ------------------------------------------------------------

    def _keep(self, ticket: Ticket) -> None:
        self._queues.write(self._queues.keep(_ROOM, ticket.id, ticket.as_dict()))

    async def _durable(self) -> None:
        """Wait a little until it is on disk; a disk that is away keeps nobody from answering."""
        await self._queues.settled(_DURABLE_S)

    def _tell(
        self, ticket: Ticket, what: str, prior: str, state: str, by: str, reason: str, channel: str
    ) -> None:
        public = {
            "channel": channel,
            "ticket": ticket.id,
            "what": what,
            "prior": prior,
            "state": state,
            "from": ticket.sender,
            "reference": ticket.reference,
            "scopes": list(ticket.scopes),
            "level": ticket.level,
            "deadline_us": ticket.deadline_us,
            **({"press": ticket.press} if ticket.press else {}),
        }
        self._outbox.add(EntryKind.TICKET, public, {"by": by, "reason": reason or ticket.reason})

    def _refuse(self, why: str, channel: str, by: str, sender: str) -> None:
        now_us = self._clock.wall_us()
        _forget_before(self._refusals, now_us - _MINUTE_US)
        if len(self._refusals) >= _RECORDED:
            self._uncounted += 1
            return
        self._refusals.append(now_us)
        named = f", says to be from {printable(sender, 64)}" if sender else ""
        self._recorded(why, channel, f"{by}{named}")

    def _recorded(self, why: str, channel: str, by: str) -> None:
        self._outbox.tell(
            EntryKind.REFUSED, "an order from outside", why=printable(why, 500),
            prior="as it was", state="as it was", by=by, channel=channel,
        )  # fmt: skip


def _forget_before(times: deque[int], before_us: int) -> None:
    while times and times[0] < before_us:
        times.popleft()
