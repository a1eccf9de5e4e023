"""Rows of what watch tells at its desk: sensors, rules, alarms, questions, what is lowered."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from offswitch.config.duration import format_duration
from offswitch.decide.lowering import Lowered
from offswitch.decide.questions import Question
from offswitch.watch.bench import Bench
from offswitch.watch.channels import Source

__all__ = ["alarm_row", "lowered_row", "question_row", "rule_row", "sensor_row"]

Row = dict[str, Any]


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


def alarm_row(bench: Bench, acked_by: int | None, *, shelved: bool) -> Row:
    """Tell of one alarm that stands."""
    rule, question = bench.rule, bench.question
    return {
        "rule": rule.name,
        "scope": rule.scope.text,
        "act": bench.in_force_now(0).act.value,
        "harm": rule.harm,
        "since_us": bench.since_us,
        "acked_by": acked_by,
        "shelved": shelved,
        "decision": question.digest if question else None,
        "spent": bench.tally.spent > 0,
    }


def question_row(bench: Bench, question: Question, mono_us: int) -> Row:
    """Tell of one question what it is about, and how much time is left."""
    rule = bench.in_force_now(mono_us)
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
        "silence": "nothing is stopped" if rule.observe else "it is stopped",
        "people": question.people,
        "denied_by": [answer.uid for answer in question.denials],
        "series": sorted(question.series),
    }


def lowered_row(lowered: Lowered) -> Row:
    """Tell of one thing that is lowered."""
    return {**asdict(lowered), "what": lowered.what.value}
