"""Rows of what watch tells at its desk: sensors, rules, alarms, questions, what is lowered."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from offswitch.config.duration import format_duration
from offswitch.decide.lowering import Lowered, What
from offswitch.decide.questions import Question, Stage
from offswitch.model.finding import Finding
from offswitch.watch.bench import Bench
from offswitch.watch.channels import Source
from offswitch.watch.desk.proposals import Proposal

__all__ = [
    "alarm_row",
    "banner",
    "finding_row",
    "lowered_row",
    "proposal_row",
    "question_row",
    "rule_row",
    "sensor_row",
]

Row = dict[str, Any]
Lag = Callable[[str, str], tuple[int, int]]
"""How long after the fact a finding comes, at most and at least, by target and series; in us."""
_MOST_EVIDENCE = 8
_MOST_FINDINGS = 3
"""Of an alarm; evidence has the first one, since a flood has a thousand alarms."""
_LONGEST_NAME, _LONGEST_EVIDENCE, _LONGEST_TEXT = 60, 200, 300


def sensor_row(source: Source, mono_us: int) -> Row:
    """Tell of one source how it is, and how old what it saw is."""
    age_us = source.age_us(mono_us)
    state = "absent" if source.absent and not source.problem else source.state.value
    return {
        "sensor": source.section.name,
        "kind": source.section.kind,
        "target": source.section.target,
        "state": state,
        "age_ms": None if age_us is None else age_us // 1000,
        "every": format_duration(source.section.every),
        "problem": source.problem,
        "note": source.note,
        "heard": source.looks,
        "series": source.series,
        "hearsay": source.hearsay,
    }


def rule_row(bench: Bench, mono_us: int) -> Row:
    """Tell of one rule what it may do now, how it stands, and what it has done so far (REL-3)."""
    rule = bench.rule
    state = "alarm" if bench.tripped else "blind" if bench.blind else "ok"
    state = "asks" if bench.question is not None else state
    return {
        "rule": rule.name,
        "target": rule.target,
        "scope": rule.scope.text,
        "level": bench.in_force_now(mono_us).level.label,
        "act": rule.act.value,
        "acts_now": bench.in_force_now(mono_us).act.value,
        "decider": rule.decider,
        "vote": rule.vote.value,
        "state": state,
        "since_us": bench.since_us,
        "probation": bench.probation(mono_us),
        "denied": bench.denied,
        "left_out": sorted(bench.left_out),
        "budget": rule.budget.text if rule.budget else None,
        "false_stop_cost": rule.false_stop_cost,
        "tally": asdict(bench.tally),
        "channels": [
            {
                "series": judge.section.series,
                "detector": judge.name,
                "trips": judge.trips,
                "score": judge.score if math.isfinite(judge.score) else None,
                "near": judge.nears,
            }
            for judge in bench.judges
        ],
    }


def alarm_row(bench: Bench, acked: tuple[str, int] | None, lag: Lag, *, shelved: bool) -> Row:
    """Tell of one alarm that stands, and by which findings it rose, the first one first."""
    rule, question = bench.rule, bench.question
    return {
        "rule": rule.name,
        "target": rule.target,
        "scope": rule.scope.text,
        "level": bench.in_force_now(0).level.label,
        "act": bench.in_force_now(0).act.value,
        "state": bench.alarm.value,
        "harm": rule.harm,
        "since_us": bench.since_us,
        "acked_by": acked[0] if acked else None,
        "acked_us": acked[1] if acked else None,
        "shelved": shelved,
        "decision": question.digest if question else None,
        "spent": bench.tally.spent > 0,
        "findings": [
            {**finding_row(one, lag), **({"evidence": {}} if number else {})}
            for number, one in enumerate(bench.rose[:_MOST_FINDINGS])
        ],
    }


def finding_row(finding: Finding, lag: Lag, index: int | None = None) -> Row:
    """Tell of one finding; what a target wrote into it is bounded, and hostile all the same."""
    evidence = list(finding.evidence.items())[:_MOST_EVIDENCE]
    lag_us, wait_us = lag(finding.target, finding.series)
    return {
        **({} if index is None else {"index": index}),
        "target": finding.target,
        "series": finding.series,
        "detector": finding.detector[:_LONGEST_TEXT],
        "what": finding.what[:_LONGEST_TEXT],
        "found_us": finding.time_us,
        "lag_us": lag_us,
        "wait_us": wait_us,
        "score": finding.score if math.isfinite(finding.score) else None,
        "evidence": {key[:_LONGEST_NAME]: text[:_LONGEST_EVIDENCE] for key, text in evidence},
    }


def question_row(bench: Bench, question: Question, mono_us: int) -> Row:
    """Tell of one question what it is about, how much time is left, and what silence does when."""
    rule = bench.in_force_now(mono_us)
    ahead_us = question.due_wall_us - question.due_us
    acts = rule.acts_before and not question.series <= rule.dependent and not rule.observe
    return {
        "decision": question.digest,
        "rule": rule.name,
        "scope": rule.scope.text,
        "level": rule.level.label,
        "harm": rule.harm,
        "false_stop_cost": rule.false_stop_cost,
        "why": question.why,
        "asked_us": question.asked_us,
        "left_ms": question.left_us(mono_us) // 1000,
        "due_us": question.due_wall_us,
        "silence": "nothing is stopped" if rule.observe else "it is stopped",
        "unanswered": rule.unanswered.label if acts else None,
        "stage": question.stage.value,
        "backup": question.stage is not Stage.ASKED,
        "backup_us": _before(question.backup_us, question.due_us, ahead_us),
        "act_us": _before(question.act_us, question.due_us, ahead_us) if acts else None,
        "events": [asdict(event) for event in question.events],
        "people": question.people,
        "denied_by": [answer.who.text for answer in question.denials],
        "series": sorted(question.series),
    }


def _before(mono_us: int, due_us: int, ahead_us: int) -> int | None:
    """Give a moment of a question as UTC; None where it would come after the end."""
    return mono_us + ahead_us if mono_us < due_us else None


def lowered_row(lowered: Lowered) -> Row:
    """Tell of one thing that is lowered."""
    return {**asdict(lowered), "what": lowered.what.value, "banner": banner(lowered)}


def proposal_row(proposal: Proposal, mono_us: int) -> Row:
    """Tell of one lowering that waits for proofs."""
    return {
        **lowered_row(proposal.wanted),
        "pending": True,
        "digest": proposal.digest,
        "people": proposal.people,
        "proven": list(proposal.proven),
        "needs": proposal.needs,
        "left_ms": max(proposal.due_us - mono_us, 0) // 1000,
    }


def banner(lowered: Lowered) -> str:
    """Say what is lowered, until when and by whom: nobody may overlook it (HMI-6)."""
    until = time.strftime("%H:%M UTC", time.gmtime(lowered.until_us / 1e6))
    shelved = lowered.what is What.SHELVE
    does = "its alarm is shelved" if shelved else "it asks, and does not stop"
    does = f"its channel {lowered.series} is left out" if lowered.series else does
    return (
        f"BYPASS: rule {lowered.rule}: {does} until {until}, by {lowered.owner}: {lowered.reason};"
        f" instead: {lowered.measure}"
    )
