"""One incident while it grows: what was taken in so far, in bounded room.

Of each kind of entry the first and the last are kept, and counted what lies between, so that
nobody who writes a million findings can push out the one that mattered, or make a page long.
`incident` gives the value as of now; it is made anew only when something came.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from offswitch.model.entry import EntryKind
from offswitch.model.level import Level
from offswitch.reports.acts import COOPERATIVE, Acts, counts
from offswitch.reports.incident import (
    Acted,
    Closing,
    Event,
    Incident,
    IncidentState,
    Layer,
    Note,
    Outcome,
    Severity,
    Sort,
    StopOrder,
    What,
)
from offswitch.reports.said import Said

__all__ = ["MOST_SCOPES", "Case"]

_KEPT = 40
_KEPT_OF_PEOPLE = 1000
_MOST_ORDERS = 500
MOST_SCOPES = 2000
"""So many scopes of its stops an incident lists, and is found by."""
_MOST_TARGETS = 20_000
_SHOWN_LAYERS = 2000
_SHOWN_TARGETS = 2000
_MOST_NOTES = 500
_MOST_ACTED = 500
"""Hands of which it is kept what they did."""
_MOST_LISTED = 400
_LONGEST = 2000
_BELIEVED_US = 600_000_000
"""How much earlier than the warden took it a press may say that it was given."""

_LEVELS = {level.label: level for level in Level}
_BASE = {
    Level.RESTRICT: Severity.LOW,
    Level.DRAIN: Severity.LOW,
    Level.FREEZE: Severity.MEDIUM,
    Level.KILL: Severity.HIGH,
    Level.POWEROFF: Severity.CRITICAL,
}
_OF_PEOPLE = frozenset({EntryKind.INCIDENT.value, EntryKind.RESET.value, EntryKind.PAGE.value})


@dataclass(slots=True)
class _Kept:
    """Events of one kind: the first, the last, and how many there were."""

    most: int
    """How many of the first, and as many of the last."""
    first: list[Event] = field(default_factory=list)
    last: deque[Event] | None = None
    """None while there are no more than the first: most incidents are small."""
    count: int = 0

    def add(self, event: Event) -> None:
        """Keep one more."""
        self.count += 1
        if len(self.first) < self.most:
            self.first.append(event)
            return
        if self.last is None:
            self.last = deque(maxlen=self.most)
        self.last.append(event)

    @property
    def shown(self) -> list[Event]:
        """Those that are kept."""
        return [*self.first, *(self.last or ())]


@dataclass(slots=True)
class _Order:
    """A stop of it."""

    digest: str
    scope: str
    level: str
    index: int
    given_us: int
    by: str | None
    reason: str
    times: int = 1


class Case:
    """One incident that grows."""

    def __init__(self, name: str, sort: Sort, said: Said, scope: str, title: str, why: str) -> None:
        """Open it by the entry `said`."""
        self.name = name
        self.sort = sort
        self.scope = scope
        self.title = title
        self.why = why
        self.opened_in = said.index
        self.opened_us = said.time_us
        self.opened_by = said.by
        self.source = ""
        """Of a near miss: who saw it."""
        self.aliases: list[str] = []
        self.scopes: dict[str, None] = {}
        self.live: set[str] = set()
        self.targets: dict[str, None] = {}
        self.reset_us: int | None = None
        self.closing: Closing | None = None
        self.last_us = said.time_us
        self.last_in = said.index
        self._aware = (said.time_us, said.index, "it was opened")
        self._severity = (Severity.LOW, "nothing was stopped", said.index)
        self._unseen = False
        self._graded = False
        self._reset_in: int | None = None
        self._lead: str | None = None
        self._level: Level | None = None
        self._episode = 0
        self._moved = 0
        self._orders: dict[str, _Order] = {}
        self._kept: dict[str, _Kept] = {}
        self._acts = Acts()
        self._covered: dict[str, None] = {}
        """What its stops cover since the last reset of all of them."""
        self._told: set[str] = set()
        """Targets of which a receipt tells since then."""
        self._watched: set[str] = set()
        """Those of which the receipt of a layer that counts does."""
        self._notes: list[Note] = []
        self._acted: dict[tuple[str, str], Acted] = {}
        self._value: Incident | None = None

    # --- taking in ----------------------------------------------------------------

    def add(self, said: Said, what: str, time_us: int | None = None, words: str = "") -> None:
        """Put an entry on the timeline."""
        self._value = None
        self.last_us, self.last_in = max(self.last_us, said.time_us), said.index
        at_us = said.time_us if time_us is None else time_us
        self._keep(Event(said.index, at_us, said.kind, what[:_LONGEST], said.by, words))

    def _keep(self, event: Event) -> None:
        kept = self._kept.get(event.kind)
        if kept is None:
            most = _KEPT_OF_PEOPLE if event.kind in _OF_PEOPLE else _KEPT
            kept = self._kept[event.kind] = _Kept(most)
        kept.add(event)

    def aware(self, time_us: int, index: int, how: str) -> None:
        """Somebody, or a rule, knew at that moment: the first counts."""
        if (time_us, index) < self._aware[:2] or self._aware[2] == "it was opened":
            self._aware = (time_us, index, how)

    def finding(self, said: Said) -> None:
        """A detector claims something on one of its targets."""
        found_us = said.number("found_us") or said.time_us
        state, what = said.text("state"), said.text("what")
        self.add(said, f"{state or 'finding'} on {said.text('target')}: {what}", found_us)
        if state == "trip":
            self.aware(found_us, said.index, "a finding")
            self._acts.tripped(said, found_us)

    def decision(self, said: Said) -> None:
        """A rule, or a person, decided something about it."""
        decided_us = said.number("decided_us") or said.time_us
        choice = said.text("choice")
        self.add(said, f"{choice}: {said.text('why')}", decided_us)
        if choice in {"stop", "ask", "would-stop"}:
            self.aware(decided_us, said.index, "a decision")
        if choice == "stop":
            self._acts.decided(said, decided_us)

    def order(self, said: Said, digest: str, targets: Iterable[str]) -> None:
        """A stop belongs to it; its targets are those that it covered."""
        scope, level = said.text("scope"), said.text("level")
        accepted_us = said.number("accepted_mono_us")
        accepted = None if accepted_us is None else said.at_mono(accepted_us, "accepted_mono_us")
        taken_us = said.time_us if accepted is None else accepted.wall_us
        given_us = said.number("given_us")
        if given_us is None or not taken_us - _BELIEVED_US <= given_us <= taken_us:
            given_us = taken_us  # its giver's clock is another one, or it lies
        again = self.reset_us is not None and not self.live
        reason = said.words("reason") or ""
        known = self._orders.get(digest)
        covered = list(targets)
        if known is not None:
            known.times += said.number("times") or 1
        elif len(self._orders) < _MOST_ORDERS:
            self._orders[digest] = _Order(
                digest, scope, level, said.index, given_us, said.by, reason
            )
        self._acts.ordered(said, digest, given_us, accepted, covered)
        if again:
            self._covered, self._told, self._watched = {}, set(), set()
        self.live.add(digest)
        if len(self.scopes) < MOST_SCOPES:
            self.scopes[scope] = None
        for target in covered[:_MOST_TARGETS]:
            if len(self.targets) < _MOST_TARGETS:
                self.targets[target] = None
                self._covered[target] = None
        many = f", {said.number('times')} times" if said.number("times") else ""
        self.add(
            said, f"stop ({level}) of {scope} over {said.text('channel')}{many}", given_us, reason
        )
        self.aware(given_us, said.index, "a stop")
        self._stopped(said, _LEVELS.get(level), covers=bool(covered), again=again)

    def _stopped(self, said: Said, level: Level | None, *, covers: bool, again: bool) -> None:
        if self.sort in {Sort.NEAR_MISS, Sort.REPORTED}:
            self.sort = Sort.STOP
        if level is not None and (self._level is None or level > self._level):
            self._level = level
            grade = _BASE[level] if covers else Severity.LOW
            self._raise_to(grade, level.label if covers else "it covered nothing", said.index)
        elif level is not None and covers:
            self._raise_to(_BASE[level], level.label, said.index)
        if again:
            self._episode += 1
            self.reset_us = self._reset_in = None
            self._raise(1, "it tripped again on probation", said.index)

    def _raise_to(self, grade: Severity, why: str, index: int) -> None:
        ladder = list(Severity)
        fresh = self._severity[1] == "nothing was stopped"
        if not self._graded and (fresh or ladder.index(grade) > ladder.index(self._severity[0])):
            self._severity = (grade, why, index)
            self._raise(1 if self._unseen else 0, "not confirmed at first", index)

    def _raise(self, steps: int, why: str, index: int) -> None:
        if steps:
            before, reasons, _index = self._severity
            said = reasons if why in reasons.split("; ") else f"{reasons}; {why}"
            self._severity = (before.raised(steps), said, index)

    def receipt(self, said: Said) -> None:
        """One layer has acted on one of its targets."""
        target, layer = said.text("target"), said.text("layer")
        confirmed = said.text("confirmed") == "yes"
        counted = counts(said)
        missing = "NOT seen" if counted else "not needed: put off by the plan"
        missing = "which is cooperative" if layer == COOPERATIVE else missing
        seen = "seen" if confirmed else missing
        self.add(said, f"{layer} of {target}: commanded, {seen}", None, said.words("detail") or "")
        self._acts.receipt(said, self._episode)
        self._told.add(target)
        if counted:
            self._watched.add(target)
        if not confirmed and counted and not self._unseen:
            self._unseen = True
            if not self._graded:
                self._raise(1, "not confirmed at first", said.index)

    def acted(self, said: Said) -> None:
        """A hand says what it has done, what was in flight, and what is to be made anew."""
        key = (said.text("target"), said.text("actuator"))
        known = self._acted.get(key)
        if known is None and len(self._acted) >= _MOST_ACTED:
            return
        happened, reissue = said.word_list("happened"), said.word_list("reissue")
        before = ((), ()) if known is None else (known.happened, known.reissue)
        self._acted[key] = Acted(
            target=key[0],
            layer=said.text("layer"),
            actuator=key[1],
            index=said.index,
            done=said.text("done") == "yes",
            happened=_more(before[0], happened, said.index),
            reissue=_more(before[1], reissue, said.index),
        )

    def moved(self, said: Said) -> None:
        """Something of it lived again."""
        self._moved += 1
        self.add(
            said,
            f"{said.text('target')} lived again, and was stopped again",
            None,
            said.words("what") or "",
        )

    def cleared(self, said: Said, digests: Iterable[str]) -> bool:
        """A reset clears some of its stops; gives whether none is live any more."""
        self.live.difference_update(digests)
        if self.live or self.reset_us is not None:
            return not self.live
        self.reset_us, self._reset_in = said.time_us, said.index
        return True

    def person(self, said: Said) -> None:
        """A person does something about the incident itself."""
        what = said.text("what")
        text = said.words("text")
        match what:
            case What.GRADED:
                self._grade(said)
                shown = f"graded {said.text('severity')}"
                self.add(said, shown, None, said.words("reason") or "")
            case What.HANDED_OVER:
                self._lead = said.words("to")
                self.add(said, "handed over", None, self._lead or "")
            case What.CLOSED:
                self._close(said)
            case _:
                if what == What.NOTED and len(self._notes) < _MOST_NOTES:
                    self._notes.append(Note(said.index, said.time_us, said.by, text))
                self.add(said, what, None, text or said.words("reason") or "")

    def _grade(self, said: Said) -> None:
        try:
            grade = Severity(said.text("severity"))
        except ValueError:
            return
        self._graded = True
        self._severity = (grade, "graded by a person", said.index)

    def opened_by_person(self, said: Said) -> None:
        """It begins with a person's word; a severity given there stands."""
        self._grade(said)
        self.scopes[self.scope] = None
        self.aware(said.time_us, said.index, "a person")
        self.add(said, f"opened for {self.scope}", None, said.words("reason") or "")

    def _close(self, said: Said) -> None:
        try:
            outcome = Outcome(said.text("outcome"))
        except ValueError:
            outcome = Outcome.NEAR_MISS if self.sort is Sort.NEAR_MISS else Outcome.STOP
        cause = said.words("cause")
        actions = said.word_list("actions")
        self.closing = Closing(said.index, said.time_us, said.by, outcome, cause, actions)
        stopped = self._level is not None
        if outcome is Outcome.FALSE_STOP and stopped:
            self.sort = Sort.FALSE_STOP
        elif outcome is Outcome.NEAR_MISS and not stopped:
            self.sort = Sort.NEAR_MISS
        elif stopped:
            self.sort = Sort.STOP
        self.add(said, f"closed: {outcome.value}", None, cause or "")

    def absorb(self, near: Case) -> None:
        """A near miss was the beginning of this one."""
        self.aliases += [near.name, *near.aliases]
        known = {one.index for kept in self._kept.values() for one in kept.shown}
        for kind, kept in near._kept.items():
            shown = kept.shown
            for event in shown:
                if event.index not in known:
                    self._keep(event)
            if kept.count > len(shown):
                self._kept[kind].count += kept.count - len(shown)
        self._acts.precede(near._acts)
        self._notes = near._notes + self._notes
        time_us, index, how = near._aware
        self.aware(time_us, index, how)
        self._value = None

    # --- the value ----------------------------------------------------------------

    def incident(self) -> Incident:
        """Give it as it stands."""
        if self._value is None:
            self._value = self._made()
        return self._value

    def _made(self) -> Incident:
        events = [one for kept in self._kept.values() for one in kept.shown]
        layers = self._acts.layers()
        counts = {kind: kept.count for kind, kept in sorted(self._kept.items())}
        shown = {kind: len(kept.shown) for kind, kept in self._kept.items()}
        grade, why, graded_in = self._severity
        delays = self._acts.delays()
        cited = {graded_in, self._aware[1], self.opened_in}
        cited |= {one.index for one in layers} | {one.seen_in for one in layers if one.seen_in}
        cited |= {one.index for one in self._orders.values()}
        cited |= {one.missed_in for one in layers if one.missed_in is not None}
        cited |= {at for one in self._acted.values() for at, _ in (*one.happened, *one.reissue)}
        cited |= {m.index for s in delays.segments for m in (s.begin, s.end) if m is not None}
        return Incident(
            id=self.name,
            sort=self.sort,
            state=self._state(layers),
            severity=grade,
            severity_why=why,
            severity_in=graded_in,
            title=self.title,
            why=self.why,
            scope=self.scope,
            scopes=tuple(sorted(self.scopes)),
            level=self._level.label if self._level is not None else "",
            opened_us=self.opened_us,
            opened_in=self.opened_in,
            opened_by=self.opened_by,
            aware_us=self._aware[0],
            aware_in=self._aware[1],
            aware_how=self._aware[2],
            reset_us=self.reset_us,
            reset_in=self._reset_in,
            lead=self._lead,
            targets=tuple(sorted(self.targets)[:_SHOWN_TARGETS]),
            target_count=len(self.targets),
            orders=tuple(self._order(one) for one in self._orders.values()),
            live=tuple(sorted(self.live)[:_MOST_ORDERS]),
            live_count=len(self.live),
            layers=tuple(layers[:_SHOWN_LAYERS]),
            layers_left_out=max(len(layers) - _SHOWN_LAYERS, 0) + self._acts.left_out,
            events=tuple(sorted(events, key=lambda one: (one.time_us, one.index))),
            counts=counts,
            left_out={kind: n - shown[kind] for kind, n in counts.items() if n > shown[kind]},
            notes=tuple(self._notes),
            closing=self.closing,
            delays=delays,
            moved=self._moved,
            trips=self._episode,
            silent=tuple(sorted(self._covered.keys() - self._watched)[:_SHOWN_TARGETS]),
            last_us=self.last_us,
            last_in=self.last_in,
            aliases=tuple(self.aliases),
            acted=tuple(self._acted[key] for key in sorted(self._acted)),
            also=tuple(sorted(cited - {one.index for one in events})),
        )

    def _order(self, one: _Order) -> StopOrder:
        return StopOrder(
            digest=one.digest,
            scope=one.scope,
            level=one.level,
            index=one.index,
            given_us=one.given_us,
            by=one.by,
            reason=one.reason,
            live=one.digest in self.live,
            times=one.times,
        )

    def _state(self, layers: Iterable[Layer]) -> IncidentState:
        if self.closing is not None:
            return IncidentState.CLOSED
        if not self.live:
            return IncidentState.OPEN if self.reset_us is None else IncidentState.RESET
        if not self._covered or any(one.counted and not one.confirmed for one in layers):
            return IncidentState.UNCONFIRMED
        if self._covered.keys() - self._told:
            return IncidentState.COMMANDED
        silent = self._covered.keys() - self._watched
        return IncidentState.UNCONFIRMED if silent else IncidentState.CONFIRMED


def _more(
    known: tuple[tuple[int, str], ...], listed: tuple[str, ...], index: int
) -> tuple[tuple[int, str], ...]:
    """Add what was not listed before; a command that is given again lists the same again."""
    texts = {text for _at, text in known}
    return (*known, *((index, one) for one in listed if one not in texts))[:_MOST_LISTED]
