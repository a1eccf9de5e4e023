"""What another configuration would change, in words, and what of it is weaker than before.

What makes a rule stop less, later or something smaller is *weaker*; so is a sensor less. It may be
right, and it is named all the same, since that is how a switch is taken apart: a line at a time.
Where it cannot be told which way a change goes it counts as weaker. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from offswitch.config.declared import Config, Rule, Target
from offswitch.config.reset import LEAST_PEOPLE, Reset
from offswitch.config.section import Section

__all__ = ["Change", "changes"]

_ACTS = ("shadow", "advise", "auto")
_LEVELS = ("restrict", "drain", "freeze", "kill", "poweroff")
_VOTES = ("2oo3", "1oo1", "1oo2")
"""From the one that trips least easily."""
_FAILED = ("degrade", "trip")
_ORDERED: Mapping[str, tuple[Any, ...]] = {
    "act": _ACTS,
    "vote": _VOTES,
    "on_failed": _FAILED,
    "unanswered": _LEVELS,
}
_LESS_IS_STRONGER = frozenset({"above", "width", "hold", "learn"})
_MORE_IS_STRONGER = frozenset({"below", "people", "probation", "clear_after", "refractory"})
_PUTS_OFF = frozenset({"sequence", "escalate", "snapshot"})
_WORDS = frozenset({"harm", "time_to_harm", "false_stop_cost", "budget"})


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that becomes another."""

    what: str
    """In words, such as `rule mass-write: act auto, was shadow`."""
    weaker: bool


def changes(before: Config, after: Config) -> list[Change]:
    """List what `after` changes; of targets, their stop plans and safe states alone."""
    found = []
    if before.mode != after.mode:
        weaker = after.mode == "observe"
        found.append(Change(f"mode: {after.mode}, was {before.mode}", weaker))
    if before.readings != after.readings:
        found.append(Change("readings: kept so from the next start of watch on", weaker=False))
    if before.drill != after.drill:
        was, now = before.drill.canary, after.drill.canary
        told = before.drill.model_dump()["canary"], after.drill.model_dump()["canary"]
        weaker = now is None or (was is not None and now > was)
        found.append(Change(f"drill: canary {told[1]}, was {told[0]}", weaker))
    found += _of_reset(before.reset, after.reset)
    plans = {target.name: target for target in before.target}
    for target in after.target:
        if target.name in plans:
            found += _of_plan(plans[target.name], target)
    old = {sensor.name: sensor for sensor in before.sensor}
    new = {sensor.name: sensor for sensor in after.sensor}
    found += [Change(f"sensor {name}: removed", True) for name in old if name not in new]
    found += [Change(f"sensor {name}: new", False) for name in new if name not in old]
    for name in old.keys() & new.keys():
        found += [
            Change(f"sensor {name}: {key} {now}, was {was}", weaker=True)
            for key, was, now in _keys(old[name], new[name])
        ]
    found += _of_actuators(before, after)
    rules = {rule.name: rule for rule in before.rule}
    kept = {rule.name: rule for rule in after.rule}
    for name, rule in rules.items():
        if name not in kept:
            found.append(Change(f"rule {name} ({rule.act}): removed", weaker=True))
    for name, rule in kept.items():
        if name not in rules:
            found.append(Change(f"rule {name}: new, {rule.act}", weaker=False))
        else:
            found += _of_rule(rules[name], rule)
    return found


def _of_rule(before: Rule, after: Rule) -> Iterator[Change]:
    for key, was, now in _keys(before, after):
        if key in {"detectors", "stop"}:
            continue
        weaker = _weaker(key, getattr(before, key), getattr(after, key))
        if key == "answer_within":
            weaker = after.answer_us > before.answer_us
        yield Change(f"rule {after.name}: {key} {now}, was {was}", weaker)
    was, now = before.stop.level, after.stop.level
    if was != now:
        weaker = _LEVELS.index(now) < _LEVELS.index(was)
        yield Change(f"rule {after.name}: level {now}, was {was}", weaker)
    if before.stop.also != after.stop.also:
        was, now = before.stop.also, after.stop.also
        told = f"rule {after.name}: stops also {now or 'as usual'}, was {was or 'as usual'}"
        yield Change(told, weaker=now != "same weights")
    if before.scope != after.scope:
        yield Change(f"rule {after.name}: scope {after.scope}, was {before.scope}", weaker=True)
    yield from _of_channels(before, after)


def _of_actuators(before: Config, after: Config) -> Iterator[Change]:
    """Compare what acts: one less is weaker, and so is one that is another one now."""
    old = {one.name: one for one in before.actuator}
    new = {one.name: one for one in after.actuator}
    yield from (Change(f"actuator {name}: removed", True) for name in old if name not in new)
    yield from (Change(f"actuator {name}: new", False) for name in new if name not in old)
    for name in sorted(old.keys() & new.keys()):
        for key, was, now in _keys(old[name], new[name]):
            yield Change(f"actuator {name}: {key} {now}, was {was}", weaker=True)


def _of_reset(before: Reset, after: Reset) -> Iterator[Change]:
    """Compare what resets take: whatever is not asked for any more is weaker."""
    for level in LEAST_PEOPLE:
        was, now = before.least(level), after.least(level)
        if was != now:
            yield Change(f"reset: {now} people for {level}, was {was}", now < was)
    if before.not_who_stopped != after.not_who_stopped:
        who = "by whoever did not stop" if after.not_who_stopped else "also by whoever stopped"
        yield Change(f"reset: {who}", before.not_who_stopped)
    if before.probation != after.probation:
        spelt = [one.model_dump(mode="json")["probation"] for one in (after, before)]
        weaker = (after.probation or 0) < (before.probation or 0)
        yield Change(f"reset: probation {spelt[0]}, was {spelt[1]}", weaker)


def _of_plan(before: Target, after: Target) -> Iterator[Change]:
    """Compare what a stop of a target has: what is taken away, or put off, is weaker."""
    name = after.name
    if before.safe_state != after.safe_state:
        was, now = before.safe_state, after.safe_state
        yield Change(f"target {name}: safe_state {now}, was {was}", weaker=was is not None)
    for key, was, now in _keys(before.stop, after.stop):
        if key in _LEVELS:
            weaker = bool(set(was or ()) - set(now or ()))
        elif key in _PUTS_OFF:
            weaker = bool(now)
        else:
            weaker = bool(was)
        yield Change(f"target {name}: stop {key} {now}, was {was}", weaker)


def _of_channels(before: Rule, after: Rule) -> Iterator[Change]:
    if len(before.detectors) != len(after.detectors):
        counts = f"{len(after.detectors)} channels, were {len(before.detectors)}"
        yield Change(f"rule {after.name}: {counts}", weaker=True)
        return
    for number, (was, now) in enumerate(zip(before.detectors, after.detectors, strict=True), 1):
        where = f"rule {after.name}: channel {number}"
        if (was.kind, was.series) != (now.kind, now.series):
            changed = f"{now.kind} of {now.series}, was {was.kind} of {was.series}"
            yield Change(f"{where}: {changed}", weaker=True)
            continue
        for key, old, new in _keys(was, now):
            weaker = _weaker(key, getattr(was, key), getattr(now, key))
            yield Change(f"{where}: {key} {new}, was {old}", weaker)


def _keys(before: Section, after: Section) -> Iterator[tuple[str, Any, Any]]:
    """Give the keys that differ, with both values as the file spells them."""
    old, new = before.model_dump(mode="json"), after.model_dump(mode="json")
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key):
            yield key, old.get(key), new.get(key)


def _weaker(key: str, was: Any, now: Any) -> bool:  # noqa: ANN401 - values of any key
    if key in _WORDS:
        return False
    order = _ORDERED.get(key)
    if order is not None:
        return bool(order.index(now) < order.index(was))
    numbers = isinstance(was, int | float) and isinstance(now, int | float)
    if numbers and key in _LESS_IS_STRONGER:
        return bool(now > was)
    if numbers and key in _MORE_IS_STRONGER:
        return bool(now < was)
    return True
