"""From entries to incidents, one entry at a time: a fold without input, output or clock.

    order       opens an incident, or belongs to one: to that whose live stop covers its scope,
                to one below it that is not an hour quiet, to one that was reset less than
                `probation_us` ago (it trips again). Stops below `.drill/` open none (SR-20)
    incident    a person opens one, grades it, notes, hands over, closes
    finding, decision      belong to the incident of their target or scope; what came in the
                quarter of an hour before the stop is remembered, and belongs to it, too
    receipt, exit, evidence, reset, …      belong to the incident whose order they name

Watch writes down what it found after its order has left, so entries come in another order than
things happened; the timeline is by when they happened. The id is the first eight digits of the
first stop's digest, of the nonce that a person's `opened` bears, or, of a near miss, of a digest
over its first entry; where two begin alike the later one shows more digits. Whoever presses a
thousand scopes a second makes one incident of them: beyond so many in a minute it is the last one.

The same entries give the same incidents, whether taken in at once or as they come.
"""

from __future__ import annotations

import re
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256

from offswitch.ledger.reader import ShownEntry
from offswitch.model.entry import EntryKind
from offswitch.reports.case import Case
from offswitch.reports.incident import Incident, Sort, What
from offswitch.reports.near import SAME_US, EarlySigns, near_miss
from offswitch.reports.rooms import Rooms, is_drill, scopes_of
from offswitch.reports.said import Said

__all__ = ["LEAD_US", "PROBATION_US", "Incidents", "incidents_of"]

PROBATION_US = 1_800_000_000
"""How long after a reset a new stop is the same incident again, as rules are on probation."""
LEAD_US = 900_000_000
"""How far before a stop something may lie that belongs to it."""

_ESCALATES_US = 3_600_000_000
_QUIET_US = 86_400_000_000
"""After so long an incident that a person opened takes in no stops any more."""
_DIGITS = 8
_NAME = re.compile(r"inc-[0-9a-f]{4,64}")
_AT_ONCE = 100
_AT_ONCE_US = 60_000_000
_MOST_DIGESTS = 50_000
_RECENT = 40
_MOST_RECENT = 5000
_MOST_NEAR = 5000
_MOST_COVERED = 20_000
_MOST_GAPS = 50

_IGNORED = frozenset({EntryKind.DRILL, EntryKind.PEOPLE, EntryKind.ERASE, EntryKind.LEASE})
_BY_HANDS = frozenset({"acted", "released"})
"""What a note of the warden's says that tells what a hand has done."""


class Incidents:
    """All incidents of a ledger, as far as it was taken in."""

    def __init__(self, probation_us: int = PROBATION_US) -> None:
        """Begin with an empty ledger."""
        self._probation_us = probation_us
        self._cases: dict[str, Case] = {}
        self._alias: dict[str, str] = {}
        self._rooms = Rooms(self._takes)
        self._by_digest: OrderedDict[str, list[Case]] = OrderedDict()
        self._latest: deque[Case] = deque(maxlen=_AT_ONCE)
        """The latest that stops have opened."""
        self._live: dict[str, Case] = {}
        self._near: OrderedDict[tuple[str, str], Case] = OrderedDict()
        self._near_at: dict[str, dict[str, Case]] = {}
        self._early = EarlySigns()
        self._recent: OrderedDict[str, deque[Said]] = OrderedDict()
        self._remembered = 0
        """How many entries are in `_recent`."""
        self._changed: dict[str, None] = {}
        self.size = 0
        """How many entries were taken in: one more than the number of the last."""
        self._kinds: Mapping[str, Callable[[Said], None]] = {
            EntryKind.ORDER.value: self._order,
            EntryKind.FINDING.value: self._finding,
            EntryKind.DECISION.value: self._decision,
            EntryKind.RECEIPT.value: self._receipt,
            EntryKind.MOVED.value: self._moved,
            EntryKind.RESET.value: self._reset,
            EntryKind.INCIDENT.value: self._person,
            EntryKind.NOTE.value: self._note,
            EntryKind.GAP.value: self._gap,
            EntryKind.RESTART.value: self._nothing,
            EntryKind.CONFIG.value: self._nothing,
            **{kind.value: self._nothing for kind in _IGNORED},
        }

    def take(self, entry: ShownEntry) -> tuple[str, ...]:
        """Take one entry in; gives the names of the incidents that it changed, mostly none."""
        self.size = max(self.size, entry.index + 1)
        kind = entry.public.get("kind")
        work = self._kinds.get(kind, self._other) if isinstance(kind, str) else None
        said = Said(entry)
        for faded in self._early.faded(said.time_us):
            self._near_miss(faded, f"an early sign on {faded.text('target')} went away")
        if work is not None:
            work(said)
        if not self._changed:
            return ()
        changed, self._changed = tuple(self._changed), {}
        return changed

    def all(self) -> list[Incident]:
        """Give every incident, the one opened first first."""
        return [case.incident() for case in self._cases.values()]

    def of_scope(self, scope: str) -> list[Incident]:
        """Give those that began with this very scope, the one opened first first."""
        return [case.incident() for case in self._cases.values() if case.scope == scope]

    def get(self, name: str) -> Incident | None:
        """Give the incident of that name, or whose name begins like that and no other's does."""
        found = self._named(name)
        if found is not None:
            return found.incident()
        begins = [one for one in (*self._cases, *self._alias) if one.startswith(name)]
        meant = {self._alias.get(one, one) for one in begins}
        if len(meant) != 1 or len(name) < len("inc-") + 4:
            return None
        return self._cases[meant.pop()].incident()

    # --- finding the one that is meant ----------------------------------------------

    def _takes(self, case: Case, time_us: int) -> bool:
        if case.closing is not None:
            return False
        if case.live:
            return True
        if case.reset_us is not None:
            return time_us - case.reset_us <= self._probation_us
        return time_us - case.last_us <= _QUIET_US

    def _named(self, name: str) -> Case | None:
        return self._cases.get(self._alias.get(name, name))

    def _touch(self, case: Case) -> Case:
        self._changed[case.name] = None
        return case

    def _name(self, digits: str) -> str:
        """Give it a name that no other has."""
        for length in range(_DIGITS, len(digits) + 1):
            name = f"inc-{digits[:length]}"
            if name not in self._cases and name not in self._alias:
                return name
        return f"inc-{sha256(f'{digits} {self.size}'.encode()).hexdigest()}"

    def _related(self, said: Said) -> list[Case]:
        """Find the incidents that an entry is about: by name, order, target or scope."""
        case = self._named(said.text("incident"))
        if case is not None:
            return [case]
        for key in ("order", "digest"):
            cases = self._by_digest.get(said.text(key))
            if cases:
                return cases
        for key in ("target", "scope"):
            text = said.text(key)
            if not text or is_drill(text):
                continue
            found = self._rooms.of_target(text, said.time_us)
            if found is not None:
                return [found]
            if key == "scope":
                return [case for case in self._rooms.below(text, said.time_us) if case.live]
        return []

    # --- stops ------------------------------------------------------------------------

    def _order(self, said: Said) -> None:
        scope, digest = said.text("scope"), said.text("digest")
        if is_drill(scope):
            return
        if said.text("what") == "merged":
            self._merged(said, digest)
            return
        prior = said.mapping("prior")
        targets = [str(name) for name in prior if not is_drill(str(name))][:_MOST_COVERED]
        cases = self._by_digest.get(digest, [])
        if not cases:
            found = self._rooms.of_stop(scope, targets, said.time_us, _ESCALATES_US)
            found = found or self._of_a_flood(said.time_us)
            cases = [found or self._open(said, scope, digest, targets)]
            self._by_digest[digest] = cases
            self._forget_digests()
        for case in cases:
            case.order(said, digest, targets)
            if case.closing is None:
                self._live[case.name] = case
                self._rooms.enter(case, scope, targets)
            self._touch(case)
        for target in targets:
            self._early.came_true(target)

    def _of_a_flood(self, time_us: int) -> Case | None:
        """Give the latest where so many were opened in a minute that one more says nothing."""
        latest = self._latest
        if len(latest) < _AT_ONCE or time_us - latest[0].opened_us > _AT_ONCE_US:
            return None
        return latest[-1] if latest[-1].closing is None else None

    def _forget_digests(self) -> None:
        """Forget the oldest stops of which none is live: what comes of them is told no more."""
        if len(self._by_digest) <= _MOST_DIGESTS:
            return
        for digest, cases in [*self._by_digest.items()][: _MOST_DIGESTS // 10]:
            if not any(digest in case.live for case in cases):
                del self._by_digest[digest]

    def _open(self, said: Said, scope: str, digest: str, targets: list[str]) -> Case:
        title = f"{said.text('level')} of {scope}"
        case = Case(self._name(digest), Sort.STOP, said, scope, title, said.words("reason") or "")
        keys = [*scopes_of(scope), *targets]
        self._begin(case, said, keys)
        self._cases[case.name] = case
        self._latest.append(case)
        return case

    def _begin(self, case: Case, said: Said, keys: list[str]) -> None:
        """Take in what was seen of these scopes and targets shortly before."""
        nears = {name: near for key in keys for name, near in self._near_at.get(key, {}).items()}
        for near in nears.values():
            if said.time_us - near.last_us <= LEAD_US and near.closing is None:
                self._absorb(case, near)
        known = {event.index for event in case.incident().events}
        recent: dict[int, Said] = {}
        for key in dict.fromkeys(keys):
            kept = self._recent.pop(key, ())
            self._remembered -= len(kept)
            recent.update({one.index: one for one in kept})
        for index in sorted(recent.keys() - known):
            if said.time_us - recent[index].time_us <= LEAD_US:
                _taken(case, recent[index])

    def _absorb(self, case: Case, near: Case) -> None:
        case.absorb(near)
        for name in (near.name, *near.aliases):
            self._alias[name] = case.name
        self._forget_near(near)
        self._cases.pop(near.name, None)
        self._changed[near.name] = None

    def _merged(self, said: Said, digest: str) -> None:
        """One stop stands for many from now on: it is live in each of their incidents."""
        instead = said.texts("instead_of")
        cases = {id(case): case for one in instead for case in self._by_digest.get(one, [])}
        known = self._by_digest.setdefault(digest, [])
        for case in cases.values():
            case.live.difference_update(instead)
            case.live.add(digest)
            if case not in known:
                known.append(case)
            self._touch(case).add(said, f"one stop of {said.text('scope')} stands for many")

    def _receipt(self, said: Said) -> None:
        if is_drill(said.text("target")):
            return
        for case in self._by_digest.get(said.text("order"), ()):
            self._touch(case).receipt(said)

    def _moved(self, said: Said) -> None:
        case = self._rooms.of_target(said.text("target"), said.time_us)
        if case is not None and not is_drill(said.text("target")):
            self._touch(case).moved(said)

    def _reset(self, said: Said) -> None:
        clears = said.texts("clears")
        done = said.text("state") == "done"
        cases = {id(case): case for one in clears for case in self._by_digest.get(one, [])}
        state, scope = said.text("state") or "asked for", said.text("scope")
        for case in cases.values():
            if done and case.cleared(said, clears):
                self._live.pop(case.name, None)
            self._touch(case).add(
                said, f"reset of {scope}: {state}", None, said.words("reason") or ""
            )

    # --- what was seen, and what was decided --------------------------------------------

    def _finding(self, said: Said) -> None:
        target = said.text("target")
        if is_drill(target):
            return
        case = self._rooms.of_target(target, said.time_us)
        if said.text("state") == "trip":
            self._early.came_true(target)
        if case is not None:
            self._touch(case).finding(said)
            if _goes_on(case):
                return
        if said.text("state") == "early sign":
            self._early.add(said)
        self._remember(target, said)

    def _decision(self, said: Said) -> None:
        scope = said.text("scope")
        if is_drill(scope):
            return
        near = near_miss(said)
        case = self._rooms.of_target(scope, said.time_us)
        if case is None:
            below = self._rooms.below(scope, said.time_us, 1)
            case = below[0] if below and below[0].live else None
        if case is not None:
            self._touch(case).decision(said)
            if _goes_on(case):
                return
        if near:
            self._near_miss(said, near)
        else:
            self._remember(scope, said)

    def _remember(self, key: str, said: Said) -> None:
        """Keep what may belong to a stop that comes soon, or came and is not yet recorded."""
        recent = self._recent.get(key)
        if recent is None:
            recent = self._recent[key] = deque(maxlen=_RECENT)
        self._remembered += len(recent) < _RECENT
        recent.append(said)
        self._recent.move_to_end(key)
        while self._remembered > _MOST_RECENT:
            self._remembered -= len(self._recent.popitem(last=False)[1])

    def _near_miss(self, said: Said, title: str) -> None:
        scope = said.text("scope") or said.text("target") or _only(said.texts("targets"))
        if is_drill(scope):
            return
        source = "early signs" if said.kind == EntryKind.FINDING else said.by or ""
        key = (scope, source)
        case = self._near.get(key)
        if case is None or case.closing is not None or said.time_us - case.last_us > SAME_US:
            of = f"near miss {said.text('installation')} {said.boot} {said.index}"
            digits = sha256(of.encode()).hexdigest()
            why = said.text("why") if said.kind == EntryKind.DECISION else said.text("what")
            case = Case(self._name(digits), Sort.NEAR_MISS, said, scope, title, why)
            case.scopes[scope], case.source = None, source
            self._cases[case.name] = case
            if key in self._near:
                self._forget_near(self._near[key])
            self._near[key] = case
            self._near_at.setdefault(scope, {})[case.name] = case
            if len(self._near) > _MOST_NEAR:
                self._forget_near(self._near.popitem(last=False)[1])
            for one in self._recent.get(scope, ()):
                if said.time_us - one.time_us <= LEAD_US and one.index != said.index:
                    _taken(case, one)
        _taken(self._touch(case), said)

    def _forget_near(self, near: Case) -> None:
        key = (near.scope, near.source)
        if self._near.get(key) is near:
            del self._near[key]
        self._near_at.get(near.scope, {}).pop(near.name, None)

    # --- people, and all else -------------------------------------------------------------

    def _person(self, said: Said) -> None:
        name, what = said.text("incident"), said.text("what")
        case = self._named(name)
        if case is None:
            if what == What.OPENED and _NAME.fullmatch(name) and not is_drill(said.text("scope")):
                self._opened(said, name)
            return
        self._touch(case).person(said)
        if case.closing is not None:
            self._rooms.leave(case)
            self._live.pop(case.name, None)

    def _opened(self, said: Said, name: str) -> None:
        scope = said.text("scope") or "/"
        reason = said.words("reason") or ""
        case = Case(name, Sort.REPORTED, said, scope, f"opened for {scope}", reason)
        self._begin(case, said, [scope])
        case.opened_by_person(said)
        self._cases[case.name] = case
        self._rooms.enter(case, scope)
        self._touch(case)

    def _note(self, said: Said) -> None:
        near = near_miss(said)
        if near:
            self._near_miss(said, near)
        elif said.text("what") != "defect":
            self._other(said)
            if said.text("what") in _BY_HANDS:
                for case in self._related(said):
                    case.acted(said)

    def _gap(self, said: Said) -> None:
        """Something was not recorded: that may have been of any incident that is under way."""
        for case in list(self._live.values())[-_MOST_GAPS:]:
            self._touch(case).add(said, f"not recorded: {said.text('what')}: {said.text('why')}")

    def _other(self, said: Said) -> None:
        """Put what names an order, a target or a scope of an incident on its timeline."""
        shown = _told(said)
        words = said.words("reason") or said.words("detail") or ""
        for case in self._related(said):
            self._touch(case).add(said, shown, None, words)

    def _nothing(self, _said: Said) -> None:
        """Tell of nothing that belongs to an incident."""


def _taken(case: Case, said: Said) -> None:
    match said.kind:
        case EntryKind.FINDING:
            case.finding(said)
        case EntryKind.DECISION:
            case.decision(said)
        case _:
            case.add(said, said.text("what"))
            case.aware(said.time_us, said.index, "a note of what would have been done")


def _goes_on(case: Case) -> bool:
    """Whether what comes belongs to this one alone: one that was reset may be over."""
    return bool(case.live) or case.reset_us is None


def _told(said: Said) -> str:
    """Say in one sentence what an entry of any other kind tells."""
    about = said.text("target") or said.text("scope")
    match said.kind:
        case EntryKind.EXIT:
            code = said.number("code")
            how = said.text("signal") or (f"exit code {code}" if code is not None else "ended")
            return f"{about} ended: {how}"
        case EntryKind.EVIDENCE:
            problem = said.text("problem")
            return f"evidence of {about} kept" + (f", not all: {problem}" if problem else "")
        case EntryKind.RUN | EntryKind.START:
            return f"{about} started: {said.text('why')}"
        case EntryKind.REFUSED:
            return f"refused: {said.text('what')} of {about}: {said.text('why')}"
        case _:
            what = said.text("what") or said.text("why") or said.text("state")
            return f"{about}: {what}" if about else what


def _only(targets: list[str]) -> str:
    return targets[0] if len(targets) == 1 else "/"


def incidents_of(entries: Iterable[ShownEntry], probation_us: int = PROBATION_US) -> list[Incident]:
    """Give the incidents of a ledger, the one opened first first."""
    made = Incidents(probation_us)
    for entry in entries:
        made.take(entry)
    return made.all()
