"""Bare `offswitch`: one sentence of state, whether all can be stopped, what to type next."""

from __future__ import annotations

import sys

from offswitch.cli.alarm_words import alarm_words, what_to_type
from offswitch.cli.desk import ask_watch
from offswitch.cli.doctor import examine, verdict
from offswitch.cli.gather import Answer, Row, alarms_of, ask_all, rows_of
from offswitch.cli.paint import abnormal
from offswitch.cli.status_report import acts, unconfirmed
from offswitch.cli.stop_report import wrapped
from offswitch.control.place import chosen
from offswitch.errors import OffswitchError
from offswitch.printable import printable

__all__ = ["show"]

_MOST = 5
_DESK_S = 1.0


def show() -> int:
    """Print it; 3 if something is latched, 4 if an installation does not answer, else 0."""
    answers = ask_all({"op": "status", "scope": None})
    rows = rows_of(answers)
    silent = [answer for answer in answers if answer.said is None and not answer.absent]
    stops = [stop for answer in answers if answer.said for stop in answer.said.get("latched", [])]
    alarms = alarms_of(answers)[:_MOST]
    lines = [_sentence(rows, stops, silent), *(alarm_words(alarm) for alarm in alarms)]
    waiting = _waiting()
    lines += [f"A tool call waits: {words}" for words in waiting]
    lines += [_stoppable(answers), *_notes(answers), ""]
    head, *typed = _next(rows, stops, silent, alarms)
    answer = ["  offswitch decision list   what waits for leave, and how to answer"]
    print_lines([*lines, head, *(answer if waiting else []), *typed])
    if silent:
        return 4
    return 3 if stops or any(row["latched"] for row in rows) else 0


def _waiting() -> list[str]:
    """Name the tool calls that wait for somebody's leave, where a watch tells of them."""
    try:
        leaves = ask_watch({"op": "decisions"}, _DESK_S).get("leaves", [])
    except OffswitchError:
        return []
    words = [
        printable(f"may {row['target']} call {row['tool']}? It is not called in", 200)
        + f" {max(row['left_ms'] // 1000, 0)} s unless you answer"
        for row in leaves[:_MOST]
    ]
    return words + ([f"{len(leaves) - _MOST} more"] if len(leaves) > _MOST else [])


def print_lines(lines: list[str]) -> None:
    """Write lines to stdout."""
    sys.stdout.write("\n".join(lines) + "\n")


def _sentence(rows: list[Row], stops: list[Row], silent: list[Answer]) -> str:
    if silent:
        runs = ", ".join(answer.place.run for answer in silent)
        return f"NO ANSWER from {runs}: what runs there is unknown."
    alive = [row for row in rows if acts(row)]
    latched = [row for row in rows if row["latched"]]
    unseen = [row for row in latched if unconfirmed(row)]
    if not alive and not stops:
        return "Nothing runs under the switch here."
    said = f"{_count(len(alive), 'target')} running under the switch, {len(latched)} latched"
    if stops:
        said += f" by {_count(len(stops), 'stop')}"
    if unseen:
        names = ", ".join(printable(row["target"]) for row in unseen[:_MOST])
        more = f" and {len(unseen) - _MOST} more" if len(unseen) > _MOST else ""
        said += f", NOT CONFIRMED: {names}{more}"
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


def _notes(answers: list[Answer]) -> list[str]:
    """Give what nobody may overlook, and why an installation says nothing."""
    notes = [f"{a.place.run}: {a.why}" for a in answers if a.said is None and a.why]
    notes += [str(note) for answer in answers if answer.said for note in answer.said["notes"]]
    lines = []
    for note in dict.fromkeys(notes):
        lines += wrapped(f"note: {printable(note, 2000)}", "  ", "    ")
    return lines


def _next(rows: list[Row], stops: list[Row], silent: list[Answer], alarms: list[Row]) -> list[str]:
    if silent:
        return [
            "Next:",
            "  offswitch stop --all      whatever still runs there",
            "  offswitch doctor          why nobody answers, and what to do",
            "  offswitch status          what can be seen all the same",
        ]
    if not alarms and not stops and not any(map(acts, rows)):
        return [
            "Next:",
            "  offswitch demo            see it stop a real little fleet, in a minute",
            "  offswitch run -- CMD…     put a program under the switch",
            "  offswitch --help          everything else",
        ]
    lines = ["Next:"]
    unseen = [printable(row["target"]) for row in rows if row["latched"] and unconfirmed(row)]
    lines += [f"  offswitch target show {it}     what may still act" for it in unseen[:_MOST]]
    ranked = sorted(filter(acts, rows), key=lambda row: not abnormal(row))
    typed = [what_to_type(alarm) for alarm in alarms]
    typed += [f"offswitch stop {printable(row['target'])}" for row in ranked[:_MOST]]
    lines += [f"  {each}" for each in dict.fromkeys([*filter(None, typed), "offswitch stop --all"])]
    scopes = list(dict.fromkeys(printable(stop["scope"]) for stop in stops))
    lines += [f"  offswitch reset {it} --reason TEXT     (starts nothing)" for it in scopes[:_MOST]]
    return [*lines, "  offswitch board           watch, with the stop key", "  offswitch --help"]
