"""What people see before they decide, worked out beside everything else (DEC-7).

    a page ─► Analyst ─► its own thread: reports/support ─► View, within a second or not at all

It is made of what is at hand: the latest findings and decisions (the tail of the record tells
them), the picture, what configuration and desk say of costs. The archive is asked only for entries
of an incident that are older, and not waited for long. Whatever goes wrong here, a page is shown
without it and says so: its STOP and its forms need none of it, and a press never comes by here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from offswitch.clock import Clock
from offswitch.config.declared import Config, StopImpact
from offswitch.config.duration import format_duration
from offswitch.errors import NotFound, OffswitchError, Timeout
from offswitch.ledger.reader import ShownEntry
from offswitch.reports.incident import Incident
from offswitch.reports.support import (
    Question,
    Reached,
    Recent,
    RuleCost,
    Support,
    support_of_incident,
    support_of_question,
)
from offswitch.station.archive.link import Archive
from offswitch.station.incidents.book import Book
from offswitch.station.picture.hub import Hub
from offswitch.station.picture.picture import Picture

__all__ = ["Analyst", "View"]

_WITHIN_S = 0.8
"""For all of it; a page is to be there within a second."""
_READ_WITHIN_S = 0.4
_AT_ONCE = 8
"""So many may wait for it; whoever comes then is shown the page without."""
_CLAIMS = frozenset({"finding", "decision"})


@dataclass(frozen=True, slots=True)
class View:
    """What there is to see of something, at one moment."""

    support: Support | None
    """None: it could not be worked out in time."""
    as_of_us: int
    """When it was asked for, UTC."""
    live: bool
    """Whether the picture that it was made of was the present."""
    trouble: str
    """What is missing, and why; empty: nothing."""

    def as_dict(self) -> dict[str, Any]:
        """Give what JSON has of it; raises where there is none."""
        if self.support is None:
            raise Timeout(self.trouble, "decide without it: a stop needs none of it")
        more = {"as_of_us": self.as_of_us, "live": self.live, "trouble": self.trouble}
        return {**self.support.as_dict(), **more}


class Analyst:
    """One in a station."""

    def __init__(
        self, clock: Clock, hub: Hub, incidents: Book, archive: Archive, config: Config
    ) -> None:
        """Work with what these know."""
        self._clock = clock
        self._hub = hub
        self._incidents = incidents
        self._archive = archive
        self._recent = Recent()
        self._impacts = {
            one.name: _impact(one.stop_impact)
            for one in config.target
            if one.stop_impact is not None
        }
        self._rules = {
            rule.name: RuleCost(rule.name, rule.scope, rule.false_stop_cost, rule.harm)
            for rule in config.rule
        }
        self._thread = ThreadPoolExecutor(1, "support")
        self._waiting = 0

    def take(self, entry: ShownEntry) -> None:
        """Hear of one entry; the tail calls it."""
        self._recent.take(entry)

    async def of_incident(self, incident: Incident) -> View:
        """Say what there is to see of an incident."""
        wanted = {event.index for event in incident.events if event.kind in _CLAIMS}
        entries = {one.index: one for one in self._recent if one.index in wanted}
        missing = sorted(wanted - entries.keys())
        trouble = await self._read(missing, entries) if missing else ""
        work = partial(
            support_of_incident,
            incident,
            entries,
            rules=self._costs(),
            past=self._incidents.of_scope(incident.scope),
        )
        return await self._view(work, trouble)

    def asked(self, digest: str) -> Mapping[str, Any]:
        """Give the question of that digest, or whose digest begins so and no other's does."""
        rows = self._hub.picture.desk.decisions
        found = [one for one in rows if str(one.get("decision", "")).startswith(digest)]
        if len(found) != 1:
            raise NotFound("no such question is open: it was answered, or ran out", "see the Board")
        return found[0]

    async def of_question(self, row: Mapping[str, Any]) -> View:
        """Say what there is to see of a question, as watch's desk tells it."""
        scope = str(row.get("scope", ""))
        asked_us = row.get("asked_us")
        question = Question(
            decision=str(row.get("decision", "")),
            rule=str(row.get("rule", "")),
            scope=scope,
            level=str(row.get("level", "")),
            asked_us=asked_us if isinstance(asked_us, int) else self._clock.wall_us(),
            why=str(row.get("why", "")),
            harm=str(row.get("harm", "")),
            false_stop_cost=str(row.get("false_stop_cost", "")),
        )
        past = self._incidents.of_scope(scope)
        recent = list(self._recent)
        work = partial(support_of_question, question, recent, rules=self._costs(), past=past)
        return await self._view(work, "")

    # --- how it is done -----------------------------------------------------------

    async def _view(self, work: Callable[..., Support], trouble: str) -> View:
        picture, now_us = self._hub.picture, self._clock.wall_us()
        support: Support | None = None
        if self._waiting >= _AT_ONCE:
            trouble = "too many ask for the analysis at once"
        else:
            self._waiting += 1
            made = asyncio.get_running_loop().run_in_executor(
                self._thread, self._worked_out, work, picture
            )
            made.add_done_callback(self._done)
            try:
                support = await asyncio.wait_for(asyncio.shield(made), _WITHIN_S)
            except TimeoutError:
                trouble = "the analysis did not come in time"
            except Exception as error:  # noqa: BLE001 - of hostile words: the page is shown without
                trouble = f"the analysis failed: a defect of ours: {type(error).__name__}"
        return View(support, now_us, picture.live, trouble)

    def _done(self, made: asyncio.Future[Support]) -> None:
        self._waiting -= 1
        if not made.cancelled():
            made.exception()  # whoever waited has heard it; nobody else is to be told

    def _worked_out(self, work: Callable[..., Support], picture: Picture) -> Support:
        return work(targets=list(self._reached(picture)))

    def _reached(self, picture: Picture) -> Iterable[Reached]:
        for row in picture.targets.values():
            impact = self._impacts.get(row.name, {})
            yield Reached(row.name, row.labels, row.state, row.latched, impact)

    def _costs(self) -> list[RuleCost]:
        """Give what each rule says; the desk knows those in force, the file those of the start."""
        said = dict(self._rules)
        for row in self._hub.picture.desk.rules:
            name = str(row.get("rule", ""))
            cost = str(row.get("false_stop_cost", ""))
            said[name] = RuleCost(name, str(row.get("scope", "")), cost)
        return list(said.values())

    async def _read(self, missing: list[int], entries: dict[int, ShownEntry]) -> str:
        """Fetch older entries; say what is missing."""
        try:
            said = await self._archive.ask({"op": "pick", "indexes": missing}, _READ_WITHIN_S)
        except OffswitchError as error:
            return f"older entries are not shown: {error.message}"
        for row in said["entries"]:
            entry = ShownEntry(row["index"], row["public"], row["sealed"], row["intact"])
            entries[entry.index] = entry
        return ""


def _impact(said: StopImpact) -> dict[str, str]:
    return {
        "who": said.who,
        "harm": said.harm,
        "bearable": format_duration(said.bearable),
        "told by": said.told_by,
    }
