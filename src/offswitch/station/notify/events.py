"""From the record to notices: a fold over entries, without input, output or clock.

    order       opens an incident, or belongs to one: what a stop of it covers, or lies over; what
                was reset less than half an hour ago (a re-trip); and what no person began within
                half a minute of another one, so that a cascade is one page, named by its first
    receipt, page: not confirmed, moved       what was seen of each target: the word for it
    reset       waits for a person; is done: whoever placed a cleared stop is told (SR-18)
    bypass      its end is told a quarter of an hour before
    drill, ticket      failed; came in, waits, overdue
    note: readiness    a layer has fallen, or is well again (`fallen`)

`take` only remembers; `due` gives what is to be told now. Something new, or worse, is told at
once, the rest every two seconds at first and ever more rarely: two hundred stops are one page that
grows. Given the same entries again it says the same, so a station that starts anew folds what was
told already, silently, and goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from offswitch.config.notify import Event
from offswitch.ledger.reader import ShownEntry
from offswitch.model.entry import EntryKind
from offswitch.reports.rooms import is_drill
from offswitch.reports.said import Said
from offswitch.station.notify.context import Context, command
from offswitch.station.notify.fallen import Fallen
from offswitch.station.notify.notice import Notice, Page, Phase
from offswitch.station.notify.pages import incident_page, reset_page, ticket_page
from offswitch.station.notify.places import Places
from offswitch.station.notify.threads import Incident, Stop

__all__ = ["PROBATION_US", "Events"]

PROBATION_US = 1_800_000_000
"""How long what was reset is on probation: a stop within it is told as a re-trip."""
_CASCADE_US = 30_000_000
"""What machines stop so soon after each other is one cascade."""
_REST_US = 2_000_000
_LONGEST_REST_US = 60_000_000
_QUICK = 4
"""So often a thread is told every two seconds; then half as often each time."""
_AHEAD_US = 900_000_000
_MOST_INCIDENTS = 2000
_MOST_PLACES = 200_000
_MANY = 200
_PERSONS = ("person:", "uid:", "device:", "token:", "name:")
_PAGED = "page: not confirmed"
_TELL = "tell first"
_LASTING = ("bypass for ", "shelve for ")


@dataclass(slots=True)
class _Lowered:
    """Something that is lowered, until when."""

    what: str
    thread: str
    tell_us: int
    until_us: int
    told: bool = False


class Events:
    """Folds entries into notices."""

    def __init__(self, context: Context) -> None:
        """Begin before anything has happened."""
        self._context = context
        self._incidents: dict[str, Incident] = {}
        self._by_digest: dict[str, Incident] = {}
        self._places = Places()
        self._latest: Incident | None = None
        """The latest that no person began."""
        self._lowered: dict[tuple[str, str, str], _Lowered] = {}
        self._drills: set[str] = set()
        self._fallen = Fallen(context)
        self._out: list[Notice] = []
        self._kinds: Mapping[str, Callable[[Said], None]] = {
            EntryKind.ORDER.value: self._order,
            EntryKind.RECEIPT.value: self._receipt,
            EntryKind.NOTE.value: self._note,
            EntryKind.MOVED.value: self._moved,
            EntryKind.RESET.value: self._reset,
            EntryKind.BYPASS.value: self._bypass,
            EntryKind.DRILL.value: self._drill,
            EntryKind.TICKET.value: self._ticket,
        }

    def take(self, entry: ShownEntry) -> None:
        """Take one entry in."""
        work = self._kinds.get(str(entry.public.get("kind")))
        if work is not None:
            work(Said(entry))

    def due(self, now_us: int) -> list[Notice]:
        """Give what is to be told now."""
        told, self._out = self._out, []
        for incident in list(self._incidents.values()):
            notice = self._of(incident, now_us)
            if notice is not None:
                told.append(notice)
            if incident.reset_us and now_us - incident.reset_us > PROBATION_US:
                self._forget(incident)
        told += self._expiring(now_us)
        return told + self._fallen.due(now_us)

    def settled(self, now_us: int) -> list[Notice]:
        """Forget what was to be told; give how everything stands that is not over."""
        self.due(now_us)
        for incident in self._incidents.values():
            incident.told, incident.told_us, incident.worse = incident.state, 0, False
            incident.grown = incident.touched = not incident.reset_us
        self._fallen.settle()
        return self.due(now_us)

    # --- stops ----------------------------------------------------------------------

    def _order(self, said: Said) -> None:
        scope, digest = said.text("scope"), said.text("digest")
        if not scope or not digest or is_drill(scope):
            return
        if said.text("what") == "merged":
            self._merged(said, digest)
            return
        if digest in self._by_digest and not self._by_digest[digest].reset_us:
            return  # it joined a live one
        by, why = said.by or "somebody", said.words("reason") or ""
        targets = {str(name) for name in said.mapping("prior") if not is_drill(str(name))}
        machine = not by.startswith(_PERSONS)
        stop = Stop(digest, scope, said.text("level"), by, why, targets)
        incident = self._home(said, stop, machine=machine)
        if incident is None:
            incident = self._open(said, stop, machine=machine)
        elif incident.reset_us:
            incident.again(stop.scope, machine=machine)
        incident.place(stop, said.time_us)
        self._places.enter(incident, stop)
        self._by_digest[digest] = incident
        if machine:
            self._latest = incident

    def _home(self, said: Said, stop: Stop, *, machine: bool) -> Incident | None:
        """Find the incident of a stop: by what it is about, or as part of a cascade."""
        for incident in self._places.of(stop):
            known = self._incidents.get(incident.name) is incident
            over = incident.reset_us and said.time_us - incident.reset_us > PROBATION_US
            if known and not over:
                return incident
        latest = self._latest
        if machine and latest is not None and not latest.reset_us:
            return latest if said.time_us - latest.last_us <= _CASCADE_US else None
        return None

    def _open(self, said: Said, stop: Stop, *, machine: bool) -> Incident:
        blind = stop.why.startswith("blind:")
        name = f"inc-{stop.digest[:8]}"
        incident = Incident(
            name if name not in self._incidents else f"inc-{stop.digest[:16]}",
            said.time_us,
            Event.BLIND if blind else Event.STOP,
            stop.scope,
            machine=machine,
        )
        self._incidents[incident.name] = incident
        if len(self._incidents) > _MOST_INCIDENTS:
            self._forget(next(iter(self._incidents.values())))
        return incident

    def _forget(self, incident: Incident) -> None:
        self._incidents.pop(incident.name, None)
        for digest in incident.stops:
            self._by_digest.pop(digest, None)
        if self._latest is incident:
            self._latest = None
        if self._places.size > _MOST_PLACES:
            self._places = Places()
            for one in self._incidents.values():
                for stop in one.stops.values():
                    self._places.enter(one, stop)

    def _merged(self, said: Said, digest: str) -> None:
        """One stop stands for many from now on."""
        for old in said.texts("instead_of"):
            incident = self._by_digest.pop(old, None)
            stop = None if incident is None else incident.stops.pop(old, None)
            if incident is None or stop is None:
                continue
            kept = incident.stops.setdefault(
                digest,
                Stop(digest, said.text("scope"), said.text("level"), stop.by, stop.why, set()),
            )
            kept.targets |= stop.targets
            self._by_digest[digest] = incident
            self._places.enter(incident, kept)
            incident.touched = True

    def _receipt(self, said: Said) -> None:
        incident = self._by_digest.get(said.text("order"))
        target = said.text("target")
        if incident is None or is_drill(target) or incident.reset_us:
            return
        stop = incident.stops.get(said.text("order"))
        if stop is not None:
            stop.targets.add(target)
        incident.touched = True
        if said.text("counted") == "no":
            return  # put off by its plan, and not needed
        seen = said.text("confirmed") == "yes"
        incident.layers.setdefault(target, {})[said.text("layer")] = seen
        if target in incident.missing and _all_seen(incident, target):
            del incident.missing[target]

    def _note(self, said: Said) -> None:
        if said.text("what") == "readiness":
            self._fallen.take(said)
        incident = self._places.at(said.text("target"))
        if said.text("what") == _TELL and incident is not None and len(incident.tell) < _MANY:
            incident.tell[said.words("who") or "somebody"] = None
            incident.grown = incident.touched = True
        if not said.text("what").startswith(_PAGED):
            return
        if incident is not None and not incident.reset_us:
            incident.missing[said.text("target")] = tuple(said.texts("missing"))
            incident.others[said.text("target")] = tuple(said.texts("others"))
            incident.worse = incident.grown = incident.touched = True

    def _moved(self, said: Said) -> None:
        incident = self._places.at(said.text("target"))
        if incident is not None and not incident.reset_us:
            incident.layers.pop(said.text("target"), None)
            incident.grown = incident.touched = True

    # --- resets -----------------------------------------------------------------------

    def _reset(self, said: Said) -> None:
        clears = said.texts("clears")
        if is_drill(said.text("scope")):
            return
        found = {one.name: one for each in clears if (one := self._by_digest.get(each))}
        placed = tuple(said.word_list("placed_by"))
        for incident in found.values():
            if said.text("state") != "done":
                continue
            for digest in clears:
                incident.stops.pop(digest, None)
                self._by_digest.pop(digest, None)
            incident.grown = incident.touched = True
            if not incident.stops:
                incident.reset_us = said.time_us
        waits = said.text("state") == "pending"
        names = list(found) or [f"inc-{clears[0][:8]}" if clears else "reset"]
        left = any(not one.reset_us for one in found.values())
        phase = Phase.UPDATE if waits or left else Phase.CLOSE
        for name in names:
            notice = reset_page(self._context, said, name, phase, waits=waits, placed=placed)
            self._out.append(notice)
        for incident in found.values():
            if incident.reset_us:
                incident.told, incident.grown = "reset", False

    # --- what is told of an incident ----------------------------------------------------

    def _of(self, incident: Incident, now_us: int) -> Notice | None:
        if not incident.touched:
            return None
        fresh = not incident.times
        rest_us = _REST_US << min(max(incident.times - _QUICK, 0), 5)
        rested = now_us - incident.told_us >= min(rest_us, _LONGEST_REST_US)
        if not (fresh or rested or incident.worse) and len(incident.stops) > _MANY:
            return None  # to find out how so many stand takes a while, too
        state = incident.state
        if state == "reset" or not (fresh or incident.grown or state != incident.told):
            incident.told, incident.touched = state, False
            return None
        turned = state == "not confirmed" != incident.told
        if not (fresh or turned or incident.worse or rested):
            return None
        event = Event.NOT_CONFIRMED if state == "not confirmed" else incident.event
        urgent = incident.machine or event in {Event.NOT_CONFIRMED, Event.RE_TRIP, Event.BLIND}
        notice = Notice(
            incident.name,
            event,
            Phase.OPEN if fresh else Phase.UPDATE,
            state,
            incident.scope,
            incident_page(self._context, incident).bounded(),
            incident.last_us,
            urgent=urgent,
            worse=(turned or incident.worse) and not (fresh and incident.event is Event.STOP),
            level="kill" if state != "confirmed" else "",
        )
        incident.told, incident.told_us, incident.times = state, now_us, incident.times + 1
        incident.grown = incident.worse = incident.touched = False
        return notice

    # --- bypasses, drills, tickets ----------------------------------------------------------

    def _bypass(self, said: Said) -> None:
        until_us, rule, state = said.number("until_us"), said.text("rule"), said.text("state")
        what, _, _of = said.text("what").partition(":")
        key = (what, rule, said.text("series"))
        if state.startswith(_LASTING) and until_us is not None:
            lasts_us = max(until_us - said.time_us, 0)
            tell_us = until_us - min(_AHEAD_US, lasts_us // 2)
            thread = f"bypass-{rule}-{until_us // 1_000_000}"
            self._lowered[key] = _Lowered(said.text("what"), thread, tell_us, until_us)
        elif state.startswith(("returned", "restored")):
            lowered = self._lowered.pop(key, None)
            if lowered is not None and lowered.told:
                self._out.append(self._back(lowered, Phase.CLOSE, said.time_us))

    def _expiring(self, now_us: int) -> list[Notice]:
        told = []
        for key, lowered in list(self._lowered.items()):
            if lowered.tell_us <= now_us < lowered.until_us and not lowered.told:
                lowered.told = True
                told.append(self._back(lowered, Phase.OPEN, now_us))
            elif now_us > lowered.until_us + _AHEAD_US:
                del self._lowered[key]  # watch has not said so, and may never
        return told

    def _back(self, lowered: _Lowered, phase: Phase, now_us: int) -> Notice:
        left_s = max((lowered.until_us - now_us) // 1_000_000, 0)
        ends = phase is Phase.CLOSE
        state = "over" if ends else "expires"
        page = Page(
            f"{lowered.what} {'is over' if ends else f'ends in {left_s} s'}",
            f"{lowered.what}: lowered, and back to what was declared when it ends",
            (),
            ("what the rule would have stopped by itself",) if not ends else (),
            "",
            "nothing more" if ends else f"the rule acts by itself again in {left_s} s",
            self._context.link("rules"),
            command("rule", "list"),
        )
        return Notice(lowered.thread, Event.BYPASS, phase, state, "/", page.bounded(), now_us)

    def _drill(self, said: Said) -> None:
        if said.text("what") != "end":
            return
        name, failed = said.text("drill") or str(said.index), said.texts("failed")
        thread = f"drill-{name.replace('/', '-')[:60]}"
        if said.text("state") == "failed" or failed:
            self._drills.add(thread)
            layers = ", ".join(failed) or "a layer"
            page = Page(
                f"DRILL FAILED: {layers}",
                f"the drill {name} did not see these layers act: {layers}; a real stop may fail",
                (),
                (f"whatever only {layers} would stop",),
                "the drill itself stops nothing but its own target",
                "the layer stays unproven, and the board says so, until a clean drill",
                self._context.link("drills"),
                command("drill", "run", "canary"),
            )
            state, urgent = "failed", True
            self._out.append(
                Notice(
                    thread,
                    Event.DRILL,
                    Phase.OPEN,
                    state,
                    "/",
                    page.bounded(),
                    said.time_us,
                    urgent=urgent,
                )
            )
        elif said.text("state") == "passed":
            for open_one in list(self._drills):
                self._drills.discard(open_one)
                page = Page(
                    "A drill is clean again", f"the drill {name} saw every layer act", (), (), "",
                    "nothing more", self._context.link("drills"), command("drill", "figures"),
                )  # fmt: skip
                self._out.append(
                    Notice(open_one, Event.DRILL, Phase.CLOSE, "clean", "/", page, said.time_us)
                )

    def _ticket(self, said: Said) -> None:
        notice = ticket_page(self._context, said)
        if notice is not None:
            self._out.append(notice)


def _all_seen(incident: Incident, target: str) -> bool:
    layers = {k: v for k, v in incident.layers.get(target, {}).items() if k != "guard"}
    return bool(layers) and all(layers.values())
