"""What a single table cannot know of itself: names that clash, channels that lead nowhere.

Each problem is a path into the file and a sentence; `load` adds the line. The checks are
those that would otherwise be found in the emergency: a rule on a series that nobody reads,
a vote without its channels, and above all a rule whose decider is slower than the harm
(DEC-1).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from offswitch.config.declared import Config, Decider, Rule, decider_of
from offswitch.config.duration import format_duration
from offswitch.config.lines import Path
from offswitch.config.section import SensorSection
from offswitch.config.series import parse_series
from offswitch.model.level import Level
from offswitch.model.scope import parse_scope
from offswitch.model.target import Target

__all__ = ["Implicit", "dependent_sensors", "problems"]

Problem = tuple[Path, str]
Implicit = Mapping[str, Callable[[str], SensorSection]]
"""Sensors that every target has without a word in the file: by name, made for a target."""

_CHANNELS = {"1oo1": 1, "1oo2": 2, "2oo3": 3}
_RANK = {Decider.AUTO: 0, Decider.HUMAN_1: 1, Decider.HUMAN_2: 2}
_WHO = {
    Decider.AUTO: 'no person is that fast: use act = "auto"',
    Decider.HUMAN_1: 'one person can decide in that time, two cannot: use people = 1 or "auto"',
}


def problems(
    config: Config, implicit: Implicit, dependent: Collection[str] = ()
) -> Iterator[Problem]:
    """Find everything that is wrong between the tables.

    `dependent` are the kinds of detectors that may not stop anything alone (DET-7).
    """
    yield from _twice("target", [target.name for target in config.target])
    yield from _twice("sensor", [sensor.name for sensor in config.sensor])
    yield from _twice("actuator", [actuator.name for actuator in config.actuator])
    yield from _twice("rule", [rule.name for rule in config.rule])
    yield from _twice("notify", [one.name for one in config.notify])
    yield from _twice("outside", [one.name for one in config.outside])
    yield from _twice("gateway", [one.name for one in config.gateway])
    yield from _steps(config)
    yield from _actuators(config)
    yield from _listens(config)
    yield from _chain(config)
    yield from _taken_along(config)
    for index, sensor in enumerate(config.sensor):
        if sensor.name in implicit:
            known = f"{sensor.name!r} is the name of what every target has anyway"
            yield ("sensor", index, "name"), f"{known}; use another name"
    sensors = {sensor.name: sensor for sensor in config.sensor}
    for index, rule in enumerate(config.rule):
        yield from _in_rule(("rule", index), rule, sensors, implicit)
        yield from _alone(("rule", index), rule, {*dependent, *dependent_sensors(config.sensor)})


def _chain(config: Config) -> Iterator[Problem]:
    """Refuse a chain that calls somebody over what is not there."""
    known = [one.name for one in config.notify]
    for index, step in enumerate(config.escalation.step):
        for name in step.sinks:
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                yield ("escalation", "step", index, "sinks"), f"there is no notify {name!r}{hint}"


def _actuators(config: Config) -> Iterator[Problem]:
    """Refuse what stops a target that nothing else knows: most likely its name is misspelt."""
    known = [target.name for target in config.target]
    known += [route.target for gateway in config.gateway for route in gateway.route]
    for index, actuator in enumerate(config.actuator):
        if actuator.target not in known:
            near = difflib.get_close_matches(actuator.target, known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ": declare it with [[target]]"
            yield ("actuator", index, "target"), f"there is no target {actuator.target!r}{hint}"


def _taken_along(config: Config) -> Iterator[Problem]:
    """Refuse a stop plan that takes along, or tells the people of, what is not declared."""
    all_of = [Target(one.name, one.labels) for one in config.target]
    all_of += [Target(route.target) for gateway in config.gateway for route in gateway.route]
    for number, target in enumerate(config.target):
        plan = target.stop
        named = [("dependents", i, one.target) for i, one in enumerate(plan.dependents)]
        named += [("tell", i, one.target) for i, one in enumerate(plan.tell) if one.target]
        for key, index, text in named:
            scope = parse_scope(text)
            if not any(scope.covers(one) for one in all_of):
                near = difflib.get_close_matches(text, [one.name for one in all_of], 1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                where: Path = ("target", number, "stop", key, index, "target")
                yield where, f"{text} covers no target of this file{hint}"


def _steps(config: Config) -> Iterator[Problem]:
    """Refuse a route whose step is another target's name, and one that can hold back no model."""
    declared = {target.name for target in config.target}
    for number, gateway in enumerate(config.gateway):
        for index, route in enumerate(gateway.route):
            here: Path = ("gateway", number, "route", index)
            for step in route.steps:
                if f"{route.target}/{step}" in declared:
                    yield (*here, "steps"), f"there is a target {route.target}/{step} already"
            if "model" in {*route.steps, *route.restrict} and route.fallback is None:
                yield here, "the model can be held back, so say who answers: fallback"


def _listens(config: Config) -> Iterator[Problem]:
    """Refuse two gateways at one address: the kernel would deal clients out to either."""
    taken: dict[str, str] = {}
    for number, gateway in enumerate(config.gateway):
        for at in gateway.listen:
            if at in taken and not at.endswith(":0"):
                yield ("gateway", number, "listen"), f"{taken[at]} listens on {at} already"
            taken[at] = f"gateway {gateway.name!r}"


def _twice(table: str, names: list[str]) -> Iterator[Problem]:
    for index, name in enumerate(names):
        if name in names[:index]:
            yield (table, index, "name"), f"there are two of the name {name!r}"


def dependent_sensors(sensors: Iterable[SensorSection]) -> frozenset[str]:
    """Give the names of sensors whose series stop nothing alone, whoever judges them (DET-7)."""
    return frozenset(one.name for one in sensors if not one.ALONE)


def _alone(path: Path, rule: Rule, dependent: Collection[str]) -> Iterator[Problem]:
    """Refuse an automatic rule that detectors could trip which must not do so alone (DET-7)."""
    named = [(one.kind, parse_series(one.series).sensor) for one in rule.detectors]
    those = [
        next(each for each in one if each in dependent) for one in named if {*one} & {*dependent}
    ]
    if rule.act == "auto" and len(those) >= int(rule.vote[0]):
        yield (
            (*path, "detectors"),
            f"{those[0]} alone must not stop anything: give it two others and a vote 2oo3, or ask",
        )


def _in_rule(
    path: Path, rule: Rule, sensors: Mapping[str, SensorSection], implicit: Implicit
) -> Iterator[Problem]:
    fastest = decider_of(rule.time_to_harm)
    if rule.act == "advise" and _RANK[rule.decider] > _RANK[fastest]:
        time = format_duration(rule.time_to_harm)
        yield (*path, "act"), f"the harm of {rule.name!r} comes within {time}: {_WHO[fastest]}"
    own, early = Level[rule.stop.level.upper()], Level[rule.unanswered.upper()]
    if early > own:
        why = f"{early.label} goes further than the rule's own level, {own.label}"
        yield (*path, "unanswered"), f"{why}: nobody has answered yet; use {own.label} or less"
    if len(rule.detectors) != _CHANNELS[rule.vote]:
        wanted, given = _CHANNELS[rule.vote], len(rule.detectors)
        yield (*path, "detectors"), f"a vote {rule.vote} wants {wanted} detectors, not {given}"
    for number, detector in enumerate(rule.detectors):
        here = (*path, "detectors", number)
        name = parse_series(detector.series)
        make = implicit.get(name.sensor)
        sensor = make(rule.target) if make else sensors.get(name.sensor)
        if sensor is None:
            known = [*sensors, *implicit]
            near = difflib.get_close_matches(name.sensor, known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; there are: {', '.join(known)}"
            yield (*here, "series"), f"there is no sensor {name.sensor!r}{hint}"
            continue
        wrong = sensor.problem(name.what, name.labels)
        if wrong is not None:
            yield (*here, "series"), wrong
        delay = sensor.every + detector.delay_us()
        if rule.act == "auto" and delay >= rule.time_to_harm:
            time = format_duration(rule.time_to_harm)
            yield here, f"it may take {format_duration(delay)} to notice; the harm comes in {time}"
