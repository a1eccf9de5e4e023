"""What one needs to see before deciding, on one screen (DEC-7): for an incident or a question.

    causes     what detectors claim, in the order in which it happened: candidates, not ranked
    evidence   with each claim, what it rests on
    against    what speaks against it: what a detector itself says would contradict it, channels
               that did not trip, channels that see nothing and so say nothing, how often the
               like was in vain before
    radius     what a stop of the scope reaches just now, what of it is latched already, and what
               runs on
    costs      what a stop costs if it was not needed, and whom it hits

It is made of entries and of what is known just now of targets and rules, in a few milliseconds,
and nothing waits for it: a stop needs none of it, and the button is there before it is.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from offswitch.errors import OffswitchError
from offswitch.ledger.reader import ShownEntry
from offswitch.model.entry import EntryKind
from offswitch.model.scope import Scope, parse_scope
from offswitch.model.target import Target
from offswitch.reports.incident import Incident, Sort
from offswitch.reports.incidents import LEAD_US
from offswitch.reports.rooms import is_drill
from offswitch.reports.said import Said

__all__ = [
    "Against",
    "Cause",
    "Cost",
    "Question",
    "Reached",
    "Recent",
    "RuleCost",
    "Support",
    "reached_of",
    "support_of_incident",
    "support_of_question",
]

_MOST_CAUSES = 50
"""The first and the last ones; what lies between is counted."""
_MOST_DECISIONS = 500
_MOST_AGAINST = 50
_MOST_REACHED = 200
_NOTHING_LIVES = frozenset({"idle", "exited", "stopped"})
_MOST_EVIDENCE = 20
_LONGEST = 400
_KEPT = 10_000
_CHANNEL = re.compile(
    r"(?P<series>.{1,400}?): (?P<state>ok|trip|stale|failed|bypassed): (?P<why>.*)", re.DOTALL
)
_CLAIMS = frozenset({"trip", "early sign", "announced"})


@dataclass(frozen=True, slots=True)
class Cause:
    """One claim of a detector: a candidate."""

    index: int
    time_us: int
    """When it was read, UTC in microseconds."""
    target: str
    series: str
    detector: str
    what: str
    state: str
    """`trip`, `early sign` or `announced`."""
    score: str
    evidence: Mapping[str, str]
    """Hostile text included; empty where it was erased."""


@dataclass(frozen=True, slots=True)
class Against:
    """Something that speaks against it."""

    what: str
    about: str
    """The series or rule that it is about."""
    index: int | None
    """The entry that says it; None: it was counted from several incidents."""


@dataclass(frozen=True, slots=True)
class Reached:
    """One target that a stop of the scope reaches."""

    target: str
    labels: Mapping[str, str] = field(default_factory=dict)
    state: str = "unknown"
    latched: bool = False
    impact: Mapping[str, str] = field(default_factory=dict)
    """As declared: who, harm, bearable, told_by."""


@dataclass(frozen=True, slots=True)
class RuleCost:
    """What a rule declares."""

    rule: str
    scope: str
    false_stop_cost: str
    harm: str = ""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a stop costs that was not needed."""

    of: str
    """The rule, or the target."""
    text: str


@dataclass(frozen=True, slots=True)
class Question:
    """What a rule asks, as watch's desk tells it."""

    decision: str
    """Its digest."""
    rule: str
    scope: str
    level: str
    asked_us: int
    why: str = ""
    harm: str = ""
    false_stop_cost: str = ""


@dataclass(frozen=True, slots=True)
class Support:
    """One screen."""

    about: str
    """The incident's name, or the question's digest."""
    scope: str
    level: str
    causes: tuple[Cause, ...]
    causes_left_out: int
    against: tuple[Against, ...]
    radius: tuple[Reached, ...]
    radius_count: int
    latched_count: int
    spared: tuple[str, ...]
    """What lives and is not reached."""
    spared_count: int
    costs: tuple[Cost, ...]
    options: tuple[str, ...]
    """What the rule put on the table, doing nothing included."""

    def as_dict(self) -> dict[str, Any]:
        """Give what JSON has of it."""
        return asdict(self)


class Recent:
    """The latest findings and decisions of a ledger, for questions that are open."""

    def __init__(self, most: int = _KEPT) -> None:
        """Keep at most that many."""
        self._kept: deque[ShownEntry] = deque(maxlen=most)

    def take(self, entry: ShownEntry) -> None:
        """Keep an entry if it is a finding or a decision."""
        if entry.public.get("kind") in {EntryKind.FINDING, EntryKind.DECISION}:
            self._kept.append(entry)

    def __iter__(self) -> Iterator[ShownEntry]:
        """Give them, the earliest first."""
        return iter(self._kept)


def reached_of(row: Mapping[str, Any]) -> Reached:
    """Make one of a row of the warden's `status`."""
    declared = row.get("declared")
    impact = declared.get("stop_impact") if isinstance(declared, dict) else None
    labels = row.get("labels")
    return Reached(
        target=str(row.get("target", "")),
        labels=_texts(labels),
        state=str(row.get("state", "unknown")),
        latched=bool(row.get("latched")),
        impact=_texts(impact),
    )


def support_of_incident(
    incident: Incident,
    entries: Mapping[int, ShownEntry],
    *,
    targets: Iterable[Reached] = (),
    rules: Iterable[RuleCost] = (),
    past: Iterable[Incident] = (),
) -> Support:
    """Say what there is to see of an incident.

    `entries` holds those of its findings and decisions (`incident.events` names them), `targets`
    all that are known, `past` other incidents, to say how often the like was in vain.
    """
    wanted = (event.index for event in incident.events if event.kind in {"finding", "decision"})
    said = [Said(entries[index]) for index in wanted if index in entries]
    return _support(
        about=incident.id,
        scope=incident.scope,
        level=incident.level or "kill",
        said=said,
        rule=(incident.opened_by or "").removeprefix("rule:"),
        targets=targets,
        rules=rules,
        past=(one for one in past if one.id != incident.id),
    )


def support_of_question(
    question: Question,
    recent: Iterable[ShownEntry],
    *,
    targets: Iterable[Reached] = (),
    rules: Iterable[RuleCost] = (),
    past: Iterable[Incident] = (),
) -> Support:
    """Say what there is to see of a question that is open."""
    scope = _scope(question.scope)
    first_us = question.asked_us - LEAD_US
    reached = list(targets)
    covers = _covering(scope, reached)
    said = [
        one
        for entry in recent
        if (one := Said(entry)).time_us >= first_us
        and not is_drill(one.text("target"))
        and (covers(one.text("target")) or one.text("scope") == question.scope)
    ]
    declared = [*rules]
    if question.false_stop_cost and all(one.rule != question.rule for one in declared):
        cost = RuleCost(question.rule, question.scope, question.false_stop_cost, question.harm)
        declared.append(cost)
    return _support(
        about=question.decision,
        scope=question.scope,
        level=question.level,
        said=said,
        rule=question.rule,
        targets=reached,
        rules=declared,
        past=past,
    )


def _support(
    *,
    about: str,
    scope: str,
    level: str,
    said: Sequence[Said],
    rule: str,
    targets: Iterable[Reached],
    rules: Iterable[RuleCost],
    past: Iterable[Incident],
) -> Support:
    claims = [one for one in said if one.kind == "finding" and one.text("state") in _CLAIMS]
    claims.sort(key=lambda one: (one.number("found_us") or one.time_us, one.index))
    if len(claims) > _MOST_CAUSES:
        shown = [*claims[: _MOST_CAUSES // 2], *claims[-_MOST_CAUSES // 2 :]]
    else:
        shown = claims
    causes = [_cause(one) for one in shown]
    decisions = [one for one in said if one.kind == "decision"][-_MOST_DECISIONS:]
    every = list(targets)
    covers = _covering(_scope(scope), every)
    radius = sorted(
        (one for one in every if covers(one.target) and not is_drill(one.target)),
        key=lambda one: (one.latched, one.target),
    )
    spared = sorted(
        one.target
        for one in every
        if not covers(one.target) and one.state not in _NOTHING_LIVES and not is_drill(one.target)
    )
    costs = list(_costs(scope, rule, rules, decisions, radius))
    latest = next((one for one in reversed(decisions) if one.texts("options")), None)
    return Support(
        about=about,
        scope=scope,
        level=level,
        causes=tuple(causes),
        causes_left_out=len(claims) - len(causes),
        against=tuple(_against(causes, decisions, scope, past))[:_MOST_AGAINST],
        radius=tuple(radius[:_MOST_REACHED]),
        radius_count=len(radius),
        latched_count=sum(one.latched for one in radius),
        spared=tuple(spared[:_MOST_REACHED]),
        spared_count=len(spared),
        costs=tuple(costs[:_MOST_AGAINST]),
        options=tuple(latest.texts("options")) if latest is not None else (),
    )


def _cause(said: Said) -> Cause:
    evidence = said.sealed.get("evidence")
    return Cause(
        index=said.index,
        time_us=said.number("found_us") or said.time_us,
        target=said.text("target"),
        series=said.text("series"),
        detector=said.text("detector"),
        what=said.text("what"),
        state=said.text("state"),
        score=said.text("score"),
        evidence=_texts(evidence),
    )


def _against(
    causes: Sequence[Cause], decisions: Sequence[Said], scope: str, past: Iterable[Incident]
) -> Iterator[Against]:
    told: set[tuple[str, str]] = set()
    for cause in causes:
        text = cause.evidence.get("contradicts")
        if text and (cause.series, text) not in told:
            told.add((cause.series, text))
            yield Against(f"it would be contradicted by: {text}", cause.series, cause.index)
    latest: dict[str, Against] = {}
    for said in decisions:
        for item in said.texts("known"):
            match = _CHANNEL.fullmatch(item)
            if match is None:
                continue
            series, state, why = match["series"], match["state"], match["why"]
            latest.pop(series, None)
            if state == "ok":
                latest[series] = Against(f"did not trip: {why}", series, said.index)
            elif state != "trip":
                latest[series] = Against(f"sees nothing ({state}): {why}", series, said.index)
    yield from latest.values()
    yield from _before(scope, past)


def _before(scope: str, past: Iterable[Incident]) -> Iterator[Against]:
    """Say how often something like it was in vain."""
    like = [one for one in past if one.scope == scope]
    stops = [one for one in like if one.sort in {Sort.STOP, Sort.FALSE_STOP}]
    vain = sum(one.sort is Sort.FALSE_STOP for one in stops)
    near = sum(one.sort is Sort.NEAR_MISS for one in like)
    if vain:
        yield Against(f"{vain} of {len(stops)} earlier stops of it were in vain", scope, None)
    if near:
        yield Against(f"{near} earlier near misses of it passed without a stop", scope, None)


def _costs(
    scope: str,
    rule: str,
    rules: Iterable[RuleCost],
    decisions: Sequence[Said],
    radius: Sequence[Reached],
) -> Iterator[Cost]:
    declared = [one for one in rules if one.rule == rule or (not rule and one.scope == scope)]
    for one in declared:
        yield Cost(f"rule {one.rule}", one.false_stop_cost)
    if not declared:
        told = {
            text: None
            for said in decisions
            for text in map(_in_vain, said.texts("options"))
            if text
        }
        yield from (Cost("the rule", text) for text in told)
    for target in radius:
        if target.impact and not target.latched:
            text = "; ".join(f"{key}: {value}" for key, value in target.impact.items())
            yield Cost(target.target, text[:_LONGEST])


def _in_vain(option: str) -> str:
    return option.partition("; if it is in vain: ")[2] if option.startswith("stop ") else ""


def _scope(text: str) -> Scope | None:
    try:
        return parse_scope(text)
    except OffswitchError:
        return None


def _covering(scope: Scope | None, targets: Sequence[Reached]) -> Callable[[str], bool]:
    """Tell of a target's name whether the scope covers it."""
    if scope is None:
        return frozenset[str]().__contains__
    if not scope.is_label:
        return scope.covers_path
    names = {one.target for one in targets if scope.covers(Target(one.target, labels=one.labels))}
    return names.__contains__


def _texts(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        return {}
    some = list(value.items())[:_MOST_EVIDENCE]
    return {str(key)[:_LONGEST]: str(item)[:_LONGEST] for key, item in some}
