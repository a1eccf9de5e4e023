"""`offswitch rule test`: when a rule would have stopped, how often in vain, and how early.

Against the past that was kept (`--against past`, the last days) or a file. What really happened
is read from the ledger, where people and other rules have stopped the rule's target, or from a
file of incidents. Beside the vote as it is declared stand the others that its detectors allow, so
that one sees which detector costs how many false stops (REL-3).
"""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from offswitch.cli.config import Json, configuration
from offswitch.cli.show import emit
from offswitch.config.declared import Rule
from offswitch.config.duration import format_duration, parse_duration
from offswitch.control.place import chosen
from offswitch.errors import NotFound, Usage
from offswitch.ledger.reader import reading
from offswitch.model.entry import EntryKind
from offswitch.model.scope import parse_scope
from offswitch.printable import printable
from offswitch.watch.readings.recorded import from_file, from_store, time_us_of
from offswitch.watch.readings.replay import Incident, Judged, Past, Replay, compare, replay

__all__ = ["try_rule"]

_MOST_SHOWN = 20
_INCIDENT_LASTS_US = 600_000_000
"""How long after a stop an alarm still tells of it."""

Against = Annotated[
    str, typer.Option(metavar="past|FILE", help="What was kept, or a CSV or JSONL of readings.")
]
Since = Annotated[str, typer.Option(metavar="DURATION", help="How far back the past goes.")]
Within = Annotated[
    str, typer.Option(metavar="DURATION", help="How long before an incident an alarm is early.")
]
Incidents = Annotated[
    str, typer.Option(metavar="FILE", help="What really happened: CSV of begin[,end[,what]].")
]


def try_rule(
    name: Annotated[str, typer.Argument(metavar="[RULE]", help="All rules unless given.")] = "",
    file: Annotated[str, typer.Option("--config", help="Another configuration.")] = "",
    against: Against = "past",
    since: Since = "3d",
    incidents: Incidents = "",
    within: Within = "10m",
    *,
    as_json: Json = False,
) -> None:
    """Replay the past through a rule: when it would have stopped, how often in vain, how early."""
    loaded = configuration(file)
    rules = [rule for rule in loaded.config.rule if name in {"", rule.name}]
    if not rules:
        known = ", ".join(rule.name for rule in loaded.config.rule) or "none"
        raise NotFound(f"there is no rule {name!r}", f"there are: {known}")
    answers = []
    for rule in rules:
        past = _past(rule, against, _duration(since))
        trials = replay(rule, loaded, past)
        answers.append(_facts(rule, past, trials, _incidents(rule, incidents), _duration(within)))
    if as_json:
        emit({"against": against, "rules": answers}, as_json=True, text="")
        return
    for answer in answers:
        sys.stdout.write("\n".join(printable(line) for line in _told(answer)) + "\n\n")


def _duration(text: str) -> int:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise Usage(str(error), 'write it as "10m" or "3d"') from None


def _past(rule: Rule, against: str, since_us: int) -> list[Past]:
    series = {detector.series for detector in rule.detectors}
    if against == "past":
        now_us = int(datetime.now(UTC).timestamp() * 1e6)
        return from_store(chosen().home, rule.target, series, now_us - since_us, now_us)
    if against == "-":
        return from_file(sys.stdin, "stdin", series)
    try:
        with open(against, encoding="utf-8", newline="") as file:
            return from_file(file, os.path.basename(against), series)
    except (OSError, UnicodeDecodeError) as error:
        raise Usage(f"{against}: {error}", "give a CSV or JSONL of readings, or: past") from None


def _incidents(rule: Rule, file: str) -> list[Incident]:
    """What really happened: what a person wrote down, or what others have stopped."""
    if not file:
        return _stops_by_others(rule)
    try:
        with open(file, encoding="utf-8", newline="") as lines:
            return [_incident(row) for row in csv.reader(lines) if row]
    except (OSError, ValueError) as error:
        raise Usage(f"{file}: {error}", "a line is: begin[,end[,what]]") from None


def _incident(row: Sequence[str]) -> Incident:
    begin_us = time_us_of(row[0])
    end_us = time_us_of(row[1]) if len(row) > 1 and row[1] else begin_us + _INCIDENT_LASTS_US
    return Incident(begin_us, end_us, row[2] if len(row) > 2 else "")  # noqa: PLR2004


def _stops_by_others(rule: Rule) -> list[Incident]:
    found = []
    try:
        with reading(chosen().home) as reader:
            entries = list(reader.shown(0, reader.head.size, f'"kind":"{EntryKind.ORDER}"'))
    except NotFound:
        return []
    for entry in entries:
        by, scope = str(entry.sealed.get("by")), str(entry.public.get("scope", "/"))
        here, ours = parse_scope(scope), parse_scope(rule.scope)
        if by == f"rule:{rule.name}" or not (here.contains(ours) or ours.contains(here)):
            continue
        at = int(entry.public.get("time_us", 0))
        found.append(Incident(at, at + _INCIDENT_LASTS_US, f"entry {entry.index}: {by} {scope}"))
    return found


def _facts(
    rule: Rule,
    past: Sequence[Past],
    trials: Sequence[Replay],
    incidents: Sequence[Incident],
    within_us: int,
) -> dict[str, Any]:
    inside = (
        [one for one in incidents if past[0].time_us <= one.begin_us <= past[-1].time_us]
        if past
        else []
    )
    read = {one.series for one in past}
    return {
        "rule": rule.name,
        "target": rule.target,
        "act": rule.act,
        "readings": len(past),
        "without_readings": sorted({one.series for one in rule.detectors} - read),
        "first": _when(past[0].time_us) if past else None,
        "last": _when(past[-1].time_us) if past else None,
        "false_stop_cost": rule.false_stop_cost,
        "incidents": len(inside),
        "votes": [
            _vote(trial, compare(trial.episodes, inside, within_us), inside) for trial in trials
        ],
    }


def _vote(trial: Replay, judged: Judged, incidents: Sequence[Incident]) -> dict[str, Any]:
    vain = {episode.begin_us for episode in judged.in_vain}
    return {
        "vote": trial.vote,
        "stops": len(trial.episodes),
        "in_vain": len(judged.in_vain),
        "early_us": [judged.early_us.get(number) for number in range(len(incidents))],
        "missed": [one.what or _when(one.begin_us) for one in judged.missed],
        "episodes": [
            {
                "begin": _when(one.begin_us),
                "end": None if one.end_us is None else _when(one.end_us),
                "in_vain": one.begin_us in vain,
                "why": one.why,
            }
            for one in trial.episodes
        ],
    }


def _when(time_us: int) -> str:
    return datetime.fromtimestamp(time_us / 1e6, UTC).isoformat(timespec="milliseconds")


def _told(answer: dict[str, Any]) -> list[str]:
    declared, *others = answer["votes"]
    lines = [f"{answer['rule']} ({answer['act']}) of {answer['target']}"]
    if not answer["readings"]:
        return [*lines, "  nothing was read of its series in that time, so nothing can be said"]
    lines.append(f"  {answer['readings']} readings from {answer['first']} to {answer['last']}")
    known = f"{answer['incidents']} incidents are known"
    lines.append(
        f"  {known}" + ("" if answer["incidents"] else ", so every stop counts as in vain")
    )
    lines += [f"  NOTHING WAS READ of {one}" for one in answer["without_readings"]]
    for at, episode in enumerate(declared["episodes"][:_MOST_SHOWN]):
        verdict = "in vain" if episode["in_vain"] else "with an incident"
        lines.append(f"  {at + 1:3}. {episode['begin']}  {verdict}: {episode['why']}")
    if len(declared["episodes"]) > _MOST_SHOWN:
        lines.append(f"       and {len(declared['episodes']) - _MOST_SHOWN} more: --json")
    lines.append(f"  would have stopped {_counted(declared)}")
    if declared["in_vain"]:
        lines.append(f"  each stop in vain costs: {answer['false_stop_cost']}")
    lines += [f"  {one['vote']}: {_counted(one)}" for one in others]
    return lines


def _counted(vote: dict[str, Any]) -> str:
    early = [one for one in vote["early_us"] if one is not None]
    times = "once" if vote["stops"] == 1 else f"{vote['stops']} times"
    said = f"{times}, {vote['in_vain']} in vain"
    if early:
        middle = sorted(early)[len(early) // 2]
        word = "earlier" if middle >= 0 else "later"
        said += f"; {format_duration(max(abs(middle), 1))} {word} than the incident (median)"
    return said + (f"; {len(vote['missed'])} MISSED" if vote["missed"] else "")
