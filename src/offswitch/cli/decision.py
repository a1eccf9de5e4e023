"""`offswitch decision list|approve|deny`: what is asked of people, and the answers (DEC-3).

A rule in `advise` asks before it stops. To approve is to stop now; to deny is to let it go on,
which takes a reason, and two people where the rule asks two. Silence calls the backup at a third of
the time to harm, orders the rule's `unanswered` level at two thirds, and stops it when the time
that stands in the list is over.

A tool call that is declared to wait asks before it is let go. There to approve is to let it be
called, once; to deny it takes no reason, and silence denies it.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from offswitch.cli.config import Json
from offswitch.cli.desk import For, Reason, ask_watch, clock_of, duration_of
from offswitch.cli.show import emit
from offswitch.printable import printable

__all__ = ["app"]

app = typer.Typer(help="What rules ask of people: list, approve, deny.", no_args_is_help=True)
_SHORT = 12

Which = Annotated[str, typer.Argument(metavar="DECISION", help="Its name, or how it begins.")]


@app.command("list")
def show_all(*, as_json: Json = False) -> None:
    """List the questions that are open, the most urgent first."""
    answer = ask_watch({"op": "decisions"})
    rows, leaves = answer["decisions"], answer.get("leaves", [])
    if as_json:
        emit({"decisions": rows, "leaves": leaves}, as_json=True, text="")
        return
    if not rows and not leaves:
        sys.stdout.write("No rule asks anything just now, and no tool call waits.\n")
        return
    for row in leaves:
        sys.stdout.write("\n".join(_waiting(row)) + "\n\n")
    if leaves:
        name = printable(leaves[0]["decision"][:_SHORT])
        sys.stdout.write(
            f"let it be called: offswitch decision approve {name}\n"
            f"do not: offswitch decision deny {name}\n"
        )
    if not rows:
        return
    for row in rows:
        sys.stdout.write("\n".join(_block(row)) + "\n\n")
    name = printable(rows[0]["decision"][:_SHORT])
    sys.stdout.write(
        f"stop it: offswitch decision approve {name}\n"
        f"let it go on: offswitch decision deny {name} --reason TEXT\n"
    )


def _left(row: dict[str, Any]) -> str:
    minutes, seconds = divmod(max(row["left_ms"] // 1000, 0), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def _waiting(row: dict[str, Any]) -> list[str]:
    """Tell of one tool call that waits; all of it is what the target wrote."""
    facts = [
        ("left", f"{_left(row)}, asked {clock_of(row['asked_us'])}; then {row['silence']}"),
        ("with", row["arguments"]),
    ]
    if row["people"] > 1:
        so_far = ", ".join(row["granted_by"]) or "nobody"
        facts.append(("leave", f"takes {row['people']} people; so far: {so_far}"))
    head = f"{row['decision'][:_SHORT]}  may {row['target']} call {row['tool']}?"
    return [printable(head), *(printable(f"    {key:<8} {text}", 2000) for key, text in facts)]


def _block(row: dict[str, Any]) -> list[str]:
    """Tell of one question, a fact a line, the time that is left first."""
    left = _left(row)
    facts = [
        ("left", f"{left}, asked {clock_of(row['asked_us'])}; then {row['silence']}"),
        ("silence", _silence(row)),
        ("harm", row["harm"]),
        ("why", row["why"]),
        ("in vain", f"a stop that was not needed costs: {row['false_stop_cost']}"),
    ]
    if row["people"] > 1:
        so_far = ", ".join(row["denied_by"]) or "nobody"
        facts.append(("go on", f"takes {row['people']} people; so far: {so_far}"))
    head = (
        f"{row['decision'][:_SHORT]}  stop {row['level']} of {row['scope']}? (rule {row['rule']})"
    )
    return [printable(head), *(printable(f"    {key:<8} {text}", 2000) for key, text in facts)]


def _silence(row: dict[str, Any]) -> str:
    """Say what nobody's answering has done so far, and what it does when."""
    done = {event["what"]: clock_of(event["time_us"]) for event in row["events"]}
    steps = []
    if row["backup"]:
        steps.append(f"went to the backup at {done.get('backup') or done.get('acted', '?')}")
    elif row["backup_us"] is not None:
        steps.append(f"goes to the backup at {clock_of(row['backup_us'])}")
    if row["stage"] == "acted" and row["unanswered"]:
        steps.append(f"{row['unanswered']} was ordered at {done.get('acted', '?')}")
    elif row["act_us"] is not None:
        steps.append(f"{row['unanswered']} at {clock_of(row['act_us'])}")
    steps.append(f"{row['silence']} at {clock_of(row['due_us'])}")
    return ", ".join(steps)


@app.command("approve")
def approve(which: Which, *, reason: Reason = "", as_json: Json = False) -> None:
    """Stop it now, one person is enough; or let a tool call go that waits."""
    _answer({"op": "approve", "decision": which, "reason": reason}, as_json=as_json)


@app.command("deny")
def deny(which: Which, *, reason: Reason = "", lasts: For = "", as_json: Json = False) -> None:
    """Let it go on, for as long as an answer may take, or as --for says; or deny a tool call.

    To let something go on takes --reason, and holds for at most 8 hours.
    """
    message = {"op": "deny", "decision": which, "reason": reason}
    lasts_us = duration_of(lasts)
    _answer(message | ({} if lasts_us is None else {"for_us": lasts_us}), as_json=as_json)


def _answer(message: dict[str, Any], *, as_json: bool) -> None:
    said = ask_watch(message)
    told = {
        "stop": f"stop ordered: {said.get('scope')}. See: offswitch status",
        "nothing": "it goes on" if not said["open"] else "taken; somebody else must say it, too",
        "granted": "it may be called, once",
        "waits": "taken; somebody else must grant it, too",
        "denied": "it is not called",
    }[said["choice"]]
    emit(said, as_json=as_json, text=f"{printable(told)}: {printable(said['why'], 1000)}")
