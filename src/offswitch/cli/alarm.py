"""`offswitch alarm list|ack|shelve|unshelve`: the alarms of rules that stand (HMI-6, HMI-7).

The list shows what came first, as far as can be told, and below it what seems to follow from it.
To acknowledge says that somebody has seen an alarm; it goes on standing. To shelve takes it out of
sight for at most eight hours, with an owner, a reason and what is done instead; the rule acts as
before, and a question that waits for an answer is never out of sight.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from offswitch.cli.config import Json
from offswitch.cli.desk import For, Measure, Owner, Reason, ask_watch, clock_of, duration_of
from offswitch.cli.show import emit
from offswitch.errors import Usage
from offswitch.printable import printable
from offswitch.station.alarms.rows import Row, first_out

__all__ = ["RuleName", "app", "lower"]

app = typer.Typer(help="Alarms that stand: list, ack, shelve, unshelve.", no_args_is_help=True)

_SHOWN = 10
"""Consequences of one root; all of them stand in `--json`."""
_STATES = {
    "asks": "asks",
    "acted": "nobody has answered, asks on",
    "ordered": "{level} is ordered",
    "denied": "people let it go on",
}

RuleName = Annotated[str, typer.Argument(metavar="RULE", help="The rule's name.")]


@app.command("list")
def show_all(*, as_json: Json = False) -> None:
    """List the alarms that stand, and what comes near its limit."""
    answer = ask_watch({"op": "alarms"})
    if as_json:
        emit({"alarms": answer["alarms"], "near": answer["near"]}, as_json=True, text="")
        return
    groups = first_out(answer["alarms"])
    if groups:
        table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="dim")
        for title in ("RULE", "SCOPE", "ACTS", "SINCE", "SEEN", "HARM"):
            table.add_column(title, overflow="fold")
        for root, *others in groups:
            for cells in _grouped(root, others):
                table.add_row(*(Text(printable(cell)) for cell in cells))
        Console(highlight=False).print(table)
    else:
        sys.stdout.write("No alarm stands.\n")
    for row in answer["near"]:
        words = f"near: {row['series']} ({row['rule']}): {row['near']}"
        sys.stdout.write(f"{printable(words)}\n")


def _grouped(root: Row, others: list[Row]) -> Iterator[list[str]]:
    """Give the cells of a root, with how many follow from it, and of the first that do."""
    cells = _cells(root)
    if others:
        noun = "consequence" if len(others) == 1 else "consequences"
        cells[-1] += f"  (first; + {len(others)} {noun})"
    yield cells
    for row in others[:_SHOWN]:
        name, *rest = _cells(row)
        yield [f"  {name}", *rest]


def _cells(row: Row) -> list[str]:
    seen = row["acked_by"] or "nobody"
    seen += ", shelved" if row["shelved"] else ""
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(row["since_us"] / 1e6))
    acts = f"{row['act']}: {_STATES.get(row['state'], row['state'])}".format(level=row["level"])
    acts += f" {row['decision'][:12]}" if row["decision"] else ""
    harm = row["harm"] + ("; it has tripped more often than its budget" if row["spent"] else "")
    return [row["rule"], row["scope"], acts, since, seen, harm]


@app.command("ack")
def ack(rule: RuleName, *, reason: Reason = "", as_json: Json = False) -> None:
    """Say that you have seen the alarm of a rule; it goes on standing."""
    said = ask_watch({"op": "ack", "rule": rule, "reason": reason})
    emit(said, as_json=as_json, text=f"{printable(rule)}: seen by {printable(said['acked_by'])}.")


@app.command("shelve")
def shelve(
    rule: RuleName,
    *,
    owner: Owner,
    reason: Reason,
    measure: Measure,
    lasts: For = "1h",
    as_json: Json = False,
) -> None:
    """Take the alarm of a rule out of sight for a while; the rule acts as before."""
    message = {"op": "shelve", "rule": rule, "owner": owner, "reason": reason, "measure": measure}
    lower(message, lasts, as_json=as_json)


@app.command("unshelve")
def unshelve(rule: RuleName, *, as_json: Json = False) -> None:
    """Bring the alarm of a rule back now."""
    said = ask_watch({"op": "unshelve", "rule": rule})
    emit(said, as_json=as_json, text=f"{printable(rule)}: shown again.")


def lower(message: dict[str, Any], lasts: str, *, as_json: bool) -> None:
    """Ask for something to be lowered, and say what has come of it."""
    lasts_us = duration_of(lasts)
    if lasts_us is None:
        raise Usage("say how long", '--for "2h", 8 hours at most')
    said = ask_watch({**message, "for_us": lasts_us})
    what = f"{message['op']} of {printable(message['rule'])}"
    if said["pending"]:
        told = (
            f"{what}: it was lowered within the last day, so a second person is needed:"
            " the same command, by another user, within 10 minutes"
        )
    else:
        told = f"{what} until {clock_of(said['until_us'])}; then it returns by itself."
    emit(said, as_json=as_json, text=told)
