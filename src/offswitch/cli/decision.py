"""`offswitch decision list|approve|deny`: what rules ask of people, and the answers (DEC-3).

A rule in `advise` asks before it stops. To approve is to stop now; to deny is to let it go on,
which takes a reason, and two people where the rule asks two. Silence stops it when the time that
stands in the list is over.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from offswitch.cli.config import Json
from offswitch.cli.desk import For, Reason, ask_watch, clock_of, duration_of
from offswitch.cli.show import emit
from offswitch.config.duration import format_duration
from offswitch.printable import printable

__all__ = ["app"]

app = typer.Typer(help="What rules ask of people: list, approve, deny.", no_args_is_help=True)
_SHORT = 12

Which = Annotated[str, typer.Argument(metavar="DECISION", help="Its name, or how it begins.")]


@app.command("list")
def show_all(*, as_json: Json = False) -> None:
    """List the questions that are open, the most urgent first."""
    answer = ask_watch({"op": "decisions"})
    rows = answer["decisions"]
    if as_json:
        emit({"decisions": rows}, as_json=True, text="")
        return
    if not rows:
        sys.stdout.write("No rule asks anything just now.\n")
        return
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="dim")
    for title in ("DECISION", "LEFT", "STOP", "SCOPE", "HARM", "WHY", "IN VAIN IT COSTS"):
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in _cells(row)))
    Console(highlight=False).print(table)
    name = printable(rows[0]["decision"][:_SHORT])
    sys.stdout.write(
        f"stop it: offswitch decision approve {name}\n"
        f"let it go on: offswitch decision deny {name} --reason TEXT\n"
    )


def _cells(row: dict[str, Any]) -> list[str]:
    left = format_duration(max(row["left_ms"] // 1000, 1) * 1_000_000)
    denied = [f"uid {uid}" for uid in row["denied_by"]]
    why = row["why"]
    if row["people"] > 1:
        so_far = f", so far: {', '.join(denied)}" if denied else ""
        why += f" (to let it go on takes {row['people']} people{so_far})"
    return [
        row["decision"][:_SHORT],
        f"{left}, asked {clock_of(row['asked_us'])}; then {row['silence']}",
        row["level"],
        row["scope"],
        row["harm"],
        why,
        row["false_stop_cost"],
    ]


@app.command("approve")
def approve(which: Which, *, reason: Reason = "", as_json: Json = False) -> None:
    """Stop it now; one person is enough."""
    _answer({"op": "approve", "decision": which, "reason": reason}, as_json=as_json)


@app.command("deny")
def deny(which: Which, *, reason: Reason, lasts: For = "", as_json: Json = False) -> None:
    """Let it go on, for as long as an answer may take, or as --for says (8 hours at most)."""
    message = {"op": "deny", "decision": which, "reason": reason}
    lasts_us = duration_of(lasts)
    _answer(message | ({} if lasts_us is None else {"for_us": lasts_us}), as_json=as_json)


def _answer(message: dict[str, Any], *, as_json: bool) -> None:
    said = ask_watch(message)
    told = {
        "stop": f"stop ordered: {said['scope']}. See: offswitch status",
        "nothing": "it goes on" if not said["open"] else "taken; somebody else must say it, too",
    }[said["choice"]]
    emit(said, as_json=as_json, text=f"{printable(told)}: {printable(said['why'], 1000)}")
