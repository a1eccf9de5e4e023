"""One whole picture of an installation, at one moment: frozen, and honest about its age.

`live` says whether it is the present. When it is not, every target is `unknown`, nothing is
confirmed, and `why` says what happened: the last known state is never shown as the current one.
Whoever holds a picture may keep it as long as they like; the next one is another object.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

from offswitch.errors import OffswitchError
from offswitch.model.scope import EVERYTHING, Scope, parse_scope
from offswitch.model.target import Target
from offswitch.station.picture.readiness import CanStop, Proof, can_stop
from offswitch.station.picture.rows import StopRow, TargetRow
from offswitch.station.picture.sentence import Sentence, sentence

__all__ = ["Desk", "Picture"]

_MOST_KNOWN = 256

Message = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Desk:
    """What watch said at its desk, each list as `alarm_row`, `question_row`, … spell a row."""

    live: bool = False
    """Whether watch answers."""
    why: str = "watch was not asked yet"
    """Why not; empty: it does."""
    alarms: tuple[Message, ...] = ()
    near: tuple[Message, ...] = ()
    decisions: tuple[Message, ...] = ()
    """Questions that wait for a person, the most urgent first; `due_us`: when time is up (UTC)."""
    leaves: tuple[Message, ...] = ()
    """Tool calls that wait for a person, the most urgent first."""
    rules: tuple[Message, ...] = ()
    lowered: tuple[Message, ...] = ()
    waiting: tuple[Message, ...] = ()
    """What is to be lowered once a second person says so."""
    sensors: tuple[Message, ...] = ()
    left_out: int = 0
    """Sensors that are not listed."""


@dataclass(frozen=True, slots=True)
class Picture:
    """What there is."""

    live: bool = False
    why: str = "the warden was not heard yet"
    """Why it is not live; empty: it is."""
    as_of_us: int = 0
    """When the warden was heard last, UTC in microseconds; 0: never."""
    version: int = 0
    """Grows with every change, over reconnects, too."""
    targets: Mapping[str, TargetRow] = field(default_factory=dict)
    """By name, sorted."""
    stops: Mapping[str, StopRow] = field(default_factory=dict)
    """Live stops by digest, the first thousand; `live_stops` counts them."""
    live_stops: int = 0
    alarms: tuple[Message, ...] = ()
    """As the warden knows them from watch: rule, scope, act, harm, since_us, asks, due_us."""
    notes: tuple[str, ...] = ()
    """Banners that nobody may overlook."""
    untracked: tuple[Message, ...] = ()
    processes: Mapping[str, bool] = field(default_factory=dict)
    """Our own: keeper, observer, recorder, sweeper; whether each is there."""
    doubts: Mapping[str, str] = field(default_factory=dict)
    """Layer → what the last drill did not see of it."""
    resetting: tuple[str, ...] = ()
    """Digests of stops that an open reset names."""
    installation: str = ""
    run: str = ""
    rung: str = ""
    mode: str = ""
    """`act` or `observe`."""
    warden_version: str = ""
    epoch: int = 0
    desk: Desk = field(default_factory=Desk)
    proofs: Mapping[str, Proof] = field(default_factory=dict)
    """Layer → when it was last seen to act."""
    _known: dict[tuple[str, str, int], Any] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )
    """What was worked out of this very picture: many look at it."""

    # --- by scope -----------------------------------------------------------------

    def under(self, scope: str | Scope = "/") -> list[TargetRow]:
        """List the targets that a scope covers, by name; a scope that is none covers nothing."""
        try:
            wanted = parse_scope(scope) if isinstance(scope, str) else scope
        except OffswitchError:
            return []
        if wanted == EVERYTHING:
            return list(self.targets.values())
        rows = self.targets.values()
        return [row for row in rows if wanted.covers(Target(row.name, row.labels))]

    def stops_over(self, name: str) -> list[StopRow]:
        """List the live stops that cover a target."""
        row = self.targets.get(name)
        return [self.stops[one] for one in row.stops if one in self.stops] if row else []

    def counts(self, scope: str | Scope = "/") -> Counter[str]:
        """Count the targets of a scope by state; also `all`, `latched`, `blind`, `unproven`."""
        rows = self.under(scope)
        found = Counter(row.state for row in rows)
        found["all"] = len(rows)
        found["latched"] = sum(row.latched for row in rows)
        found["blind"] = sum(row.blind for row in rows)
        found["unproven"] = sum(row.unproven for row in rows)
        return found

    def concerns(self, scope: str) -> list[Message]:
        """List the alarms whose scope lies within this one, or around it."""
        try:
            asked = parse_scope(scope)
        except OffswitchError:
            return []
        return [one for one in self.alarms if _meets(asked, str(one.get("scope")))]

    # --- what it comes to ---------------------------------------------------------

    def can_stop(self, scope: str | Scope = "/") -> CanStop:
        """Say whether everything in a scope can be stopped right now, layer by layer."""
        text = scope if isinstance(scope, str) else scope.text
        known = self._known.get(("can", text, 0))
        if known is None:
            known = self._keep(("can", text, 0), can_stop(self, self.under(scope)))
        return cast("CanStop", known)

    def sentence(self, now_us: int, scope: str = "/") -> Sentence:
        """Say in one sentence what a person must know first, at `now_us` (UTC, microseconds)."""
        key = ("sentence", scope, now_us // 1_000_000)
        known = self._known.get(key)
        if known is None:
            known = self._keep(key, sentence(self, scope, now_us))
        return cast("Sentence", known)

    def _keep(self, key: tuple[str, str, int], made: object) -> object:
        if len(self._known) > _MOST_KNOWN:
            self._known.clear()
        self._known[key] = made
        return made

    # --- the next one -------------------------------------------------------------

    def lost(self, why: str) -> Picture:
        """Give the picture of an installation of which nothing is known any more."""
        if not self.live and self.why == why:
            return self
        version = self.version + 1
        targets = {name: row.lost(version) for name, row in self.targets.items()}
        return replace(self, live=False, why=why, version=version, targets=targets)

    def heard(self, now_us: int) -> Picture:
        """Give the same, as of now: the warden says that nothing has changed."""
        return replace(self, as_of_us=now_us)

    def told(self, said: Iterable[Message], now_us: int) -> tuple[Picture, dict[str, set[str]]]:
        """Take in frames of the feed that belong together; also names what has changed, by kind."""
        version = self.version + 1
        fresh = any(frame.get("event") == "picture" for frame in said)
        targets = {} if fresh else dict(self.targets)
        stops = {} if fresh else dict(self.stops)
        rest: dict[str, Any] = {}
        changed: dict[str, set[str]] = {}
        for frame in said:
            for row in frame.get("targets", ()):
                targets[str(row["target"])] = TargetRow.of(row, version)
                changed.setdefault("targets", set()).add(str(row["target"]))
            for row in frame.get("stops", ()):
                stops[str(row["digest"])] = StopRow.of(row, version)
                changed.setdefault("stops", set()).add(str(row["digest"]))
            for name in frame.get("gone", ()):
                targets.pop(name, None)
                changed.setdefault("targets", set()).add(name)
            for digest in frame.get("cleared", ()):
                stops.pop(digest, None)
                changed.setdefault("stops", set()).add(digest)
            rest |= frame
        fields = _fields(rest)
        for kind in fields:
            changed.setdefault("warden" if kind in _OF_WARDEN else kind, set())
        if fresh:
            changed["live"] = set()
        if targets.keys() != self.targets.keys():
            targets = dict(sorted(targets.items()))
        made = replace(
            self,
            live=True,
            why="",
            as_of_us=now_us,
            version=version,
            targets=targets,
            stops=stops,
            **fields,
        )
        return made, changed


def _meets(asked: Scope, text: str) -> bool:
    try:
        other = parse_scope(text)
    except OffswitchError:
        return True  # an alarm is shown rather than not
    return asked.contains(other) or other.contains(asked)


_OF_WARDEN = frozenset(
    {"installation", "run", "rung", "mode", "warden_version", "epoch", "live_stops"}
)


def _fields(said: Message) -> dict[str, Any]:
    """Read what a frame says beside targets and stops, into a picture's own names."""
    found: dict[str, Any] = {}
    for name in ("alarms", "notes", "untracked", "resetting"):
        if isinstance(said.get(name), list):
            found[name] = tuple(said[name])
    if isinstance(processes := said.get("processes"), Mapping):
        found["processes"] = {str(name): bool(there) for name, there in processes.items()}
    if isinstance(doubts := said.get("doubts"), Mapping):
        found["doubts"] = {str(layer): str(one[0]) for layer, one in doubts.items()}
    if isinstance(facts := said.get("warden"), Mapping):
        for name in ("installation", "run", "rung", "mode"):
            found[name] = str(facts.get(name, ""))
        found["warden_version"] = str(facts.get("version", ""))
        found["epoch"] = int(facts.get("epoch") or 0)
        found["live_stops"] = int(facts.get("live_stops") or 0)
    return found
