"""`offswitch start TARGET`: start again, detached, what a cell ran, if it is not latched.

A start is an act of its own: a reset starts nothing, and nothing here clears a latch. The
relay that `run` has in the foreground goes on in a process of its own, which keeps the
target's log and ends with it.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Annotated, Any, NoReturn

import typer

from offswitch.cli.begin import ensure_warden, open_log, spawn_daemon
from offswitch.cli.show import emit
from offswitch.control.client import call
from offswitch.control.place import Place, chosen, within_reach
from offswitch.errors import Ambiguous, OffswitchError, Unreachable, Usage, from_kind

__all__ = ["bring_up", "command", "holder"]


def holder(target: str) -> Place:
    """Give the installation that knows `target`: the chosen one if none is running elsewhere."""
    holders = []
    for place in within_reach():
        try:
            known = call(place, {"op": "targets"}, 5.0)
        except OffswitchError:
            continue
        if any(row.get("target") == target for row in known.get("targets", [])):
            holders.append(place)
    if len(holders) > 1:
        runs = ", ".join(place.run for place in holders)
        raise Ambiguous(f"{target} is known in {runs}", "say which: OFFSWITCH_RUN=… offswitch …")
    return holders[0] if holders else chosen()


def bring_up(place: Place, target: str) -> dict[str, object]:
    """Start `target` in a detached relay; return what was born, or raise why nothing was."""
    ensure_warden(place)
    out, into = os.pipe()
    os.set_inheritable(into, True)
    log = open_log(place)
    arguments = ["-m", "offswitch.cli.detached", place.home, place.run, target, str(into)]
    try:
        pidfd = spawn_daemon(arguments, log, (into,))
    finally:
        os.close(into)
        os.close(log)
    if pidfd >= 0:
        os.close(pidfd)
    with os.fdopen(out, "rb") as file:
        said = file.read()
    if not said:
        raise Unreachable(f"the relay of {target} did not come up", f"see {place.home}/warden.log")
    told: dict[str, object] = json.loads(said)
    error = told.get("error")
    if isinstance(error, dict):
        failed = from_kind(error["kind"], error["message"], error["hint"])
        if told.get("exit") in {126, 127}:
            failed.exit_code = 1  # of ours: nothing was started
        raise failed
    return told


def command(
    target: Annotated[str, typer.Argument(metavar="TARGET", help="A target that was run here.")],
    *,
    full: Annotated[
        bool, typer.Option("--full", help="It runs: end its probation now (for its owner).")
    ] = False,
    reason: Annotated[str, typer.Option("--reason", help="Why its probation ends early.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Start again, detached, what a target ran. Refused (3) while it is latched.

    What was stopped and reset starts restricted where that is asked for, until its probation ends.
    """
    place = holder(target)
    if full:
        _end_probation(place, target, reason, as_json=as_json)
    born = bring_up(place, target)
    rows = call(place, {"op": "status", "scope": target}, 5.0)["targets"]
    row: dict[str, Any] = next((row for row in rows if row["target"] == target), {})
    answer = {
        "target": target,
        "state": row.get("state", "unknown"),
        "pids": row.get("pids", 0),
    }
    text = f"{target} runs, pid {born['pid']}, user {born['user']}"
    if row.get("probation_s") is not None:
        minutes = -(-row["probation_s"] // 60)
        text += f"\nRESTRICTED for {minutes} min: it was reset, and is on probation."
        text += f" To end that: offswitch start {target} --full --reason TEXT"
    emit(answer, as_json=as_json, text=text)
    sys.exit(0)


def _end_probation(place: Place, target: str, reason: str, *, as_json: bool) -> NoReturn:
    if not reason.strip():
        raise Usage("a probation ends early for a reason", "add --reason TEXT")
    row = call(place, {"op": "end-probation", "target": target, "reason": reason}, 5.0)
    answer = {"target": target, "state": row["state"], "pids": row["pids"]}
    emit(answer, as_json=as_json, text=f"{target}: its probation is over.")
    sys.exit(0)
