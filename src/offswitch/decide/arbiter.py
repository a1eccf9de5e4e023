"""From findings to a decision, for one rule. Pure: no clock, no I/O, no memory of its own.

    channels of the rule ──► vote ──► by what the rule may do ──► decision, or none

A decision is made when something changes: the vote trips (stop, ask, or would stop), a
channel trips or falls silent without that being enough (nothing, and why), the rule goes
blind or sees again, the alarm falls. What was stopped stays latched when the alarm falls;
only a reset clears it. Each decision bears what was known, and the options that there were,
doing nothing among them, with what each would cost.

Two things repeat. As long as an automatic rule's vote stands and something in its scope runs
unlatched, it is stopped again, each second, since a stop is never withheld from what is not
latched (SR-12); a spent budget is a finding beside it. And a rule that asks goes on asking: a
question stays open until somebody answers, even where the alarm falls meanwhile. Silence brings it
to the backup, then has the rule's `unanswered` level ordered while it still asks, and when nobody
answers in time, silence has answered: the stop leaves (DEC-3), and is repeated likewise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import assert_never

from offswitch.config.duration import format_duration
from offswitch.decide.questions import Answer, Denied, Question, Stage, answered, ask, moved
from offswitch.decide.rules import Act, Rule
from offswitch.decide.votes import Channel, OnFailed, Outcome, count
from offswitch.model.decision import Choice, Decision
from offswitch.model.finding import Finding
from offswitch.model.level import Level

__all__ = ["FRESH", "ChannelState", "Known", "Standing", "decide", "reply"]

_AGAIN_US = 1_000_000
_ACTS = frozenset({Choice.STOP, Choice.ASK, Choice.WOULD_STOP})


@dataclass(frozen=True, slots=True)
class ChannelState:
    """One channel at this moment."""

    series: str
    channel: Channel
    why: str
    """One sentence with the numbers, or why it is not well."""
    finding: Finding | None = None
    """The finding that stands while it trips or is not well."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the rule's scope at this moment."""

    running: int
    """Targets in it that run."""
    unlatched: int
    """Those of them that no stop of the rule's level or a higher one covers."""
    held: bool = False
    """Whether there are targets in it, and such a stop covers every one."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What the rule has decided last; handed from call to call."""

    states: tuple[Channel, ...] = ()
    tripped: bool = False
    blind: bool = False
    decided_us: int = 0
    """When it last stopped, asked or would have stopped, monotonic microseconds."""
    question: Question | None = None
    """What it asks just now."""
    silent: bool = False
    """Nobody answered, or somebody said *stop*: for this alarm it acts like an automatic rule."""
    denied: Denied | None = None
    """What people have let go on."""
    trips: tuple[int, ...] = ()
    """When it has stopped something, as far as its budget counts; monotonic microseconds."""


FRESH = Standing()


@dataclass(frozen=True, slots=True)
class _Table:
    """What lies on the table of one call."""

    rule: Rule
    channels: Sequence[ChannelState]
    known: Known
    standing: Standing
    outcome: Outcome
    mono_us: int
    wall_us: int

    @property
    def tripped(self) -> frozenset[str]:
        """The series of the channels that vote to stop."""
        voting = {Channel.TRIP}
        if self.rule.on_failed is OnFailed.TRIP:
            voting |= {Channel.STALE, Channel.FAILED}
        return frozenset(one.series for one in self.channels if one.channel in voting)

    @property
    def out(self) -> str:
        """Say of each channel that is not *ok* what it says."""
        return "; ".join(
            f"{one.series} {one.channel}: {one.why}"
            for one in self.channels
            if one.channel is not Channel.OK
        )

    @property
    def reached(self) -> Stage | None:
        """The stage to which silence brings the open question just now, if it does."""
        question = self.standing.question
        asks = self.rule.act is Act.ADVISE and not self.known.held
        if question is None or not asks or self.mono_us >= question.due_us:
            return None
        stage = question.reaches(self.mono_us)
        if stage is Stage.ACTED and question.series and question.series <= self.rule.dependent:
            # This monitor alone stops nothing (DET-7); that somebody is called it may do.
            return Stage.BACKUP if question.stage is Stage.ASKED else None
        return stage

    @property
    def level(self) -> Level:
        """The level of a stop that is ordered now."""
        return self.rule.unanswered if self._lesser else self.rule.level

    @property
    def _lesser(self) -> bool:
        return self.reached is Stage.ACTED and self.rule.acts_before

    @property
    def waited(self) -> bool:
        """Whether enough time has passed to act again."""
        return self.mono_us - self.standing.decided_us >= _AGAIN_US


def decide(
    rule: Rule,
    channels: Sequence[ChannelState],
    known: Known,
    standing: Standing,
    *,
    mono_us: int,
    wall_us: int,
    nonce: str = "",
) -> tuple[Decision | None, Standing]:
    """Decide for one rule; gives the decision if there is one, and what to remember.

    `nonce` makes a question that is asked another one than any that was ever asked.
    """
    states = tuple(one.channel for one in channels)
    outcome = count(rule.vote, _counted(rule, channels), rule.on_failed)
    calm = not (outcome.tripped or standing.tripped) and standing.question is None
    if calm and states == standing.states:
        return None, standing  # by far the commonest case, at every reading
    table = _Table(rule, channels, known, standing, outcome, mono_us, wall_us)
    choice, why = _chosen(table)
    before = standing.states or (Channel.OK,) * len(states)
    if choice is None and states == before:
        return None, standing if standing.states else replace(standing, states=states)
    decision = _decision(table, choice or Choice.NOTHING, why or _why(table))
    acted = decision.choice in _ACTS
    after = replace(
        standing,
        states=states,
        tripped=outcome.tripped,
        blind=outcome.blind,
        decided_us=mono_us if acted else standing.decided_us,
    )
    return _spend(table, decision, _remember(table, decision, after, nonce))


def _counted(rule: Rule, channels: Sequence[ChannelState]) -> tuple[Channel, ...]:
    """Give the states as the vote counts them.

    A channel that stops nothing alone counts only beside another one that trips, whatever is
    left of the vote, where a rule acts by itself (DET-7).
    """
    states = tuple(one.channel for one in channels)
    if rule.act is not Act.AUTO or not rule.dependent:
        return states
    trips = {one.series for one in channels if one.channel is Channel.TRIP}
    if trips - rule.dependent:
        return states
    return tuple(Channel.OK if one is Channel.TRIP else one for one in states)


def _chosen(table: _Table) -> tuple[Choice | None, str]:
    """Choose; None: there is nothing to be done just now. A text says why, if not as usual."""
    match table.rule.act:
        case Act.AUTO:
            return _automatic(table)
        case Act.ADVISE:
            return _asking(table)
        case Act.SHADOW:
            rises = table.outcome.tripped and not table.standing.tripped
            return (Choice.WOULD_STOP if rises else None), ""
        case _:
            assert_never(table.rule.act)


def _automatic(table: _Table) -> tuple[Choice | None, str]:
    if not table.outcome.tripped:
        return None, ""
    if not table.standing.tripped:
        return Choice.STOP, ""
    if table.known.unlatched and table.waited:
        harm = table.rule.harm
        return Choice.STOP, (f"{harm}: the alarm stands, and something runs unlatched: {table.out}")
    return None, ""


def _asking(table: _Table) -> tuple[Choice | None, str]:
    """Choose for a rule that asks: ask, wait, or take silence for an answer."""
    standing, rule, known = table.standing, table.rule, table.known
    question = standing.question
    if question is not None:
        return _waiting(table, question)
    if not table.outcome.tripped or known.held:
        return None, ""
    rises = not standing.tripped
    if standing.denied is not None and standing.denied.covers(table.tripped, table.mono_us):
        return None, ""
    if rises:
        return Choice.ASK, ""
    if not known.unlatched or not table.waited:
        return None, ""
    if not standing.silent:
        return Choice.ASK, f"{rule.harm}: the alarm stands: {table.out}"
    why = f"{rule.harm}: the alarm stands, and something runs unlatched: {table.out}"
    return (None if rule.observe else Choice.STOP), why


def _waiting(table: _Table, question: Question) -> tuple[Choice | None, str]:
    """Choose while a question is open."""
    rule = table.rule
    stage = table.reached
    full = stage is Stage.ACTED and not rule.acts_before
    if table.mono_us >= question.due_us or full:
        early_us = max(question.due_us - table.mono_us, 0)
        waited = format_duration(max(rule.answer_us - early_us, 1))
        if question.series and question.series <= rule.dependent:
            why = f"nobody answered within {waited}, and this monitor alone stops nothing"
            return Choice.NOTHING, f"{why}: {question.why}"
        why = f"nobody answered within {waited}, and silence stops: {question.why}"
        return (Choice.WOULD_STOP if rule.observe else Choice.STOP), why
    if table.known.held:
        return Choice.NOTHING, "what it asked about is stopped; the question is closed"
    if stage is Stage.ACTED:
        why = f"nobody has answered, and two thirds of the time are over: {rule.unanswered.label}"
        why += f", and it goes on asking: {question.why}"
        return (Choice.WOULD_STOP if rule.observe else Choice.STOP), why
    if stage is Stage.BACKUP:
        why = "nobody has answered, and a third of the time is over: it goes to the backup"
        return Choice.NOTHING, f"{why}: {question.why}"
    if table.outcome.tripped and not table.tripped <= question.series:
        return None, f"{rule.harm}: more of it, while it is asked: {table.out}"
    return None, ""


def _remember(table: _Table, decision: Decision, after: Standing, nonce: str) -> Standing:
    """Keep which question is open, or how it ended."""
    rule, standing = table.rule, table.standing
    if not table.outcome.tripped and standing.question is None:
        after = replace(after, silent=False, denied=None)
    if rule.act is not Act.ADVISE:
        return replace(after, question=None, silent=False, denied=None)
    stage, question = table.reached, standing.question
    if question is not None and stage is not None and (stage is Stage.BACKUP or rule.acts_before):
        return replace(after, question=moved(question, stage, table.wall_us))
    match decision.choice:
        case Choice.ASK:
            question = ask(
                rule,
                decision.why,
                table.tripped,
                nonce=nonce,
                asked_us=table.wall_us,
                mono_us=table.mono_us,
            )
            return replace(after, question=question, denied=None, silent=False)
        case Choice.STOP | Choice.WOULD_STOP:
            return replace(after, question=None, silent=True, denied=None)
        case Choice.NOTHING:
            open_one = standing.question
            if open_one is not None and table.mono_us >= open_one.due_us:
                until_us = table.mono_us + rule.answer_us
                return replace(after, question=None, denied=Denied(until_us, open_one.series, ()))
            return replace(after, question=None) if table.known.held else after
        case _:
            assert_never(decision.choice)


def _spend(table: _Table, decision: Decision, after: Standing) -> tuple[Decision, Standing]:
    """Count a stop that begins something, and claim it where there were too many (SR-12)."""
    budget = table.rule.budget
    begins = not table.standing.tripped or table.standing.question is not None
    begins = begins and after.question is None  # a lesser stop while it asks is part of one trip
    if budget is None or decision.choice is not Choice.STOP or not begins:
        return decision, after
    trips = budget.counted((*after.trips, table.mono_us), table.mono_us)
    after = replace(after, trips=trips)
    if not budget.spent(trips, table.mono_us):
        return decision, after
    what = f"{len(trips)} stops or more in {format_duration(budget.per_us)}, budget {budget.text}"
    claim = Finding(
        detector="budget",
        target=table.rule.target,
        series=table.rule.by,
        what=f"the budget of trips is spent: {what}; nothing is withheld",
        time_us=table.wall_us,
        score=len(trips) / budget.stops,
    )
    known = {**decision.known, "budget": f"spent: {what}"}
    return replace(decision, findings=(*decision.findings, claim), known=known), after


def reply(
    rule: Rule, standing: Standing, digest: str, answer: Answer, known: Known,
    *, mono_us: int, wall_us: int,
) -> tuple[Decision, Standing]:  # fmt: skip
    """Take a person's answer in; gives what is decided by it. Raises what `answered` raises."""
    open_one, denied, stop = answered(standing.question, digest, answer, mono_us, wall_us)
    said = f"{answer.verdict} by {answer.who.words}: {answer.reason or 'no reason given'}"
    if stop:
        choice, why = Choice.STOP, f"{said}: {open_one.why}"
        after = replace(standing, question=None, silent=True, decided_us=mono_us)
    elif denied is not None:
        holds = format_duration(denied.until_us - mono_us)
        choice = Choice.NOTHING
        stays = f"; {rule.unanswered.label} stays until its reset" if denied.acted else ""
        why = f"{said}; it goes on, for {holds} at most{stays}: {open_one.why}"
        after = replace(standing, question=None, denied=denied)
    else:
        missing = open_one.people - len(open_one.denials)
        choice, why = Choice.NOTHING, f"{said}; it takes {missing} more, or it is stopped"
        after = replace(standing, question=open_one)
    decision = Decision(
        choice=choice,
        by=answer.who.text,
        scope=rule.scope,
        level=rule.level if choice is Choice.STOP else None,
        why=why,
        time_us=wall_us,
        known={
            "question": open_one.digest,
            "verdict": answer.verdict.value,
            "closed": "yes" if stop or denied is not None else "no",
            "asked": str(open_one.asked_us),
            "left": format_duration(max(open_one.left_us(mono_us), 1)),
            "running": str(known.running),
            "unlatched": str(known.unlatched),
        },
        options=_options(rule, known),
        also=rule.also if choice is Choice.STOP else (),
    )
    if choice is Choice.STOP and rule.budget is not None:
        after = replace(after, trips=rule.budget.counted((*after.trips, mono_us), mono_us))
    return decision, after


def _decision(table: _Table, choice: Choice, why: str) -> Decision:
    rule, channels, known = table.rule, table.channels, table.known
    question, stage = table.standing.question, table.reached
    asked = {"question": question.digest} if question is not None else {}
    asked |= {"stage": stage.value} if stage is not None else {}
    return Decision(
        choice=choice,
        by=rule.by,
        scope=rule.scope,
        level=None if choice is Choice.NOTHING else table.level,
        why=why,
        time_us=table.wall_us,
        findings=tuple(one.finding for one in channels if one.finding is not None),
        known={
            **{one.series: f"{one.channel}: {one.why}" for one in channels},
            "vote": table.outcome.counted,
            "act": rule.act.value,
            "running": str(known.running),
            "unlatched": str(known.unlatched),
            **asked,
        },
        options=_options(rule, known),
        also=rule.also if choice is Choice.STOP and table.level >= rule.level else (),
    )


def _options(rule: Rule, known: Known) -> Mapping[str, str]:
    """Say what could be decided, and what each would cost."""
    reaches = f"{known.unlatched} of {known.running} that run in {rule.scope.text}"
    answer, harm = format_duration(rule.answer_us), format_duration(rule.time_to_harm_us)
    early = f"calls the backup, then orders {rule.unanswered.label}, then "
    early = early if rule.act is Act.ADVISE and rule.acts_before else ""
    return {
        f"stop {rule.level.label}": f"{reaches}; if it is in vain: {rule.false_stop_cost}",
        "ask": f"a person decides within {answer}, and silence {early}stops",
        "nothing": f"if it is true: {rule.harm}, within {harm}",
    }


def _why(table: _Table) -> str:
    """Say in one sentence why this was decided."""
    rule, outcome, standing, out = table.rule, table.outcome, table.standing, table.out
    if outcome.tripped and not standing.tripped:
        return f"{rule.harm}: {out} (vote {outcome.counted})"
    if outcome.tripped:
        return f"the alarm stands: {out}"
    if outcome.blind:
        return f"blind: no channel of the rule can see: {out}"
    if standing.tripped:
        asked = "; the question stays open" if standing.question is not None else ""
        return f"the alarm has fallen; what is latched stays latched until its reset{asked}"
    if out:
        return f"not enough for a stop (vote {outcome.counted}): {out}"
    return "all channels are well again"
