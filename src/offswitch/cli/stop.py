"""`offswitch stop SCOPE… | --all`: stop now, and say what was seen.

It asks nothing and needs nothing: no reason, no configuration, no warden that answers
(press.py has the roads). It addresses every installation within reach and names each
(SR-7); it returns when the stop is confirmed, or is not. Without a scope it changes nothing
and prints commands that are ready to be run.
"""

from __future__ import annotations

import os
import sys
import time

from offswitch.cli.fast import Words, ask_each, await_lines, guarded, say, tell
from offswitch.cli.lean_json import dumps
from offswitch.cli.press import Press
from offswitch.cli.printable import printable
from offswitch.control.place import within_reach
from offswitch.errors import Refused, Unreachable, Usage, from_kind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from offswitch.control.place import Place

__all__ = ["main"]

USAGE = "offswitch stop SCOPE… | --all [--level L] [--reason TEXT] [--wait] [--json]"
_HELP = f"""\
{USAGE}

Stop everything that SCOPE covers, at once, and return when that was observed.
A scope is a path (shop/eu covers shop/eu/checkout) or label=value; it covers what comes, too.

  --all          everything, on every installation within reach
  --level L      restrict, drain, freeze, kill (the default) or poweroff
  --reason TEXT  kept with the order; never needed
  --wait         with drain: wait until it has ended in a kill
  --json         one object on stdout

Exit: 0 confirmed, 4 not confirmed (latched all the same), 2 usage, 5 refused.
Latched until: offswitch reset SCOPE --reason TEXT
"""
_LEVELS = ("restrict", "drain", "freeze", "kill", "poweroff")
_MOST_SCOPES = 256


def main(argv: list[str]) -> int:
    """Run `offswitch stop ARGV`; return its exit code."""
    return guarded(_stop, argv)


def _stop(argv: list[str]) -> int:
    flags = ("--all", "--wait", "--json", "--help", "-h")
    words = Words(argv, flags=flags, values=("--level", "--reason"), usage=USAGE)
    if words.has("--help") or words.has("-h"):
        sys.stdout.write(_HELP)
        return 0
    level = words.value("--level") or "kill"
    if level not in _LEVELS:
        raise Usage(f"unknown level {level!r}", f"use one of: {', '.join(_LEVELS)}")
    scopes = _scopes(words)
    places = within_reach()
    if not scopes:
        return _ready_commands(places, as_json=words.has("--json"))
    message = {
        "op": "stop",
        "scopes": scopes,
        "level": level,
        "reason": words.value("--reason") or "",
        "nonce": os.urandom(16).hex(),
        "time_us": time.time_ns() // 1000,
        "channel": "cli",
        "wait": words.has("--wait"),
    }
    if level == "poweroff":
        _name_the_others(places, scopes)
    presses = _press(places, message)
    return _report(presses, message, as_json=words.has("--json"))


def _scopes(words: Words) -> list[str]:
    """Give the scopes; with `--all` everything, whatever else is named."""
    if words.has("--all") or any(word in {"/", "all"} for word in words.rest):
        return ["/"]
    scopes = list(dict.fromkeys(words.rest))
    if len(scopes) > _MOST_SCOPES:
        raise Usage(f"{len(scopes)} scopes in one call", "offswitch stop --all")
    if "" in scopes:
        raise Usage("an empty scope covers nothing", "offswitch stop --all")
    return scopes


def _press(places: list[Place], message: dict[str, Any]) -> list[Press]:
    """Press everywhere at once and follow each until it is done."""
    presses = [Press(place, message) for place in places]
    while True:
        for press in presses:
            press.read()
        going = [press for press in presses if not press.done]
        if not going:
            break
        lines = [line for press in going for line in press.lines()]
        await_lines(lines, min(press.left_s() for press in going))
    for press in presses:
        press.close()
    return presses


def _report(presses: list[Press], message: dict[str, Any], *, as_json: bool) -> int:
    reached = [press for press in presses if not press.absent and not press.out_of_reach]
    if not reached:
        raise _nobody(presses)
    errors = [press.error for press in reached if press.error is not None]
    if len(errors) == len(reached):
        first = errors[0]["error"]
        code = int(errors[0].get("exit", 1))
        error = from_kind(str(first.get("kind")), str(first.get("message")), str(first.get("hint")))
        error.exit_code = code
        raise error
    from offswitch.cli.stop_words import merged, shown  # noqa: PLC0415 - not before it is sent

    answer, confirmed = merged(reached, message)
    for press in presses:
        if press not in reached:
            _tell_skipped(press)
    if as_json:
        say(dumps(answer))
    else:
        for line in shown(answer, reached):
            say(line)
    return 0 if confirmed else 4


def _tell_skipped(press: Press) -> None:
    run = printable(press.place.run)
    if press.out_of_reach:
        tell(f"{run}: not yours to stop, so nothing was sent there")
    elif press.spooled:
        tell(f"{run}: no warden answers there; the next one finds this stop in its spool")


def _nobody(presses: list[Press]) -> Exception:
    """Say that the stop reached no installation, and what can be done."""
    runs = ", ".join(press.place.run for press in presses)
    if all(press.out_of_reach for press in presses):
        return Refused(
            f"you may not stop what runs under {runs}",
            "do it as root, or ask an administrator to add you to the group of that folder",
        )
    if any(press.spooled for press in presses):
        return Unreachable(
            f"no warden and no keeper answers at {runs}; the stop lies in the spool, and the next "
            "warden obeys it before anything else",
            "see that nothing runs: offswitch doctor",
        )
    return Unreachable(
        f"this stop reached no installation: nobody answers at {runs}",
        "name the right one by OFFSWITCH_RUN; to bring one up: offswitch up",
    )


def _statuses(places: list[Place], timeout_s: float) -> list[dict[str, Any]]:
    """Ask for all targets, briefly; what does not answer in time is left out."""
    answers = ask_each(places, {"op": "status", "scope": None}, timeout_s)
    rows = []
    for answer in answers.values():
        targets = answer.get("targets") if answer is not None else None
        rows += targets if isinstance(targets, list) else []
    return rows


def _ready_commands(places: list[Place], *, as_json: bool) -> int:
    """No scope: change nothing, and print what could be meant, the abnormal first."""
    if as_json:
        raise Usage("a stop needs its scope", "offswitch stop --all, or: offswitch stop SCOPE")
    calm = {"running", "idle", "exited"}
    rows = _statuses(places, 1.0)
    rows.sort(key=lambda row: (row.get("state") in calm and not row.get("blind"), row["target"]))
    tell("offswitch stop: nothing was stopped, since no scope was named. Ready to run:")
    for row in rows:
        if row.get("state") not in {"idle", "exited"}:
            state = printable(row.get("state"))
            say(f"offswitch stop {printable(row['target'])}    # {state}")
    say("offswitch stop --all")
    return 2


def _name_the_others(places: list[Place], scopes: list[str]) -> None:
    """Before a machine goes: name what else lives on it. Asks nothing, waits hardly."""
    from offswitch.cli.bare_hands import covers  # noqa: PLC0415 - poweroff only

    others = [
        str(row["target"])
        for row in _statuses(places, 0.2)
        if row.get("pids") and not any(covers(scope, row) for scope in scopes)
    ]
    if others:
        names = ", ".join(printable(name) for name in others)
        tell(f"poweroff takes the whole machine; these run on it, too: {names}")
    else:
        tell("poweroff takes the whole machine; nothing else runs on it under the switch")
