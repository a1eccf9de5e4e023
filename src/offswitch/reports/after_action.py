"""The after-action report: what happened, each fact with the entry that says it (REP-3, DRL-9).

It is made of one incident, of the entries that it cites and of the head of the ledger that they
were read under, and of nothing else: no clock, no configuration, nothing that is remembered.
The same head gives the same report, byte for byte.

A *fact* is one thing that an entry says, with the number of that entry and the field. What
follows from several (the state, the severity, a delay) names all of them and the rule by which it
follows. What a person wrote, or a rule gave as its reason, is an *opinion*, and marked as one:
that it was said is a fact, that it is so is not. What could not be confirmed stands in a list of
its own, and what was erased later says so.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from offswitch.ledger.reader import ShownEntry
from offswitch.reports.acts import COOPERATIVE
from offswitch.reports.incident import Event, Incident, Layer

__all__ = ["Cited", "Fact", "Head", "Line", "Report", "cited", "clock", "length", "report_of"]

_LONGEST_ENTRY = 4000
_MOST_FINDINGS = 20
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST_US = 253_402_300_799_999_999
_NOT_LOOKED_FOR = "not looked for: it is cooperative"
_RULE = "by rule of the report"
_OURS = frozenset({"receipt", "moved"})
"""Kinds whose sealed words are the warden's and the observer's own."""


@dataclass(frozen=True, slots=True)
class Head:
    """The ledger that a report was made from: its first `size` entries."""

    origin: str
    size: int
    root: str
    """The root of their Merkle tree, hex."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that entries say."""

    name: str
    value: str
    """For people; hostile text included."""
    entries: tuple[int, ...]
    """Who says it, never empty."""
    field: str
    """Which field: `scope`, `sealed.reason`; or the rule by which it follows from them."""
    raw: str | int | None = None
    """What the field holds, where it is one field of one entry."""
    opinion: bool = False
    """Whether it is what somebody wrote."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the timeline."""

    time_us: int
    """When it happened, UTC in microseconds."""
    fact: Fact
    by: str | None
    """Who; None: nobody, or erased."""
    words: Fact | None
    """What stands sealed in it: an opinion where somebody wrote it, else what one of ours saw."""


@dataclass(frozen=True, slots=True)
class Cited:
    """One entry of the appendix."""

    index: int
    time_us: int
    text: str
    """Its public half, as JSON, cut where it is very long."""
    cut: int
    """How many characters were left out."""
    intact: bool
    """Whether it still has the hash that was recorded for it."""


@dataclass(frozen=True, slots=True)
class Report:
    """One report."""

    incident: Incident
    head: Head
    facts: tuple[Fact, ...]
    """What happened, in short."""
    doubts: tuple[Fact, ...]
    """What could not be confirmed, was not recorded, was erased or is damaged."""
    orders: tuple[Fact, ...]
    layers: tuple[Fact, ...]
    happened: tuple[Fact, ...]
    """What was in flight or queued when it was stopped, as hands list it (ACT-9)."""
    reissue: tuple[Fact, ...]
    """What a person has to make anew before it can work again (RST-8)."""
    evidence: tuple[Fact, ...]
    """What findings rest on, and the files that were kept."""
    timeline: tuple[Line, ...]
    opinions: tuple[Fact, ...]
    """What people noted, and how it was closed."""
    appendix: tuple[Cited, ...]

    @property
    def every(self) -> tuple[Fact, ...]:
        """All facts of all parts."""
        told = tuple(line.fact for line in self.timeline)
        words = tuple(line.words for line in self.timeline if line.words is not None)
        acts = (self.facts, self.doubts, self.orders, self.layers, self.happened, self.reissue)
        parts = (*acts, self.evidence, told, words, self.opinions)
        return tuple(fact for part in parts for fact in part)

    def as_dict(self) -> dict[str, Any]:
        """Give what JSON has of it."""
        return {
            "incident": self.incident.id,
            "head": asdict(self.head),
            "facts": [asdict(one) for one in self.facts],
            "delays": self.incident.delays.as_dict(),
            "doubts": [asdict(one) for one in self.doubts],
            "orders": [asdict(one) for one in self.orders],
            "layers": [asdict(one) for one in self.layers],
            "happened": [asdict(one) for one in self.happened],
            "reissue": [asdict(one) for one in self.reissue],
            "evidence": [asdict(one) for one in self.evidence],
            "timeline": [asdict(one) for one in self.timeline],
            "left_out": dict(self.incident.left_out),
            "opinions": [asdict(one) for one in self.opinions],
            "appendix": [asdict(one) for one in self.appendix],
        }


def cited(incident: Incident) -> list[int]:
    """List the entries that a report of it cites: those that `report_of` wants."""
    own = {event.index for event in incident.events} | set(incident.also)
    notes = {note.index for note in incident.notes}
    ends = {incident.last_in, incident.opened_in, incident.aware_in}
    resets = {index for index in (incident.reset_in,) if index is not None}
    closing = {incident.closing.index} if incident.closing is not None else set()
    return sorted(own | notes | ends | resets | closing)


def report_of(incident: Incident, entries: Mapping[int, ShownEntry], head: Head) -> Report:
    """Make the report of one incident; `entries` holds at least those that `cited` lists."""
    made = _Making(incident, entries)
    return Report(
        incident=incident,
        head=head,
        facts=tuple(made.facts()),
        doubts=tuple(made.doubts()),
        orders=tuple(made.orders()),
        layers=tuple(made.layer(one) for one in incident.layers),
        happened=tuple(made.listed("happened")),
        reissue=tuple(made.listed("reissue")),
        evidence=tuple(made.evidence()),
        timeline=tuple(made.line(event) for event in incident.events),
        opinions=tuple(made.opinions()),
        appendix=tuple(_cited(entries[index]) for index in cited(incident) if index in entries),
    )


class _Making:
    """Makes the parts of one report."""

    def __init__(self, incident: Incident, entries: Mapping[int, ShownEntry]) -> None:
        self._of = incident
        self._entries = entries

    def _public(self, index: int) -> Mapping[str, Any]:
        entry = self._entries.get(index)
        if entry is None:
            return {}
        hidden = entry.sealed.get("public")
        return {**entry.public, **hidden} if isinstance(hidden, dict) else entry.public

    def _said(self, name: str, index: int, field: str, *, opinion: bool = False) -> Fact:
        """Make a fact of one field of one entry, as it stands there."""
        raw: Any
        if field.startswith("sealed."):
            entry = self._entries.get(index)
            key = field.removeprefix("sealed.")
            sealed: Mapping[str, Any] = {} if entry is None else entry.sealed
            raw = sealed.get(key)
            shown = "(erased)" if key in sealed and raw is None else "(not said)"
        else:
            raw, shown = self._public(index).get(field), "(not said)"
        if type(raw) is int and field.endswith("_us"):
            shown = clock(raw)
        elif isinstance(raw, str):
            shown = raw or shown
        elif raw is not None:
            shown = json.dumps(raw, ensure_ascii=False, sort_keys=True)
        kept = raw if isinstance(raw, str | int) else None
        return Fact(name, shown, (index,), field, kept, opinion)

    # --- in short -----------------------------------------------------------------

    def facts(self) -> Iterator[Fact]:
        """Say what happened, in the order in which one asks."""
        of = self._of
        yield self._follows("sort", of.sort.value, self._sort_in())
        yield self._follows("state", of.state.value, self._state_in())
        grade = f"{of.severity.value}: {of.severity_why}"
        yield self._follows("severity", grade, (of.severity_in,))
        yield self._said("scope", of.opened_in, "scope")
        if of.orders:
            yield from self._first_stop()
        else:
            yield self._said("opened by", of.opened_in, "sealed.by")
        how = {"a finding": "found_us", "a decision": "decided_us", "a stop": "given_us"}
        field = how.get(of.aware_how, "time_us")
        if self._public(of.aware_in).get(field) == of.aware_us:
            yield self._said("known since", of.aware_in, field)
        else:
            text = f"{clock(of.aware_us)}, by {of.aware_how}"
            yield self._follows("known since", text, (of.aware_in,))
        yield self._said("opened", of.opened_in, "time_us")
        yield self._follows(
            "targets", _listed(of.targets, of.target_count), tuple(o.index for o in of.orders)
        )
        if of.moved:
            moved = tuple(event.index for event in of.events if event.kind == "moved")
            yield self._follows("lived again", f"{of.moved} times", moved or (of.last_in,))
        if of.trips:
            text = f"{of.trips} times, on probation after a reset"
            yield self._follows("stopped again", text, tuple(o.index for o in of.orders))
        yield from self._end()

    def _first_stop(self) -> Iterator[Fact]:
        first = self._of.orders[0]
        yield self._said("first stop", first.index, "digest")
        yield self._said("level", first.index, "level")
        yield self._said("over", first.index, "channel")
        yield self._said("stopped by", first.index, "sealed.by")
        yield self._said("reason", first.index, "sealed.reason", opinion=True)

    def _end(self) -> Iterator[Fact]:
        of = self._of
        if of.reset_in is not None:
            yield self._said("reset", of.reset_in, "time_us")
            yield self._said("reset by", of.reset_in, "sealed.by")
            yield self._said("cause, at the reset", of.reset_in, "sealed.reason", opinion=True)
        elif of.live:
            live = tuple(order.index for order in of.orders if order.live)
            yield self._follows("still latched", f"{of.live_count} stops are live", live)
        if of.closing is not None:
            yield self._said("closed", of.closing.index, "time_us")
            yield self._said("closed by", of.closing.index, "sealed.by")
            yield self._said("outcome", of.closing.index, "outcome")

    def _sort_in(self) -> tuple[int, ...]:
        of = self._of
        return (of.opened_in,) if of.closing is None else (of.opened_in, of.closing.index)

    def _state_in(self) -> tuple[int, ...]:
        of = self._of
        if of.closing is not None:
            return (of.closing.index,)
        if of.reset_in is not None:
            return (of.reset_in,)
        latest = of.unconfirmed or of.layers
        return tuple(one.index for one in latest) or (of.opened_in,)

    def _follows(self, name: str, value: str, entries: tuple[int, ...]) -> Fact:
        known = tuple(dict.fromkeys(index for index in entries if index in self._entries))
        return Fact(name, value, known or (self._of.opened_in,), _RULE)

    # --- what is not sure ---------------------------------------------------------

    def doubts(self) -> Iterator[Fact]:
        """List what could not be confirmed, and what of the record is not whole."""
        of = self._of
        for one in of.unconfirmed:
            text = f"{one.layer} of {one.target} was commanded and not observed"
            yield Fact("not confirmed", text, (one.index,), "confirmed", "no")
            if one.detail:
                yield self._said("what may still act", one.index, "sealed.detail")
        for one in of.layers:
            if one.missed_in is not None and one.confirmed:
                text = f"{one.layer} of {one.target} was not observed in time, and was later"
                yield self._follows("late", text, (one.missed_in, one.index))
        for target in of.silent:
            text = f"{target} was covered, and no receipt of a layer that counts tells of it"
            orders = tuple(order.index for order in of.orders)
            yield self._follows("not confirmed", text, orders)
        for order in of.orders:
            if not self._public(order.index).get("prior"):
                text = f"the stop of {order.scope} covered nothing when it came"
                yield self._follows("covered nothing", text, (order.index,))
        if of.layers_left_out:
            text = f"{of.layers_left_out} receipts of more layers than are listed"
            yield self._follows("left out", text, (of.last_in,))
        for kind, count in of.left_out.items():
            text = f"{count} of {of.counts[kind]} entries of kind {kind} stand in the ledger alone"
            shown = [event.index for event in of.events if event.kind == kind]
            yield self._follows("left out", text, (shown[0], shown[-1]))
        for segment in of.delays.segments:
            if segment.us is None:
                at = [m.index for m in (segment.begin, segment.end) if m is not None]
                text = f"how long it took: {segment.step.value}"
                yield self._follows("UNKNOWN", text, tuple(at))
        yield from self._gaps()

    def _gaps(self) -> Iterator[Fact]:
        for event in self._of.events:
            if event.kind == "gap":
                yield self._said("not recorded", event.index, "what")
        for index in cited(self._of):
            entry = self._entries.get(index)
            if entry is None:
                yield Fact("missing", f"entry {index} could not be read", (index,), _RULE)
                continue
            if not entry.intact:
                text = "it no longer has the hash that was recorded: offswitch ledger verify"
                yield Fact("damaged", text, (index,), _RULE)
            gone = sorted(key for key, value in entry.sealed.items() if value is None)
            if gone:
                yield Fact("erased", ", ".join(gone), (index,), _RULE)

    # --- in full ------------------------------------------------------------------

    def orders(self) -> Iterator[Fact]:
        """List the stops, each with what was given as its reason."""
        for one in self._of.orders:
            live = "live" if one.live else "cleared"
            many = f", given {one.times} times" if one.times > 1 else ""
            text = f"{one.level} of {one.scope}, given {clock(one.given_us)}{many}; {live}"
            yield Fact("stop", text, (one.index,), "digest", one.digest)
            yield self._said("by", one.index, "sealed.by")
            if one.reason:
                yield self._said("reason", one.index, "sealed.reason", opinion=True)

    def layer(self, one: Layer) -> Fact:
        """Say what one layer did."""
        seen = "not needed: put off by the plan" if one.layer != COOPERATIVE else _NOT_LOOKED_FOR
        seen = "NOT confirmed" if one.counted else seen
        if one.confirmed:
            seen = "confirmed"
            if one.effect_us is not None:
                seen += f" {length(one.effect_us - one.commanded_us)} later"
        text = f"{one.layer}: commanded {clock(one.commanded_us)}, {seen}"
        first = () if one.seen_in in {None, one.index} else (one.seen_in or 0,)
        confirmed = "yes" if one.confirmed else "no"
        return Fact(one.target, text, (*first, one.index), "confirmed", confirmed)

    def listed(self, what: str) -> Iterator[Fact]:
        """List what hands say was in flight (`happened`), or has to be made anew (`reissue`)."""
        for one in self._of.acted:
            for index, text in one.happened if what == "happened" else one.reissue:
                name = f"{one.layer} of {one.target}, by {one.actuator}"
                yield Fact(name, text, (index,), f"sealed.{what}", text)

    def evidence(self) -> Iterator[Fact]:
        """Give what the first findings rest on, and which files were kept of what was stopped."""
        findings = [event.index for event in self._of.events if event.kind == "finding"]
        for index in findings[:_MOST_FINDINGS]:
            entry = self._entries.get(index)
            said = {} if entry is None else entry.sealed.get("evidence")
            for key, value in sorted(said.items()) if isinstance(said, dict) else ():
                yield Fact(str(key), str(value), (index,), "sealed.evidence", str(value))
        for event in self._of.events:
            kept = self._public(event.index).get("kept") if event.kind == "evidence" else None
            for name, digest in sorted(kept.items()) if isinstance(kept, dict) else ():
                yield Fact(f"file {name}", f"sha256 {digest}", (event.index,), "kept", str(digest))

    def line(self, event: Event) -> Line:
        """Say one line of the timeline."""
        fact = Fact(event.kind, event.what, (event.index,), "kind", event.kind)
        words = None
        if event.words:
            field = self._field_of(event.index, event.words)
            wrote = event.kind not in _OURS
            words = Fact("words", event.words, (event.index,), field, event.words, opinion=wrote)
        return Line(event.time_us, fact, event.by, words)

    def _field_of(self, index: int, words: str) -> str:
        entry = self._entries.get(index)
        for key, value in sorted(entry.sealed.items()) if entry is not None else ():
            if isinstance(value, str) and value.startswith(words):
                return f"sealed.{key}"
        return _RULE

    def opinions(self) -> Iterator[Fact]:
        """Give what people noted and concluded: what they say, not what is so."""
        of = self._of
        for note in of.notes:
            yield self._said("note", note.index, "sealed.text", opinion=True)
        for event in of.events:
            if event.kind == "incident" and self._public(event.index).get("what") == "handed over":
                yield self._said("handed over to", event.index, "sealed.to", opinion=True)
        if of.closing is None:
            return
        yield self._said("cause", of.closing.index, "sealed.cause", opinion=True)
        for action in of.closing.actions:
            yield Fact(
                "action", action, (of.closing.index,), "sealed.actions", action, opinion=True
            )


def _cited(entry: ShownEntry) -> Cited:
    text = json.dumps(entry.public, ensure_ascii=False, sort_keys=True, indent=1)
    time_us = entry.public.get("time_us")
    return Cited(
        index=entry.index,
        time_us=time_us if type(time_us) is int else 0,
        text=text[:_LONGEST_ENTRY],
        cut=max(len(text) - _LONGEST_ENTRY, 0),
        intact=entry.intact,
    )


def _listed(names: tuple[str, ...], count: int, most: int = 20) -> str:
    if not count:
        return "none"
    more = f" and {count - most} more" if count > most else ""
    return ", ".join(names[:most]) + more


def clock(time_us: int) -> str:
    """Write a moment: UTC, to the microsecond."""
    if not 0 <= time_us <= _LATEST_US:
        return f"{time_us} us"
    moment = _EPOCH + timedelta(microseconds=time_us)
    return moment.strftime("%Y-%m-%d %H:%M:%S.%f UTC")


def length(us: int | None) -> str:
    """Write a length of time so that it is read at a glance, and loses nothing."""
    if us is None:
        return "UNKNOWN"
    sign, us = ("-", -us) if us < 0 else ("", us)
    seconds, rest = divmod(us, 1_000_000)
    if seconds:
        return f"{sign}{seconds:,}.{rest:06} s".replace(",", "\u2009")
    return f"{sign}{rest // 1000}.{rest % 1000:03} ms"
