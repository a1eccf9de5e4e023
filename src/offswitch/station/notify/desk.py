"""All threads as they stand: what is told by which way, who has seen it, who is called next.

Without input or output of its own: what is to be sent goes into the book, what is to be recorded
to the outbox, and neither waits. Time comes from the clock, so that tests let hours pass.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from hashlib import sha256
from typing import Any

from offswitch.clock import Clock
from offswitch.config.declared import Config
from offswitch.errors import NotFound
from offswitch.ledger.outbox import Outbox
from offswitch.model.entry import EntryKind
from offswitch.station.notify.book import Change, Queues
from offswitch.station.notify.chain import Calling, begun, forward, to_backup
from offswitch.station.notify.notice import Notice, Phase
from offswitch.station.notify.routes import called, reached

__all__ = ["Desk", "Thread"]

_SKEW_US = 5_000_000
_KEPT_US = 7 * 86_400_000_000
_MOST_THREADS = 5000
_THREADS = "threads"

Thread = dict[str, Any]


class Desk:
    """Takes notices in, and acknowledgements."""

    def __init__(
        self, config: Config, clock: Clock, outbox: Outbox, book: Queues, usable: Collection[str]
    ) -> None:
        """Tell by those of the configuration's ways that are `usable`."""
        self._sections = [one for one in config.notify if one.name in usable]
        self._chain = config.escalation
        self._clock = clock
        self._outbox = outbox
        self._book = book
        self.dropped: dict[str, int] = {}
        """Sink → notices that fell out of its queue, not yet recorded."""

    @property
    def threads(self) -> dict[str, Thread]:
        """All threads that are known, by name."""
        return self._book.kept(_THREADS)

    def tell(self, notice: Notice) -> list[Change]:
        """Take a notice in; gives what is to be written."""
        now_us = self._clock.wall_us()
        known: Thread = self.threads.get(notice.thread, {})
        told_before = bool(known)
        mark = _mark(notice)
        if known.get("mark") == mark or (not told_before and _needless(notice)):
            return []
        if notice.phase is Phase.SEEN:
            return self._seen(notice.thread, "somebody at watch's desk", "desk", notice)
        thread = dict(known)
        if not thread or (thread.get("closed_us") and notice.phase is Phase.OPEN):
            thread = {"opened_us": now_us, "seen_by": "", "told": [], "calling": None}
        thread |= {"mark": mark, "notice": notice.as_dict(), "closed_us": 0}
        if notice.worse or not thread.get("paged_us"):
            thread["paged_us"] = notice.time_us
        if notice.worse:
            thread["seen_by"] = ""
        if notice.phase is Phase.CLOSE:
            thread |= {"closed_us": now_us, "calling": None}
        changes = self._call(notice, thread, now_us)
        already = set(thread.pop("just", ()))
        for sink in reached(self._sections, self._chain, notice, thread["told"]):
            if sink not in already:
                changes += self._send(sink, notice, thread, "", now_us)
        changes += self._keep(notice.thread, thread)
        return changes

    def _call(self, notice: Notice, thread: Thread, now_us: int) -> list[Change]:
        """Let the chain begin, or go to the backup, where the notice wants that."""
        if not notice.urgent or thread["seen_by"] or not self._chain.step:
            return []
        calling = _calling(thread)
        if calling is None or (notice.worse and not notice.backup):
            calling = begun(now_us)
        if notice.backup:
            calling = to_backup(calling, now_us)
        thread["calling"] = _kept(calling)
        return self._forward(notice, thread, now_us)

    def _forward(self, notice: Notice, thread: Thread, now_us: int) -> list[Change]:
        changes: list[Change] = []
        calling = _calling(thread)
        for _ in range(len(self._chain.step)):
            if calling is None:
                break
            before, (calling, step) = calling, forward(
                calling, self._chain.step, self._chain.rounds, now_us
            )  # fmt: skip
            thread["calling"] = _kept(calling)
            if step is None:
                if calling.over and not before.over:
                    self._record(notice, "nobody has acknowledged", "called", "unanswered")
                break
            sinks = called(self._sections, step, notice.scope)
            self._record(
                notice,
                "the chain calls",
                "not acknowledged" if calling.step or calling.round else "told",
                f"step {calling.step + 1} of {len(self._chain.step)} is called",
                sealed=step.person,
                step=calling.step + 1,
                round=calling.round + 1,
                sinks=sinks,
            )
            for sink in sinks:
                changes += self._send(sink, notice, thread, step.person, now_us)
                thread.setdefault("just", []).append(sink)
            if sinks:
                break
            calling = replace(calling, due_us=now_us)  # nobody to call there: the next, at once
        return changes

    def tick(self) -> list[Change]:
        """Call the next one where nobody has acknowledged in time; forget what is long over."""
        now_us = self._clock.wall_us()
        changes: list[Change] = []
        for name, kept in list(self.threads.items()):
            calling = _calling(kept)
            if calling is not None and not calling.over and now_us >= calling.due_us:
                thread = dict(kept)
                changes += self._forward(Notice.from_dict(kept["notice"]), thread, now_us)
                thread.pop("just", None)
                changes += self._keep(name, thread)
            if kept.get("closed_us") and now_us - kept["closed_us"] > _KEPT_US:
                changes += self._book.forget(_THREADS, name)
        while len(self.threads) > _MOST_THREADS:
            oldest = min(self.threads, key=lambda name: self.threads[name].get("opened_us", 0))
            changes += self._book.forget(_THREADS, oldest)
        self._tell_dropped()
        return changes

    def acknowledge(
        self, name: str, by: str, channel: str, *, via: str = "", at_us: int | None = None
    ) -> list[Change]:
        """Somebody has seen it: nobody else is called. Raises `NotFound` where nothing is open.

        `via` is the way over which that was said, which need not be told of it. `at_us` is when it
        was said: what became worse since then they have not seen.
        """
        thread = self.threads.get(name)
        if thread is None or thread.get("closed_us"):
            raise NotFound(f"no page {name[:40]!r} is open", "it is over, or never was")
        if at_us is not None and at_us + _SKEW_US < int(thread.get("paged_us", 0)):
            raise NotFound(f"{name[:40]} became worse since then", "acknowledge that")
        notice = replace(Notice.from_dict(thread["notice"]), phase=Phase.SEEN)
        return self._seen(name, by, channel, notice, via)

    def _seen(
        self, name: str, by: str, channel: str, notice: Notice, via: str = ""
    ) -> list[Change]:
        kept = self.threads.get(name)
        if kept is None or kept.get("seen_by") or kept.get("closed_us"):
            return []
        thread = {**kept, "seen_by": by, "calling": None}
        seen = replace(notice, phase=Phase.SEEN)
        now_us = self._clock.wall_us()
        changes: list[Change] = []
        for sink in thread["told"]:
            if sink != via:
                changes += self._send(sink, seen, thread, "", now_us)
        self._record(seen, "acknowledged", "called", "acknowledged", sealed=by, channel=channel)
        return changes + self._keep(name, thread)

    def _send(
        self, sink: str, notice: Notice, thread: Thread, person: str, now_us: int
    ) -> list[Change]:
        if sink not in thread["told"]:
            thread["told"] = [*thread["told"], sink]
        body = {"notice": notice.as_dict(), "called": person, "seen_by": thread["seen_by"]}
        changes, dropped = self._book.add(sink, notice.thread, body, now_us)
        if dropped is not None:
            self.dropped[sink] = self.dropped.get(sink, 0) + 1
        return changes

    def _keep(self, name: str, thread: Thread) -> list[Change]:
        return self._book.keep(_THREADS, name, thread)

    def _tell_dropped(self) -> None:
        """Have recorded what was lost, once for all that was lost meanwhile."""
        for sink, count in self.dropped.items():
            self._outbox.tell(
                EntryKind.GAP,
                f"{count} notices by {sink}",
                why="more waited than there is room for: the oldest were dropped",
                prior="waiting",
                state="lost",
                channel="notify",
                sink=sink,
            )
        self.dropped = {}

    def _record(
        self,
        notice: Notice,
        what: str,
        prior: str,
        state: str,
        *,
        sealed: str = "",
        channel: str = "notify",
        **more: object,
    ) -> None:
        """Have recorded what became of a page; its words stay out of the public half."""
        self._outbox.tell(
            EntryKind.PAGE,
            what,
            why=notice.event.value,
            prior=prior,
            state=state,
            by=sealed or "station",
            channel=channel,
            thread=notice.thread,
            scope=notice.scope,
            **more,
        )


def _mark(notice: Notice) -> str:
    """Name what a notice says, so that it is said once, whatever a restart makes of it."""
    page, over = notice.page, notice.phase in {Phase.CLOSE, Phase.SEEN}
    said = [notice.event, notice.state, notice.backup, over, page.happening, page.stopped]
    return sha256(repr([*said, page.acting]).encode()).hexdigest()[:16]


def _needless(notice: Notice) -> bool:
    """Tell whether nobody has heard of what a notice ends; a reset matters all the same."""
    return notice.phase in {Phase.CLOSE, Phase.SEEN} and not notice.concerns


def _calling(thread: Thread) -> Calling | None:
    kept = thread.get("calling")
    return None if not kept else Calling(int(kept[0]), int(kept[1]), int(kept[2]))


def _kept(calling: Calling) -> list[int]:
    return [calling.step, calling.round, calling.due_us]
