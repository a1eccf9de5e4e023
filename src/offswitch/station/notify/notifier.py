"""Telling people, as it goes on beside everything else in a station.

    hear      the record as it grows ─► events          (a listener of the tail)
    follow    what is to be told of it now ─► desk
    look      what watch says at its desk, each second ─► desk
    tick      whom to call next; what was lost
    post      one task for each way: what waits, the oldest first

Each is a task that is supervised: what it raises is recorded once, and it goes on. None of them is
waited for by anybody, and what they need of the disk a thread does (`book`).

The record is heard from its first entry on in each life. What an earlier life has told already is
folded silently; the first life of all begins with what comes after it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from offswitch.clock import Clock
from offswitch.config.declared import Config
from offswitch.errors import OffswitchError
from offswitch.ledger.outbox import Outbox
from offswitch.ledger.reader import ShownEntry
from offswitch.model.entry import EntryKind
from offswitch.station.archive.tail import Tail
from offswitch.station.notify.book import Queues
from offswitch.station.notify.context import Context
from offswitch.station.notify.desk import Desk
from offswitch.station.notify.desk_events import DeskEvents
from offswitch.station.notify.events import Events
from offswitch.station.notify.hooks.signed import FRESH_US, Once
from offswitch.station.notify.notice import Notice
from offswitch.station.notify.post import Post
from offswitch.station.notify.prepare import Addresses, Prepared
from offswitch.station.picture.hub import Hub
from offswitch.station.wire import ask

__all__ = ["Notifier"]

_POLL_S = 0.25
_LOOK_S = 1.0
_AWAY_S = 5.0
_TICK_S = 0.5
_BATCH = 500
_LEDGER = "ledger"
_MOST_SHOWN = 500
_MOST_RULES = 100


class Notifier:
    """Tells people; one in a station."""

    def __init__(
        self,
        config: Config,
        clock: Clock,
        outbox: Outbox,
        tail: Tail,
        hub: Hub,
        book: Queues,
        *,
        prepared: Prepared,
        at: Addresses,
    ) -> None:
        """Tell by the ways that are prepared."""
        self._watch = at.watch
        self._asks: set[asyncio.Task[None]] = set()
        self._hub = hub
        self._clock = clock
        self._outbox = outbox
        self._tail = tail
        self._book = book
        self.prepared = prepared
        context = Context.of(config, at.console)
        self._events = Events(context)
        self._looked = DeskEvents(context)
        usable = {sink.name for sink in prepared.sinks}
        self.desk = Desk(config, clock, outbox, book, usable)
        lead = config.escalation.lead
        self.posts = [Post(sink, book, clock, outbox, lead) for sink in prepared.sinks]
        self._wake = {sink.name: asyncio.Event() for sink in prepared.sinks}
        self._once = Once(book)
        self._next = 0
        self._told = int(book.kept(_LEDGER).get("next", -1))
        """Up to which entry earlier lives have told; -1: there was none."""
        self._replays = True
        """Whether what is heard was told by earlier lives."""
        self._problem = ""
        self._defects: set[str] = set()

    async def run(self) -> None:
        """Go on until cancelled."""
        for problem in self.prepared.problems:
            self._note(problem, "not used")
        async with asyncio.TaskGroup() as group:
            group.create_task(self._forever("follow", self._follow))
            group.create_task(self._forever("look", self._look))
            group.create_task(self._forever("tick", self._tick))
            for post in self.posts:
                group.create_task(self._forever(f"post {post.sink.name}", self._posting(post)))

    async def close(self) -> None:
        """Hang up everywhere, and let what waits be written."""
        for task in self._asks:
            task.cancel()
        await asyncio.gather(*self._asks, return_exceptions=True)
        for post in self.posts:
            await post.sink.close()
        self._book.close()

    # --- what others ask ----------------------------------------------------------------

    def tell(self, notice: Notice) -> None:
        """Tell people of something that stands in no record yet."""
        self._write(self.desk.tell(notice))

    def acknowledge(
        self, thread: str, by: str, channel: str, *, via: str = "", at_us: int | None = None
    ) -> None:
        """Somebody has seen it; see `Desk.acknowledge`. Of alarms watch is told as well."""
        self._write(self.desk.acknowledge(thread, by, channel, via=via, at_us=at_us))
        rules = self._looked.rules_of(thread)
        if rules and by.startswith("person:"):
            task = asyncio.get_running_loop().create_task(self._seen(rules[:_MOST_RULES], by))
            self._asks.add(task)
            task.add_done_callback(self._asks.discard)

    async def _seen(self, rules: list[str], by: str) -> None:
        """Say at watch's desk that alarms were seen; what it will not hear stays as it is there."""
        for rule in rules:
            with suppress(OffswitchError):
                await ask(self._watch, {"op": "ack", "rule": rule, "by": by}, _AWAY_S)

    def once(self, what: str, now_us: int, lasts_us: int = 2 * FRESH_US) -> None:
        """Take something that may come once; raises `Refused` the second time."""
        self._write(self._once.take(what, now_us, lasts_us))

    def pages(self) -> list[dict[str, Any]]:
        """List what people were told, the latest first, with who has seen it."""
        rows = [
            {
                "thread": name,
                "event": thread["notice"]["event"],
                "state": thread["notice"]["state"],
                "scope": thread["notice"]["scope"],
                "headline": thread["notice"]["page"]["headline"],
                "urgent": bool(thread["notice"]["urgent"]),
                "open": not thread.get("closed_us"),
                "opened_us": thread["opened_us"],
                "seen_by": thread["seen_by"],
                "next_call_us": (thread["calling"] or [0, 0, 0])[2] or None,
                "told": thread["told"],
            }
            for name, thread in self.desk.threads.items()
        ]
        return sorted(rows, key=lambda row: -int(row["opened_us"]))[:_MOST_SHOWN]

    def ways(self) -> list[dict[str, Any]]:
        """List the ways, how much waits for each, and why the last try failed."""
        return [
            {
                "sink": post.sink.name,
                "kind": post.sink.kind,
                "waiting": self._book.waiting(post.sink.name),
                "problem": post.problem,
            }
            for post in self.posts
        ]

    # --- the tasks ----------------------------------------------------------------------

    async def _forever(self, name: str, work: Callable[[], Awaitable[float]]) -> None:
        while True:
            try:
                pause_s = await work()
            except OffswitchError:
                pause_s = _AWAY_S
            except Exception as error:  # noqa: BLE001 - a supervised edge: recorded, and on it goes
                pause_s = _AWAY_S
                self._defect(name, error)
            await asyncio.sleep(pause_s)

    def _defect(self, name: str, error: Exception) -> None:
        said = f"{name}: {type(error).__name__}: {error}"[:300]
        if said not in self._defects and len(self._defects) < _MOST_SHOWN:
            self._defects.add(said)
            self._note("defect", "goes on", said)

    def hear(self, entry: ShownEntry) -> None:
        """Take in one entry of the record."""
        if self._replays and 0 <= self._told <= entry.index:
            self._settle(_time_of(entry))
        self._events.take(entry)
        self._next = entry.index + 1
        if self._replays and self._next % _BATCH == 0:
            self._events.due(_time_of(entry))

    def _settle(self, now_us: int) -> None:
        """All that earlier lives have told is heard: tell of it what they had no time to."""
        self._replays = False
        notices = self._events.settled(now_us)
        known = {name for name, one in self.desk.threads.items() if not one.get("closed_us")}
        self._write(
            [change for one in notices if one.thread in known for change in self.desk.tell(one)]
        )

    async def _follow(self) -> float:
        """Tell what is to be told of what was heard."""
        now_us = self._clock.wall_us()
        if self._replays:
            if self._next < self._told or self._told < 0:
                await self._tail.caught_up.wait()
            self._settle(now_us)
        changes = []
        for notice in self._events.due(now_us):
            changes += self.desk.tell(notice)
        if self._next != self._told:
            self._told = self._next
            changes += self._book.keep(_LEDGER, "next", self._next)
        self._write(changes)
        return _POLL_S

    async def _look(self) -> float:
        """Take in what watch asks people, and which alarms stand."""
        desk, now_us = self._hub.picture.desk, self._clock.wall_us()
        if desk.live:
            told = self._looked.questions(desk.decisions, now_us)
            told += self._looked.alarms(desk.alarms, now_us)
            self._write([change for notice in told for change in self.desk.tell(notice)])
        return _LOOK_S

    async def _tick(self) -> float:
        self._write(self.desk.tick())
        if self._book.problem != self._problem:
            self._problem = self._book.problem
            self._note(self._problem or "what is to be sent is on disk again", "goes on")
        if self._book.lost:
            lost, self._book.lost = self._book.lost, 0
            self._note(f"{lost} changes to what is to be sent are not on disk", "goes on")
        return _TICK_S

    def _posting(self, post: Post) -> Callable[[], Awaitable[float]]:
        async def once() -> float:
            wake = self._wake[post.sink.name]
            wake.clear()
            if await post.turn():
                return 0.0
            wait_us = post.wait_us()
            limit_s = _TICK_S if wait_us is None else min(wait_us / 1e6, _TICK_S)
            try:
                await asyncio.wait_for(wake.wait(), max(limit_s, 0.01))
            except TimeoutError:
                pass
            return 0.0

        return once

    def _write(self, changes: list[Any]) -> None:
        self._book.write(changes)
        if changes:
            for wake in self._wake.values():
                wake.set()

    def _note(self, what: str, state: str, why: str = "") -> None:
        self._outbox.tell(
            EntryKind.NOTE, what, why=why or what, prior="telling people", state=state,
            channel="notify",
        )  # fmt: skip


def _time_of(entry: ShownEntry) -> int:
    time_us = entry.public.get("time_us")
    return time_us if isinstance(time_us, int) else 0
