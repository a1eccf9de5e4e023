"""What a page needs to know besides what happened: addresses, costs, who leads."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field

from offswitch.config.declared import Config, Rule
from offswitch.config.duration import format_duration
from offswitch.model.scope import Scope

__all__ = ["Context", "command", "related"]

_MOST_COSTS = 5


@dataclass(frozen=True, slots=True)
class Context:
    """What is known from the configuration."""

    base: str = "http://127.0.0.1:7474"
    """Where people reach the console."""
    lead: str = ""
    impacts: Mapping[str, str] = field(default_factory=dict)
    """Target → what a stop of it does to others."""
    rules: Mapping[str, Rule] = field(default_factory=dict)

    @classmethod
    def of(cls, config: Config, base: str) -> Context:
        """Take it out of a configuration."""
        impacts = {
            one.name: f"{one.name}: {said.who}: {said.harm}, bearable for "
            f"{format_duration(said.bearable)}, told by {said.told_by}"
            for one in config.target
            if (said := one.stop_impact) is not None
        }
        return cls(base, config.escalation.lead, impacts, {rule.name: rule for rule in config.rule})

    def cost(self, scope: str, rule: str = "") -> str:
        """Say what a stop of `scope` costs, as far as somebody has declared it."""
        about = Scope(scope)
        found = [said for name, said in self.impacts.items() if about.covers_path(name)]
        left = len(found) - _MOST_COSTS
        said = found[:_MOST_COSTS] + ([f"and {left} more targets"] if left > 0 else [])
        if rule in self.rules:
            said.insert(0, f"if it is in vain: {self.rules[rule].false_stop_cost}")
        return "; ".join(said)

    def link(self, *path: str) -> str:
        """Give the address of a page of the console."""
        return "/".join([self.base, *path])


def command(*words: str) -> str:
    """Write a command line that can be typed as it stands, whatever the words hold."""
    return shlex.join(["offswitch", *words])


def related(one: str, other: str) -> bool:
    """Tell whether two scopes have to do with each other, as far as their texts tell.

    What a label covers nobody knows here, so it has to do with everything: a page too many.
    """
    a, b = Scope(one), Scope(other)
    return a.is_label or b.is_label or a.contains(b) or b.contains(a)
