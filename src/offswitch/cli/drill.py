"""`offswitch drill list|run|figures`: rehearse the stop on the real path, and what that proves.

`run canary` makes a little target of the warden's own, stops it as any target is stopped, looks
with its own senses and with the observer's, and clears it away again. It exits with 0 where every
layer passed, 4 where one was not confirmed, 1 where the drill did not come to that. `figures` are
made of the ledger alone.
"""

from __future__ import annotations

import sys
import time
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from offswitch.cli.config import Json, configuration
from offswitch.cli.drill_words import age_of, figure_cells, figures_notes, outcome_words, share
from offswitch.cli.show import emit
from offswitch.config.duration import format_duration
from offswitch.control.place import chosen
from offswitch.drills.canary import run_canary
from offswitch.drills.figures import Demand, Figures, figures
from offswitch.drills.record import drill_entries
from offswitch.drills.schedule import Due, due_of
from offswitch.errors import OffswitchError, Usage
from offswitch.printable import printable

__all__ = ["app"]

app = typer.Typer(help="Rehearse the stop: list, run, figures.", no_args_is_help=True)

_KINDS = ("canary",)
_TITLES = ("LAYER", "STATE", "N", "K", "BOUND", "MEAN", "λDU/h", "PFDavg", "PFDnow", "LAST")

Kind = Annotated[str, typer.Argument(metavar="KIND", help="Which drill: canary.")]
Dry = Annotated[bool, typer.Option("--dry-run", help="All but the press; it earns nothing.")]


@app.command("list")
def show_all(*, as_json: Json = False) -> None:
    """List the drills that there are, how often each runs, and what the last one showed."""
    known, every_us, due = _known()
    spelt = "off" if every_us is None else format_duration(every_us)
    [row] = [row for row in known.combined if row.demand.value == "resisting"]
    answer = {
        "drill": "canary",
        "demand": row.demand.value,
        "every": spelt,
        "state": row.state.value,
        "n": row.n,
        "k": row.k,
        "bound": row.bound,
        "last_us": row.last_us,
        "next_us": due.next_us,
        "overdue": due.overdue,
        "note": due.note,
    }
    text = (
        f"canary   {row.demand.value}, every {spelt}; {row.state.value}, "
        f"{row.n} drills, {row.k} failed, at most {share(row.bound)} failures on demand; "
        f"last {age_of(row.last_us, known.now_us)}"
    )
    if due.note:
        text += f"\n  {due.note}"
    emit({"drills": [answer]}, as_json=as_json, text=text)


@app.command("run")
def run(kind: Kind, *, dry: Dry = False, as_json: Json = False) -> None:
    """Run a drill now, on the real path; takes about a second."""
    if kind not in _KINDS:
        raise Usage(f"there is no drill {printable(kind)!r}", f"there are: {', '.join(_KINDS)}")
    outcome = run_canary(chosen(), dry=dry)
    emit(outcome.as_dict(), as_json=as_json, text=outcome_words(outcome))
    sys.exit(outcome.exit_code)


@app.command("figures")
def show_figures(*, as_json: Json = False) -> None:
    """Show what the drills in the ledger prove, layer by layer; no SIL claim."""
    known, _every, due = _known()
    if as_json:
        emit({**known.as_dict(), "due": _due(due)}, as_json=True, text="")
        return
    console = Console(highlight=False)
    for demand in Demand:
        rows = [
            row
            for row in (*known.layers, *known.combined)
            if row.demand is demand and (row.n or row.voided_n)
        ]
        if not rows:
            continue
        table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="dim")
        for title in _TITLES:
            table.add_column(title, no_wrap=True)
        for row in rows:
            table.add_row(*(Text(printable(cell)) for cell in figure_cells(row, known.now_us)))
        sys.stdout.write(f"A target that is {demand.value}:\n")
        sys.stdout.flush()
        console.print(table)
    if not known.counted:
        sys.stdout.write("No drill has counted yet. Run one: offswitch drill run canary\n")
    for line in figures_notes(known, due):
        sys.stdout.write(f"{printable(line, 2000)}\n")


def _known() -> tuple[Figures, int | None, Due]:
    """Read the ledger, and how often drills are to run; a broken file is no reason to say less."""
    known = figures(drill_entries(chosen().home), time.time_ns() // 1000)
    try:
        every_us = configuration().config.drill.canary
    except OffswitchError as error:
        sys.stderr.write(f"offswitch: {printable(error.message, 2000)}\n")
        every_us = 3_600_000_000
    return known, every_us, due_of(known, every_us)


def _due(due: Due) -> dict[str, Any]:
    return {
        "now": due.now,
        "next_us": due.next_us,
        "proven_us": due.proven_us,
        "overdue": due.overdue,
        "note": due.note,
    }
