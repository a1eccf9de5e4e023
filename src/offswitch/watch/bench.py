"""A rule at work: its channels, what it decided last, and when it judges anew.

Three things change what a rule does for a while. A person may *bypass* it, or one of its channels
(`decide.lowering`): then it asks instead of stopping, and there is time to answer; or that channel
is left out. And when a person has reset what it stopped, it is on *probation*: limits are reached
a fifth earlier, and what trips again is stopped at the next higher level (RST-6).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from offswitch.clock import new_nonce
from offswitch.config.declared import TWO_PEOPLE_US
from offswitch.config.declared import Rule as DeclaredRule
from offswitch.config.series import parse_series
from offswitch.decide.arbiter import FRESH, ChannelState, Known, Standing, decide, reply
from offswitch.decide.budget import parse_budget
from offswitch.decide.questions import Answer, Question, Stage
from offswitch.decide.rules import Act, Rule
from offswitch.decide.votes import Channel, OnFailed, Vote
from offswitch.model.decision import Choice, Decision
from offswitch.model.finding import Finding
from offswitch.model.level import Level, parse_level
from offswitch.model.scope import Scope, parse_scope
from offswitch.watch.channels import Judge

__all__ = ["Alarm", "Bench", "Tally", "rule_of"]

_HEIGHTENED_US = 3_000_000
"""How long what the warden said of a probation holds: it is asked a few times a second."""


def rule_of(
    declared: DeclaredRule,
    mode: str = "act",
    dependent: Collection[str] = (),
    also: tuple[Scope, ...] = (),
) -> Rule:
    """Make the rule that a table of the configuration declares; `also` is what it stops besides.

    `dependent` are the kinds of detectors, and the sensors, that stop nothing alone. In the mode
    `observe` a rule that stops by itself only notes that it would have (SR-15).
    """
    act = Act(declared.act)
    return Rule(
        name=declared.name,
        target=declared.target,
        scope=parse_scope(declared.scope),
        level=parse_level(declared.stop.level),
        act=Act.SHADOW if mode == "observe" and act is Act.AUTO else act,
        vote=Vote(declared.vote),
        on_failed=OnFailed(declared.on_failed),
        decider=declared.decider.value,
        harm=declared.harm,
        time_to_harm_us=declared.time_to_harm,
        false_stop_cost=declared.false_stop_cost,
        people=declared.people,
        answer_us=declared.answer_us,
        unanswered=parse_level(declared.unanswered),
        budget=parse_budget(declared.budget) if declared.budget else None,
        observe=mode == "observe",
        dependent=frozenset(
            one.series
            for one in declared.detectors
            if one.kind in dependent or parse_series(one.series).sensor in dependent
        ),
        also=also,
    )


class Alarm(StrEnum):
    """How an alarm stands, for people."""

    STANDS = "stands"
    """It is told, and stops nothing."""
    ASKS = "asks"
    ACTED = "acted"
    """It asks, and since nobody has answered its lesser level was ordered."""
    ORDERED = "ordered"
    """Its stop was ordered: by the rule, by a person, or by silence."""
    DENIED = "denied"
    """People have let it go on."""


@dataclass(slots=True)
class Tally:
    """How often a rule has done what since watch began (REL-3)."""

    stops: int = 0
    would_stop: int = 0
    asked: int = 0
    denied: int = 0
    """How often people let it go on: so often it was in vain."""
    late: int = 0
    """How often nobody had answered when two thirds of the time were over."""
    unanswered: int = 0
    spent: int = 0
    """Stops beyond its budget."""


class Bench:
    """One rule with its judges."""

    __slots__ = (
        "_latched",
        "_nonce",
        "_probation_us",
        "_standing",
        "asks_instead",
        "judges",
        "left_out",
        "rose",
        "rule",
        "since_us",
        "tally",
    )

    def __init__(self, rule: Rule, judges: Iterable[Judge], probation_us: int = 0) -> None:
        """`judges` are the channels of the vote, in its order; probation lasts `probation_us`."""
        self.rule = rule
        self.judges = list(judges)
        self.since_us = 0
        """When its alarm rose, UTC in microseconds; 0: it has not."""
        self.rose: tuple[Finding, ...] = ()
        """The findings by which its alarm rose, the first one first."""
        self.asks_instead = False
        """Whether a person has bypassed the rule: it asks, and does not stop by itself."""
        self.left_out: frozenset[str] = frozenset()
        """The series of channels that a person has bypassed."""
        self.tally = Tally()
        self._nonce = new_nonce()
        self._probation_us = probation_us
        self._standing: Standing = FRESH
        self._latched: set[str] = set()

    @property
    def tripped(self) -> bool:
        """Whether its alarm stands."""
        return self._standing.tripped

    @property
    def blind(self) -> bool:
        """Whether none of its channels can see."""
        return self._standing.blind

    @property
    def question(self) -> Question | None:
        """What it asks just now."""
        return self._standing.question if self.in_force_now(0).act is Act.ADVISE else None

    @property
    def denied(self) -> bool:
        """Whether people have let go on what it is about."""
        return self._standing.denied is not None

    @property
    def alarm(self) -> Alarm:
        """How its alarm stands, if it does."""
        question = self.question
        if question is not None:
            return Alarm.ACTED if question.stage is Stage.ACTED else Alarm.ASKS
        if self.denied:
            return Alarm.DENIED
        stops = self.in_force_now(0).act is Act.AUTO or self._standing.silent
        return Alarm.ORDERED if stops and not self.rule.observe else Alarm.STANDS

    @property
    def alarm_level(self) -> Level:
        """The level that was ordered for its alarm, or that it is about."""
        rule = self.in_force_now(0)
        return rule.unanswered if self.alarm is Alarm.ACTED else rule.level

    def probation(self, mono_us: int) -> bool:
        """Tell whether it is on probation."""
        return any(judge.strict(mono_us) for judge in self.judges)

    def heighten(self, mono_us: int, *, on_probation: bool) -> None:
        """Be strict while the warden says that what it is about is on probation (RST-6)."""
        for judge in self.judges if on_probation else ():
            judge.stricter(mono_us + _HEIGHTENED_US)

    def in_force_now(self, mono_us: int) -> Rule:
        """Give the rule as it is in force at this moment."""
        rule = self.rule
        if self.asks_instead and rule.act is Act.AUTO:
            longer_us = max(rule.answer_us, TWO_PEOPLE_US)
            rule = replace(rule, act=Act.ADVISE, answer_us=longer_us, paced_us=longer_us)
        if rule.level < Level.KILL and self.probation(mono_us):
            rule = replace(rule, level=Level(rule.level + 1))
        return rule

    def decide(self, known: Known, mono_us: int, wall_us: int) -> Decision | None:
        """Judge as of now; gives a decision where there is one to make."""
        channels = [self._channel(judge, mono_us, wall_us) for judge in self.judges]
        asked = self._standing.question
        decision, self._standing = decide(
            self.in_force_now(mono_us),
            channels,
            known,
            self._standing,
            mono_us=mono_us,
            wall_us=wall_us,
            nonce=self._nonce,
        )
        if decision is None:
            return None
        if not self._standing.tripped and self._standing.question is None:
            self.since_us, self.rose = 0, ()
        elif not self.since_us:
            self.since_us = wall_us
            self.rose = tuple(sorted(decision.findings, key=lambda one: one.time_us))
        self._count(decision, unanswered=asked is not None)
        return decision

    def _channel(self, judge: Judge, mono_us: int, wall_us: int) -> ChannelState:
        if judge.section.series in self.left_out:
            why = "a person has left it out for a while"
            return ChannelState(judge.section.series, Channel.BYPASSED, why)
        return judge.state(mono_us, wall_us)

    def _count(self, decision: Decision, *, unanswered: bool) -> None:
        match decision.choice:
            case Choice.STOP:
                self.tally.stops += 1
                self.tally.late += self._standing.question is not None
                self.tally.unanswered += unanswered and self._standing.question is None
                self.tally.spent += any(one.detector == "budget" for one in decision.findings)
            case Choice.WOULD_STOP:
                self.tally.would_stop += 1
            case Choice.ASK:
                self.tally.asked += 1
            case Choice.NOTHING:
                pass

    def answer(
        self, digest: str, answer: Answer, known: Known,
        mono_us: int, wall_us: int,
    ) -> Decision:  # fmt: skip
        """Take in what a person says of its question; raises where that does not count."""
        decision, self._standing = reply(
            self.in_force_now(mono_us),
            self._standing,
            digest,
            answer,
            known,
            mono_us=mono_us,
            wall_us=wall_us,
        )
        if decision.choice is Choice.STOP:
            self.tally.stops += 1
        elif self._standing.denied is not None:
            self.tally.denied += 1
        return decision

    def in_force(self) -> dict[str, Any]:
        """Say for the ledger what the rule may do."""
        rule = self.rule
        also = {"also": [one.text for one in rule.also]} if rule.also else {}
        return {
            "name": rule.name,
            "scope": rule.scope.text,
            **also,
            "level": rule.level.label,
            "act": rule.act.value,
            "decider": rule.decider,
            "vote": rule.vote.value,
        }

    def hear_of_latches(
        self, covered: set[str], latched: set[str], mono_us: int = 0, *, ordered: bool = False
    ) -> bool:
        """Take in which targets are latched now; where a person has reset one, judge anew.

        `ordered`: a stop of this rule had been accepted before the question was asked, so that
        what is not latched was, and has been reset already.
        """
        known = covered if ordered else self._latched & covered
        reset = bool(known - latched)
        self._latched = covered & latched  # as it says: what it said before an order is no reset
        if reset:
            for judge in self.judges:
                judge.rearm(mono_us + self._probation_us if self._probation_us else 0)
            before = self._standing
            # To reset the lesser stop of a question is no answer to it, and takes none back.
            denied = before.denied
            denied = replace(denied, acted=False) if denied and denied.acted else None
            self._standing = replace(
                FRESH, trips=before.trips, question=before.question, denied=denied
            )
            if before.question is None:
                self.since_us, self.rose = 0, ()
        return reset

    def succeed(self, earlier: Bench) -> None:
        """Go on in the place of a rule of the same name: what stands goes on standing."""
        self._standing, self._latched = earlier._standing, earlier._latched
        if len(self._standing.states) != len(self.judges):
            self._standing = replace(self._standing, states=())
        self.since_us, self.rose, self.tally = earlier.since_us, earlier.rose, earlier.tally
        self.asks_instead, self.left_out = earlier.asks_instead, earlier.left_out
