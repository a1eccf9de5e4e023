"""From findings to a decision, for one rule. Pure: no clock, no I/O, no memory of its own.

    channels of the rule ──► vote ──► by what the rule may do ──► decision, or none

A decision is made when something changes: the vote trips (stop, ask, or would stop), a
channel trips or falls silent without that being enough (nothing, and why), the rule goes
blind or sees again, the alarm falls. One thing repeats: as long as an automatic rule's
vote stands and something in its scope runs unlatched, it is stopped again, each second,
since a stop is never withheld from what is not latched (SR-12). What was stopped stays
latched when the alarm falls; only a reset clears it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from offswitch.decide.rules import Act, Rule
from offswitch.decide.votes import Channel, Outcome, count
from offswitch.model.decision import Choice, Decision
from offswitch.model.finding import Finding

__all__ = ["FRESH", "ChannelState", "Known", "Standing", "decide"]

_AGAIN_US = 1_000_000


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


@dataclass(frozen=True, slots=True)
class Standing:
    """What the rule has decided last; handed from call to call."""

    states: tuple[Channel, ...] = ()
    tripped: bool = False
    blind: bool = False
    decided_us: int = 0
    """When it last stopped, asked or would have stopped, monotonic microseconds."""


FRESH = Standing()


def decide(
    rule: Rule,
    channels: Sequence[ChannelState],
    known: Known,
    standing: Standing,
    *,
    mono_us: int,
    wall_us: int,
) -> tuple[Decision | None, Standing]:
    """Decide for one rule; gives the decision if there is one, and what to remember."""
    states = tuple(one.channel for one in channels)
    outcome = count(rule.vote, states, rule.on_failed)
    again = (
        outcome.tripped
        and standing.tripped
        and rule.act is Act.AUTO
        and known.unlatched > 0
        and mono_us - standing.decided_us >= _AGAIN_US
    )
    rises = outcome.tripped and not standing.tripped
    before = standing.states or (Channel.OK,) * len(states)
    if not (rises or again or states != before):
        return None, standing
    choice = _choice(rule.act) if rises or again else Choice.NOTHING
    acted_us = mono_us if choice is not Choice.NOTHING else standing.decided_us
    decision = Decision(
        choice=choice,
        by=rule.by,
        scope=rule.scope,
        level=None if choice is Choice.NOTHING else rule.level,
        why=_why(rule, channels, outcome, standing, again=again),
        time_us=wall_us,
        findings=tuple(one.finding for one in channels if one.finding is not None),
        known={
            **{one.series: f"{one.channel}: {one.why}" for one in channels},
            "vote": outcome.counted,
            "act": rule.act.value,
            "running": str(known.running),
            "unlatched": str(known.unlatched),
        },
    )
    return decision, Standing(states, outcome.tripped, outcome.blind, acted_us)


def _choice(act: Act) -> Choice:
    match act:
        case Act.AUTO:
            return Choice.STOP
        case Act.ADVISE:
            return Choice.ASK
        case Act.SHADOW:
            return Choice.WOULD_STOP
        case _:
            assert_never(act)


def _why(
    rule: Rule,
    channels: Sequence[ChannelState],
    outcome: Outcome,
    standing: Standing,
    *,
    again: bool,
) -> str:
    """Say in one sentence why this was decided."""
    out = "; ".join(
        f"{one.series} {one.channel}: {one.why}"
        for one in channels
        if one.channel is not Channel.OK
    )
    if again:
        return f"{rule.harm}: the alarm stands, and something runs unlatched: {out}"
    if outcome.tripped and not standing.tripped:
        return f"{rule.harm}: {out} (vote {outcome.counted})"
    if outcome.tripped:
        return f"the alarm stands: {out}"
    if outcome.blind:
        return f"blind: no channel of the rule can see: {out}"
    if standing.tripped:
        return "the alarm has fallen; what is latched stays latched until its reset"
    if out:
        return f"not enough for a stop (vote {outcome.counted}): {out}"
    return "all channels are well again"
