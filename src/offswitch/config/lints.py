"""What is not wrong, and would still disappoint in the emergency: lints of rules and of targets.

    one input behind several channels    a 2oo3 over one sensor is a 1oo1 that looks like more: the
                                         common cause (IEC 61511-1, 9.4.3) takes all of them
    an actuator that the target lacks    a level whose layers nobody commands stops nothing
    a question that nobody can answer    there is less time than a person needs
    a backup who is called in vain       all is over, or it is a kill, before the time is
    no safe state (ACT-10)               it acts in the world, and nobody has said how it is left
    nobody to tell                       the people of a target who are told first are not named

Pure. Errors, which refuse the file, are in `crosscheck`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping

from offswitch.config.declared import ONE_PERSON_US, Config, Rule, Target
from offswitch.config.duration import format_duration
from offswitch.config.series import parse_series
from offswitch.model.safe_state import SafeState, safe_state_of
from offswitch.model.scope import parse_scope
from offswitch.model.target import Target as Known

__all__ = ["lints", "target_lints"]

_HERE = frozenset({"guard", "process", "sweep", "network"})
"""The layers that a warden commands by itself."""
_GATEWAY = "gateway"
_DRAIN_US, _FREEZE_US = 30_000_000, 10_000_000
"""How long the warden lets them last where the target does not say."""
_COOPERATIVE = frozenset({"restrict", "drain"})
_RELAY = "relay"
_IN_THE_WORLD = frozenset({
    "actuator", "arm", "car", "crane", "drone", "plc", "pump", "robot", "vehicle", "valve",
})  # fmt: skip
"""Kinds, or parts of kinds, of what moves something."""


def lints(config: Config) -> dict[str, list[str]]:
    """Give what is to be said of each rule, by its name; rules of which nothing is are left out."""
    targets = {target.name: target for target in config.target}
    routed = frozenset(route.target for gateway in config.gateway for route in gateway.route)
    found = {rule.name: list(_of(rule, targets, routed)) for rule in config.rule}
    return {name: said for name, said in found.items() if said}


def target_lints(config: Config) -> list[str]:
    """Give what is to be said of the targets, each sentence naming its target."""
    relayed = {one.target for one in config.actuator if one.layer() == _RELAY}
    said = []
    for target in config.target:
        said += [f"{target.name}: {one}" for one in _of_target(target, target.name in relayed)]
        said += [f"{target.name}: {one}" for one in _of_tell(target, config)]
    return said


def _of_target(target: Target, relayed: bool) -> Iterator[str]:  # noqa: FBT001
    """Ask for the safe state of what acts in the world, and for what brings it about (ACT-10)."""
    moves = bool(_IN_THE_WORLD.intersection(target.kind.split("-")))
    state = None if target.safe_state is None else safe_state_of(target.safe_state)[0]
    what = f"its kind is {target.kind}" if moves else "a relay acts for it"
    if (moves or relayed) and state is None:
        says = "says none that is known" if target.safe_state else "declares no safe_state"
        known = ", ".join(SafeState)
        yield f"{what}, and it {says}: how shall it be left when it is stopped? One of: {known}"
    if state is not None and state.wanted and not relayed:
        yield (
            f'its safe state is "{state}", and no actuator of the layer relay brings that about:'
            " a stop ends its programs and leaves what they moved as it is just then"
        )


def _of_tell(target: Target, config: Config) -> Iterator[str]:
    for one in target.stop.tell:
        if one.target is not None:
            scope = parse_scope(one.target)
            for told in config.target:
                if scope.covers(Known(told.name, told.labels)) and told.stop_impact is None:
                    yield f"whoever tells of {told.name} is told first, and its stop_impact is none"


def _of(rule: Rule, targets: Mapping[str, Target], routed: Collection[str]) -> Iterator[str]:
    names = [parse_series(detector.series) for detector in rule.detectors]
    for sensor, count in Counter(name.sensor for name in names).items():
        if count > 1 and rule.vote != "1oo1":
            same = len({name.text for name in names if name.sensor == sensor}) == 1
            what = f"the series {names[0].text}" if same else f"the sensor {sensor}"
            yield (
                f"{count} of the {len(names)} channels of {rule.vote} look at {what}: what blinds"
                " or fools it does so to all of them; let another kind of sensor look, too"
            )
    target = targets.get(rule.target)
    plan = getattr(target.stop, rule.stop.level) if target is not None else None
    behind = rule.target in routed
    missing = sorted(set(plan or ()) - _HERE - ({_GATEWAY} if behind else set()))
    if missing:
        yield (
            f"{rule.target} plans {', '.join(missing)} at level {rule.stop.level}, and no actuator"
            " of this warden commands that: the rest of the plan acts, that does not"
        )
    if rule.stop.level in _COOPERATIVE and not behind and not set(plan or ()) - {"guard"}:
        yield (
            f"level {rule.stop.level} is obeyed by programs that ask the guard, and by no others;"
            " kill or freeze stops any"
        )
    if rule.stop.also == "same weights" and not (target and "weights" in target.labels):
        yield (
            f"it stops all that has the same weights, and {rule.target} has no label weights:"
            ' nothing else is stopped; declare labels = { weights = "sha256:…" }'
        )
    if rule.act == "advise" and rule.answer_us < ONE_PERSON_US:
        yield (
            f"nobody answers within {format_duration(rule.answer_us)}: silence stops it"
            " every time; give answer_within, or let it act by itself"
        )
    if rule.act == "advise" and rule.answer_us > rule.time_to_harm:
        yield (
            f"the harm comes within {format_duration(rule.time_to_harm)}, and people may take"
            f" {format_duration(rule.answer_us)}: silence stops it too late"
        )
    yield from _unanswered(rule, target)


def _unanswered(rule: Rule, target: Target | None) -> Iterator[str]:
    """Doubt what happens while nobody answers."""
    if rule.act != "advise":
        return
    third_us = rule.time_to_harm // 3
    if ONE_PERSON_US <= rule.answer_us <= third_us:
        yield (
            f"it goes to the backup after {format_duration(third_us)}, and silence stops it after"
            f" {format_duration(rule.answer_us)}: no backup is ever called; give answer_within more"
        )
    limits_us = {
        "drain": (target and target.drain_for) or _DRAIN_US,
        "freeze": (target and target.freeze_for) or _FREEZE_US,
    }
    limit_us = limits_us.get(rule.unanswered)
    left_us = rule.answer_us - rule.time_to_harm * 2 // 3
    if limit_us is not None and rule.unanswered != rule.stop.level and limit_us < left_us:
        yield (
            f'unanswered = "{rule.unanswered}" becomes a kill after {format_duration(limit_us)},'
            f" {format_duration(left_us - limit_us)} before the time to answer is over"
        )
