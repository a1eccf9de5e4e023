"""`offswitch stop`: anyone allowed, alone, at once, no question asked (DEC-2).

    offswitch stop SCOPE… | --all [--level L] [--reason TEXT] [--wait] [--json]

It presses in every installation within reach (SR-7) and over every road (SR-11), waits for
the proof, and says which of three words is true of each target: *confirmed*, *commanded*,
or neither. Without a scope it changes nothing and prints commands that are ready to use.
"""

from __future__ import annotations

import os
import time

from offswitch.cli.pressing import press
from offswitch.cli.quick_json import dumps
from offswitch.cli.stop_report import report, state_words
from offswitch.cli.stop_result import exit_code, merged
from offswitch.cli.voice import say, say_error, talk
from offswitch.cli.words import covers, nearest_word, read_scope, read_words
from offswitch.control.place import within_reach
from offswitch.errors import OffswitchError, Usage
from offswitch.printable import printable

__all__ = ["main"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from offswitch.control.place import Place

_FLAGS = ("--all", "--wait", "--json")
_OPTIONS = ("--level", "--reason")
_LEVELS = ["restrict", "drain", "freeze", "kill", "poweroff"]
_MOST_SCOPES = 256
_LONGEST_REASON = 2000
_LOOK_S = 1.5
_NAMED_FIRST_S = 0.3
_HELP = """\
Usage: offswitch stop SCOPE… | --all [--level L] [--reason TEXT] [--wait] [--json]

Stop what SCOPE covers, now, and say what was confirmed. It stays stopped until a reset.

  SCOPE           a target (shop/eu/checkout), all below a path (shop/eu), or label=value
  --all           everything, in every installation within reach
  --level L       restrict, drain, freeze, kill (unless given), poweroff
  --reason TEXT   for the record; never needed
  --wait          with drain: return when the kill that ends it is confirmed
  --json          one object on stdout

Exit codes: 0 confirmed, 2 usage, 4 not confirmed or nobody reached, 5 refused.
Without a client: touch $OFFSWITCH_RUN/stop/NAME (all for everything, %2F for a slash).
"""


def main(words: list[str]) -> int:
    """Stop; return the exit code."""
    as_json = "--json" in words
    try:
        return _main(words)
    except OffswitchError as error:
        return say_error(error, as_json=as_json)


def _main(words: list[str]) -> int:
    names, given = read_words("stop", words, _FLAGS, _OPTIONS)
    if "--help" in given:
        say(_HELP)
        return 0
    scopes = _scopes(names, given)
    level = (given.get("--level") or ["kill"])[-1]
    if level not in _LEVELS:
        near = nearest_word(level, _LEVELS)
        hint = f"did you mean {near}?" if near else "use one of: " + ", ".join(_LEVELS)
        raise Usage(f"there is no level {printable(level, 40)!r}", hint)
    if not scopes:
        return _ready_commands(as_json="--json" in given)
    message = {
        "op": "stop",
        "scopes": scopes,
        "level": level,
        "reason": (given.get("--reason") or [""])[-1][:_LONGEST_REASON],
        "nonce": os.urandom(16).hex(),
        "time_us": time.time_ns() // 1000,
        "channel": "cli",
        "wait": "--wait" in given,
    }
    places = within_reach()
    if level == "poweroff":
        _name_the_others(places, scopes)
    pressed = press(places, message, patient="--wait" in given and level == "drain")
    answer = merged(pressed, scopes, level)
    if "--json" in given:
        say(dumps(answer) + "\n")
    else:
        say(report(answer))
    return exit_code(answer)


def _scopes(names: list[str], given: dict[str, list[str]]) -> list[str]:
    if "--all" in given and names:
        raise Usage("--all already covers every scope", "offswitch stop --all")
    scopes = ["/"] if "--all" in given else [read_scope(name) for name in names]
    if len(scopes) > _MOST_SCOPES:
        raise Usage(f"a stop names at most {_MOST_SCOPES} scopes", "offswitch stop --all")
    return list(dict.fromkeys(scopes))


def _ready_commands(*, as_json: bool) -> int:
    """Say what could be stopped, the abnormal first; change nothing."""
    from offswitch.cli.status_report import rank  # noqa: PLC0415 - only without a scope

    rows, _silent = _rows(within_reach(), _LOOK_S)
    rows.sort(key=rank)
    commands = []
    for row in rows:
        command = f"offswitch stop {printable(row['target'])}"
        commands.append((command, state_words(row)))
    everything = "offswitch stop --all"
    if as_json:
        hint = "; ".join([*(command for command, _state in commands), everything])
        return say_error(Usage("nothing was stopped: say what to stop", hint), as_json=True)
    talk("offswitch: nothing was stopped: say what to stop. Ready to use:\n")
    width = max((len(command) for command, _state in commands), default=0)
    for command, state in commands:
        say(f"  {command:<{width}}   {state}\n")
    say(f"  {everything}\n")
    return Usage.exit_code


def _name_the_others(places: list[Place], scopes: list[str]) -> None:
    """Before a poweroff: name every other target on the machine. Waits 0.3 s, asks nothing."""
    rows, silent = _rows(places, _NAMED_FIRST_S)
    others = [
        printable(row["target"])
        for row in rows
        if row["pids"] and not any(covers(s, row["target"], row["labels"]) for s in scopes)
    ]
    said = ", ".join(others) if others else "no other target"
    talk(f"offswitch: poweroff also ends, on this machine: {said}\n")
    for where in silent:
        talk(f"offswitch: and whatever runs in {printable(where)}: no answer there\n")


def _rows(places: list[Place], patience_s: float) -> tuple[list[dict[str, Any]], list[str]]:
    """List the targets of `places`, and the run folders where nobody answers in time."""
    from offswitch.cli.standing import ask, rows_of_silence  # noqa: PLC0415 - not for a stop

    rows: list[dict[str, Any]] = []
    silent = []
    for said in ask(places, None, patience_s):
        if said.answers:
            rows += said.targets
            continue
        unknown = rows_of_silence(said, "/")
        rows += unknown
        if unknown or not said.absent:
            silent.append(said.place.run)
    return rows, silent
