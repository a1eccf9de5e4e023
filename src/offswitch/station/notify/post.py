"""Sending what waits: for each way one after the other, the oldest first, again until it is there.

In vain, it waits a second, then two, four, and so on to five minutes, with some chance in it so
that not all come back at once; or as long as the server asks. What is a day old is dropped. The
first failure, a success after failures, what is refused for good and what is dropped are entries;
a server that is down for a day does not fill the record.
"""

from __future__ import annotations

import asyncio

from offswitch.clock import Clock, new_nonce
from offswitch.ledger.outbox import Outbox
from offswitch.model.entry import EntryKind
from offswitch.station.notify.book import Delivery, Queues
from offswitch.station.notify.notice import Notice
from offswitch.station.notify.sinks.contract import Later, Never, Outgoing, Result, Sent, Sink

__all__ = ["Post"]

_FIRST_US = 1_000_000
_LONGEST_US = 300_000_000
_OLDEST_US = 86_400_000_000
_DEADLINE_S = 30.0
_REFS = "refs"


class Post:
    """Sends by one way."""

    def __init__(self, sink: Sink, book: Queues, clock: Clock, outbox: Outbox, lead: str) -> None:
        """Send by `sink` what the book holds for it."""
        self.sink = sink
        self._book = book
        self._clock = clock
        self._outbox = outbox
        self._lead = lead
        self.problem = ""
        """Why the last try failed; empty: it did not."""

    def wait_us(self) -> int | None:
        """How long until there is something to send; None: there is nothing."""
        one = self._book.head(self.sink.name)
        return None if one is None else max(one.next_us - self._clock.wall_us(), 0)

    async def turn(self) -> bool:
        """Try the oldest, if it is time; tells whether something was tried."""
        one = self._book.head(self.sink.name)
        now_us = self._clock.wall_us()
        if one is None or one.next_us > now_us:
            return False
        if now_us - one.made_us > _OLDEST_US:
            self._end(one, EntryKind.GAP, "dropped", "it was not taken within a day")
            return True
        self._take(one, await self._sent(one))
        return True

    async def _sent(self, one: Delivery) -> Result:
        try:
            outgoing = self._outgoing(one)
        except (KeyError, TypeError, ValueError) as error:
            return Never(f"what lay on disk cannot be read: {type(error).__name__}")
        try:
            return await asyncio.wait_for(self.sink.send(outgoing), _DEADLINE_S)
        except TimeoutError:
            return Later("it is not done in time")
        except Exception as error:  # noqa: BLE001 - a sink's edge: tried again, and recorded
            return Later(f"a defect: {type(error).__name__}")

    def _outgoing(self, one: Delivery) -> Outgoing:
        refs = self._book.kept(_REFS)
        return Outgoing(
            f"msg-{self.sink.name}-{one.made_us}-{one.id}",
            Notice.from_dict(one.body["notice"]),
            str(refs.get(f"{one.sink} {one.thread}", "")),
            str(one.body.get("seen_by", "")),
            str(one.body.get("called", "")),
            self._lead,
        )

    def _take(self, one: Delivery, result: Result) -> None:
        match result:
            case Sent(ref):
                if one.tries or self.problem:
                    self.problem = ""
                self._end(one, EntryKind.PAGE, "delivered", "it was taken")
                if ref:
                    key = f"{one.sink} {one.thread}"
                    self._book.write(self._book.keep(_REFS, key, ref))
            case Later(why, after_us):
                self.problem = why
                pause_us = max(_pause_us(one.tries), after_us)
                self._book.write(self._book.again(one, self._clock.wall_us() + pause_us))
                if one.tries == 1:
                    self._tell(one, EntryKind.PAGE, "waits, is tried again", why)
            case Never(why):
                self.problem = why
                self._end(one, EntryKind.PAGE, "refused", why)

    def _end(self, one: Delivery, kind: EntryKind, state: str, why: str) -> None:
        self._book.write(self._book.done(one))
        self._tell(one, kind, state, why)

    def _tell(self, one: Delivery, kind: EntryKind, state: str, why: str) -> None:
        notice = one.body.get("notice", {})
        self._outbox.tell(
            kind,
            f"a notice by {one.sink}",
            why=why,
            prior="waiting",
            state=state,
            channel="notify",
            thread=one.thread,
            sink=one.sink,
            event=notice.get("event", ""),
            phase=notice.get("phase", ""),
            says=notice.get("state", ""),
            tries=one.tries + (state in {"delivered", "refused"}),
            waited_us=self._clock.wall_us() - one.made_us,
        )


def _pause_us(tries: int) -> int:
    """Give how long to wait after so many tries in vain: between half and all of it."""
    whole = min(_FIRST_US << min(tries, 20), _LONGEST_US)
    chance = int(new_nonce()[:8], 16) / 0xFFFF_FFFF
    return int(whole * (0.5 + chance / 2))
