"""`offswitch rule list|check|test|bypass|restore`: what trips, who decides, and why it is there.

`list` shows the alarm rationalisation of each rule in one line; `check` explains each
rule in full: its harm, how soon that comes, who decides in that time, how long the rule
may take to notice, and how its vote counts with each number of channels lost.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from offswitch.cli.config import File, Json, configuration
from offswitch.cli.desk import ask_watch
from offswitch.cli.lowering import bypass, restore
from offswitch.cli.rule_past import try_rule
from offswitch.cli.show import emit
from offswitch.config.declared import Rule
from offswitch.config.duration import format_duration
from offswitch.config.lints import lints
from offswitch.config.load import Loaded
from offswitch.config.section import SensorSection
from offswitch.config.series import parse_series
from offswitch.decide.votes import Channel, OnFailed, Vote, count
from offswitch.errors import NotFound, OffswitchError
from offswitch.printable import printable

__all__ = ["app"]

app = typer.Typer(
    help="What trips, and why: list, check, test, bypass, restore.", no_args_is_help=True
)

app.command("test")(try_rule)
app.command("bypass")(bypass)
app.command("restore")(restore)


@app.command("list")
def list_rules(*, as_json: Json = False) -> None:
    """List the rules of the configuration, and how each stands where watch answers."""
    loaded = configuration()
    rules = loaded.config.rule
    now, lowered = _now()
    if as_json:
        told = [{**_facts(loaded, rule), "now": now.get(rule.name)} for rule in rules]
        emit({"path": loaded.path, "rules": told, "lowered": lowered}, as_json=True, text="")
        return
    if not rules:
        path = printable(loaded.path)
        sys.stdout.write(f"No rule is declared in {path}: only people stop anything.\n")
        return
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="dim")
    titles = ["RULE", "SCOPE", "ACTS", "DECIDER", "VOTE", "STOP", "HARM IN", "HARM"]
    for title in [*titles, *(["NOW", "SO FAR"] if now else [])]:
        table.add_column(title, overflow="fold")
    for rule in rules:
        cells = (
            rule.name,
            rule.scope,
            rule.act,
            rule.decider.value,
            rule.vote,
            rule.stop.level,
            format_duration(rule.time_to_harm),
            rule.harm,
            *(_stands(now.get(rule.name)) if now else ()),
        )
        table.add_row(*(Text(printable(cell)) for cell in cells))
    Console(highlight=False).print(table)


def _now() -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
    """Ask watch how its rules stand, and what is lowered; nothing where it does not answer."""
    try:
        said = ask_watch({"op": "rules"})
    except OffswitchError:
        return {}, []
    return {row["rule"]: row for row in said["rules"]}, said["lowered"]


def _stands(row: dict[str, Any] | None) -> tuple[str, str]:
    """Say how a rule stands now, and what it has done since watch began (REL-3)."""
    if row is None:
        return "not in force: offswitch config apply", ""
    words = [row["state"].upper() if row["state"] != "ok" else "ok"]
    words += ["BYPASSED: it asks"] if row["acts_now"] != row["act"] else []
    words += [f"BYPASSED: {series}" for series in row["left_out"]]
    words += ["people let it go on"] if row["denied"] else []
    words += ["on probation"] if row["probation"] else []
    tally = row["tally"]
    done = [f"{count} {key.replace('_', ' ')}" for key, count in tally.items() if count]
    return ", ".join(words), ", ".join(done) or "nothing"


@app.command("check")
def check_rules(
    file: File = "",
    *,
    only: Annotated[str, typer.Option("--rule", metavar="NAME", help="This rule alone.")] = "",
    as_json: Json = False,
) -> None:
    """Explain each rule: harm, time, decider, how soon it notices, how its vote counts."""
    loaded = configuration(file)
    rules = [rule for rule in loaded.config.rule if only in {"", rule.name}]
    if only and not rules:
        known = ", ".join(rule.name for rule in loaded.config.rule) or "none"
        raise NotFound(f"there is no rule {only!r}", f"there are: {known}")
    said = lints(loaded.config)
    facts = [{**_facts(loaded, rule), "lints": said.get(rule.name, [])} for rule in rules]
    doubts = sum(len(item["lints"]) for item in facts)
    if as_json:
        emit({"ok": not doubts, "path": loaded.path, "rules": facts}, as_json=True, text="")
    else:
        for item in facts:
            sys.stdout.write("\n".join(_explained(item)) + "\n\n")
        told = f"{doubts} to think about, marked LINT" if doubts else "all good"
        sys.stdout.write(f"{printable(loaded.path)}: {len(rules)} rules, {told}.\n")
    if doubts:
        sys.exit(1)


def _sensor(loaded: Loaded, rule: Rule, series: str) -> SensorSection:
    """Find the sensor of a series; the configuration was checked, so there is one."""
    name = parse_series(series).sensor
    make = loaded.kinds.implicit.get(name)
    if make is not None:
        return make(rule.target)
    return next(sensor for sensor in loaded.config.sensor if sensor.name == name)


def _facts(loaded: Loaded, rule: Rule) -> dict[str, Any]:
    """Give everything that is known of a rule before anything happens."""
    channels = []
    for detector in rule.detectors:
        sensor = _sensor(loaded, rule, detector.series)
        notice_us = sensor.every + detector.delay_us()
        keys = detector.model_dump(mode="json", exclude={"kind", "series"}, exclude_defaults=True)
        channels.append(
            {
                "detector": detector.kind,
                "series": detector.series,
                "keys": keys,
                "sensor": sensor.kind,
                "notices_within": format_duration(notice_us),
            }
        )
    return {
        "name": rule.name,
        "target": rule.target,
        "scope": rule.scope,
        "level": rule.stop.level,
        "act": rule.act,
        "decider": rule.decider.value,
        "vote": rule.vote,
        "on_failed": rule.on_failed,
        "harm": rule.harm,
        "time_to_harm": format_duration(rule.time_to_harm),
        "false_stop_cost": rule.false_stop_cost,
        "channels": channels,
        "with_channels_lost": _lost(rule),
    }


def _lost(rule: Rule) -> list[str]:
    """Say how the vote counts when no, one, two, … channels can see."""
    vote, on_failed = Vote(rule.vote), OnFailed(rule.on_failed)
    counted = []
    for lost in range(vote.channels + 1):
        states = [Channel.STALE] * lost + [Channel.OK] * (vote.channels - lost)
        outcome = count(vote, states, on_failed)
        counted.append("stops" if outcome.tripped else outcome.counted)
    return counted


def _explained(item: dict[str, Any]) -> list[str]:
    acts = {
        "auto": "stops by itself",
        "advise": "asks a person",
        "shadow": "only notes that it would have stopped",
    }
    does, lost = acts[item["act"]], ", ".join(item["with_channels_lost"])
    lines = [
        f"{item['name']}: {does} ({item['decider']}), stop {item['level']} of {item['scope']}",
        f"  harm             {item['harm']}, within {item['time_to_harm']}",
        f"  a false stop     {item['false_stop_cost']}",
        f"  vote             {item['vote']}; with channels lost: {lost}",
    ]
    for channel in item["channels"]:
        keys = ", ".join(f"{key} {value}" for key, value in channel["keys"].items())
        said = f"{channel['detector']} of {channel['series']}: {keys}"
        lines.append(f"  channel          {said}; notices within {channel['notices_within']}")
    lines += [f"  LINT             {lint}" for lint in item["lints"]]
    return [printable(line, 1000) for line in lines]
