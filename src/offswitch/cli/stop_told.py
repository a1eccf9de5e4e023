"""What `offswitch stop` says: after a stop, before a poweroff, and where no scope was named."""

from __future__ import annotations

from offswitch.cli.quick_json import dumps
from offswitch.cli.stop_report import report, state_words
from offswitch.cli.stop_result import exit_code, merged
from offswitch.cli.voice import say, say_error, talk
from offswitch.cli.words import covers
from offswitch.errors import Usage
from offswitch.printable import printable

__all__ = ["name_the_others", "tell", "tell_ready"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from offswitch.cli.pressing import Pressed
    from offswitch.control.place import Place

_LOOK_S = 1.5
_NAMED_FIRST_S = 0.3


def tell(pressed: list[Pressed], scopes: list[str], level: str, *, as_json: bool) -> int:
    """Say what became of a stop; return the exit code."""
    answer = merged(pressed, scopes, level)
    say(dumps(answer) + "\n" if as_json else report(answer))
    return exit_code(answer)


def tell_ready(places: list[Place], *, as_json: bool) -> int:
    """Say what could be stopped, the abnormal first; change nothing."""
    from offswitch.cli.status_report import rank  # noqa: PLC0415 - only without a scope

    rows, _silent = _rows(places, _LOOK_S)
    rows.sort(key=rank)
    commands = []
    for row in rows:
        command = f"offswitch stop {printable(row['target'])}"
        costs = f"   ({printable(row['on_stop'], 200)})" if row.get("on_stop") else ""
        commands.append((command, state_words(row) + costs))
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


def name_the_others(places: list[Place], scopes: list[str]) -> None:
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
