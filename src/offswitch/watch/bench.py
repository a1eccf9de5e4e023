"""A rule at work: its channels, what it decided last, and when it judges anew."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from offswitch.config.declared import Rule as DeclaredRule
from offswitch.decide.arbiter import FRESH, Known, Standing, decide
from offswitch.decide.rules import Act, Rule
from offswitch.decide.votes import OnFailed, Vote
from offswitch.model.decision import Choice, Decision
from offswitch.model.level import parse_level
from offswitch.model.scope import parse_scope
from offswitch.watch.channels import Judge

__all__ = ["Bench", "rule_of"]


def rule_of(declared: DeclaredRule, mode: str = "act") -> Rule:
    """Make the rule that a table of the configuration declares.

    In the mode `observe` one that stops by itself only notes that it would have (SR-15).
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
    )


class Bench:
    """One rule with its judges."""

    __slots__ = ("_latched", "_standing", "judges", "rule", "since_us")

    def __init__(self, rule: Rule, judges: Iterable[Judge]) -> None:
        """`judges` are the channels of the rule's vote, in its order."""
        self.rule = rule
        self.judges = list(judges)
        self.since_us = 0
        """When its alarm rose, UTC in microseconds; 0: it has not."""
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

    def decide(
        self, known: Known, covered: set[str], mono_us: int, wall_us: int
    ) -> Decision | None:
        """Judge as of now; gives a decision where there is one to make."""
        channels = [judge.state(mono_us, wall_us) for judge in self.judges]
        decision, self._standing = decide(
            self.rule, channels, known, self._standing, mono_us=mono_us, wall_us=wall_us
        )
        if decision is None:
            return None
        if not self._standing.tripped:
            self.since_us = 0
        elif not self.since_us:
            self.since_us = wall_us
        if decision.choice is Choice.STOP:
            self._latched |= covered
        return decision

    def in_force(self) -> dict[str, Any]:
        """Say for the ledger what the rule may do."""
        rule = self.rule
        return {
            "name": rule.name,
            "scope": rule.scope.text,
            "level": rule.level.label,
            "act": rule.act.value,
            "decider": rule.decider,
            "vote": rule.vote.value,
        }

    def hear_of_latches(self, covered: set[str], latched: set[str]) -> bool:
        """Take in which targets are latched now; where a person has reset one, judge anew."""
        reset = bool((self._latched & covered) - latched)
        self._latched = covered & latched
        if reset:
            for judge in self.judges:
                judge.rearm()
            self._standing, self.since_us = FRESH, 0
        return reset
