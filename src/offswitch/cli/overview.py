"""Bare `offswitch`: one sentence of state, whether all can be stopped, what to type next."""

from __future__ import annotations

import sys
from typing import Any

from offswitch.cli.alarm_words import alarm_words, what_to_type
from offswitch.cli.doctor import examine, verdict
from offswitch.cli.gather import Answer, alarms_of, ask_all, rows_of
from offswitch.cli.paint import abnormal
from offswitch.control.place import chosen
from offswitch.printable import printable

__all__ = ["show"]

_MOST = 5


def show() -> int:
    """Print it; 3 if something is latched, 4 if an installation does not answer, else 0."""
    answers = ask_all({"op": "status", "scope": None})
    rows = rows_of(answers)
    silent = [answer for answer in answers if answer.said is None and not answer.absent]
    alarms = alarms_of(answers)[:_MOST]
    told = [alarm_words(alarm) for alarm in alarms]
    print_lines([_sentence(rows, silent), *told, _stoppable(answers), "", *_next(rows, alarms)])
    if silent:
        return 4
    return 3 if any(row["latched"] for row in rows) else 0


def print_lines(lines: list[str]) -> None:
    """Write lines to stdout."""
    sys.stdout.write("\n".join(lines) + "\n")


def _sentence(rows: list[dict[str, Any]], silent: list[Answer]) -> str:
    if silent:
        runs = ", ".join(answer.place.run for answer in silent)
        return f"NO ANSWER from {runs}: what runs there is unknown."
    alive = [row for row in rows if row["pids"]]
    latched = [row for row in rows if row["latched"]]
    unconfirmed = [row for row in latched if not row["confirmed"] and row["level"] == "kill"]
    if not alive and not latched:
        return "Nothing runs under the switch here."
    said = f"{_count(len(alive), 'target')} running under the switch, {len(latched)} latched"
    if unconfirmed:
        names = ", ".join(printable(row["target"]) for row in unconfirmed[:_MOST])
        said += f", NOT CONFIRMED: {names}"
    return said + "."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _stoppable(answers: list[Answer]) -> str:
    if any(answer.said is None and not answer.absent for answer in answers):
        return "Can stop everything: NOT KNOWN. A stop goes out all the same: offswitch stop --all"
    if all(answer.absent for answer in answers):
        return "No warden runs; `offswitch run` starts one."
    place = next((a.place for a in answers if a.said is not None), chosen())
    _rung, checks = examine(place, start=False)
    return verdict(checks) + "."


def _next(rows: list[dict[str, Any]], alarms: list[dict[str, Any]]) -> list[str]:
    if not alarms and not any(row["pids"] or row["latched"] for row in rows):
        return [
            "Next:",
            "  offswitch demo            see it stop a real little fleet, in a minute",
            "  offswitch run -- CMD…     put a program under the switch",
            "  offswitch --help          everything else",
        ]
    lines = ["Next:"]
    ranked = sorted((row for row in rows if row["pids"]), key=lambda row: not abnormal(row))
    stops = [what_to_type(alarm) for alarm in alarms]
    stops += [f"offswitch stop {printable(row['target'])}" for row in ranked[:_MOST]]
    lines += [f"  {stop}" for stop in dict.fromkeys([*filter(None, stops), "offswitch stop --all"])]
    latched = [row for row in rows if row["latched"]]
    for row in latched[:_MOST]:
        name = printable(row["target"])
        lines.append(f"  offswitch reset {name} --reason TEXT     (starts nothing)")
    return [*lines, "  offswitch board           watch, with the stop key", "  offswitch --help"]
