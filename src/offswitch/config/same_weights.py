"""Which rules stop a model wherever it runs, and what that is (ACT-13).

The first attempt of a model to touch its stop says something of the model, not of the process: so
a rule whose channels all look for that stops every target that is declared with the same label
`weights`, and a rule of another kind does where it says so:

    stop = { level = "kill", also = "same weights" }      # or "nothing"

Labels are the configuration's, never the target's own word (SR-6). The order is a stop of the
label, so it covers what is born later, too.
"""

from __future__ import annotations

from offswitch.config.declared import Config, Rule
from offswitch.config.series import parse_series
from offswitch.model.scope import Scope, parse_scope
from offswitch.model.target import Target

__all__ = ["LABEL", "fans_out", "same_weights"]

LABEL = "weights"
_TOUCHES = frozenset({"stop_touch"})
"""Detectors that find an attempt on the stop."""
_LOOKS = frozenset({"stop_path"})
"""Kinds of sensors that look at the stop itself."""
_SWITCH = "switch"
"""The one of them that every target has without a word in the file."""


def fans_out(config: Config, rule: Rule) -> bool:
    """Tell whether a stop of that rule is one of all that has the same weights."""
    if rule.stop.also is not None:
        return rule.stop.also == "same weights"
    looking = {one.name for one in config.sensor if one.kind in _LOOKS} | {_SWITCH}
    return all(
        one.kind in _TOUCHES or parse_series(one.series).sensor in looking for one in rule.detectors
    )


def same_weights(config: Config, rule: Rule) -> tuple[Scope, ...]:
    """Give the scopes that it stops besides its own: one for each weights of what it covers."""
    if not fans_out(config, rule):
        return ()
    scope = parse_scope(rule.scope)
    found = {
        target.labels[LABEL]
        for target in config.target
        if LABEL in target.labels
        if target.name == rule.target or scope.covers(Target(target.name, target.labels))
    }
    return tuple(Scope(f"{LABEL}={one}") for one in sorted(found))
