"""`offswitch sensor list|probe`: what looks at what, how fresh it is, and one look by hand.

`list` asks the watch that runs. `probe` asks nobody: a fresh eye with the rights that the sensor
needs, and no others, looks once as the real one would, and what it read is printed.
"""

from __future__ import annotations

import select
import sys
import time
from functools import partial
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from offswitch.cli.config import Json, configuration
from offswitch.cli.desk import ask_watch
from offswitch.cli.show import emit
from offswitch.clock import SystemClock
from offswitch.config.load import Loaded
from offswitch.config.section import SensorSection
from offswitch.control.client import call
from offswitch.control.place import chosen
from offswitch.errors import NotFound, OffswitchError, Timeout
from offswitch.model.reading import series
from offswitch.printable import printable
from offswitch.watch.eyes import EyeLink
from offswitch.watch.nursery import launched
from offswitch.watch.prepared import prepare

__all__ = ["app"]

app = typer.Typer(help="What looks at what: list, probe.", no_args_is_help=True)
_PATIENCE_S = 15.0
_MOST_SHOWN = 1000


@app.command("list")
def show_all(*, as_json: Json = False) -> None:
    """List the sensors that look now, with how fresh each is."""
    answer = ask_watch({"op": "sensors"})
    if as_json:
        emit({key: answer[key] for key in ("sensors", "left_out")}, as_json=True, text="")
        return
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="dim")
    for title in ("SENSOR", "KIND", "TARGET", "STATE", "AGE", "EVERY", "SERIES", "NOTE"):
        table.add_column(title, overflow="fold")
    for row in sorted(answer["sensors"], key=lambda row: row["state"] in {"ok", "absent"}):
        age = "never" if row["age_ms"] is None else f"{row['age_ms'] / 1000:.1f} s"
        note = row["problem"] if row["state"] in {"stale", "failed"} else row["note"]
        state = row["state"].upper() if row["state"] in {"stale", "failed"} else row["state"]
        cells = (row["sensor"], row["kind"], row["target"], state,
                 age, row["every"], row["series"], note)  # fmt: skip
        table.add_row(*(Text(printable(cell)) for cell in cells))
    Console(highlight=False).print(table)
    if answer["left_out"]:
        sys.stdout.write(f"and {answer['left_out']} more\n")


@app.command("probe")
def probe(
    name: Annotated[str, typer.Argument(metavar="SENSOR", help="Its name in the file.")],
    *,
    target: Annotated[
        str, typer.Option("--target", help="For what every target has: which one.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Look once, as the eye of this sensor would, and print what it read."""
    loaded = configuration()
    section = _section(loaded, name, target)
    said = _look(loaded, section)
    rows = [
        {
            "series": series(section.name, what, labels),
            "value": value,
            "means": section.meaning(what),
            "detail": {str(key): str(text) for key, text in detail.items()},
        }
        for what, value, labels, detail in said.get("samples", ())
    ]
    answer = {
        "sensor": section.name,
        "kind": section.kind,
        "target": section.target,
        "problem": str(said.get("problem", "")),
        "absent": bool(said.get("absent")),
        "note": str(said.get("note", "")),
        "samples": rows,
    }
    emit(answer, as_json=as_json, text=_told(answer))
    if answer["problem"]:
        sys.exit(1)


def _section(loaded: Loaded, name: str, target: str) -> SensorSection:
    make = loaded.kinds.implicit.get(name)
    if make is not None:
        if not target:
            raise NotFound(f"every target has {name}", "say which target: --target NAME")
        return make(target)
    for section in loaded.config.sensor:
        if section.name == name:
            return section
    known = ", ".join([*(one.name for one in loaded.config.sensor), *loaded.kinds.implicit])
    raise NotFound(f"there is no sensor {name!r}", f"there are: {known}")


def _look(loaded: Loaded, section: SensorSection) -> dict[str, Any]:
    """Have a fresh eye look until it has seen something, or says why it cannot."""
    prepared = prepare(loaded, [section])[section.name]
    cls = loaded.kinds.sensors[section.kind].cls
    # What it needs was found to be there (`prepare`), and its user may not be able to read it.
    imports = () if prepared.problem else getattr(cls, "IMPORTS", ())
    bear = partial(launched, imports=imports)
    eye = EyeLink("probe", cls.NEEDS, SystemClock(), bear)
    try:
        eye.open(section.model_dump(mode="json"), None, prepared)
        eye.start()
        eye.tell_cells(_cells())
        return _first(eye, time.monotonic() + _PATIENCE_S + section.every / 1e6)
    finally:
        eye.end()


def _first(eye: EyeLink, end: float) -> dict[str, Any]:
    last: dict[str, Any] | None = None
    while (left := end - time.monotonic()) > 0:
        fd = eye.fileno()
        if fd is None:
            raise Timeout(f"the eye was lost: {eye.lost}", "see its sensor's rights and path")
        select.select([fd], [fd] if eye.writing else [], [], min(left, 0.2))
        eye.flush()
        for message in eye.messages():
            last = message
            if message.get("samples") or message.get("problem"):
                return message
        if last is not None and last.get("absent") and left < _PATIENCE_S - 2:
            return last
    if last is not None:
        return last
    raise Timeout("it has seen nothing in time", "see: offswitch config check")


def _cells() -> dict[str, dict[str, Any]]:
    """Ask the warden for its cells; without one there are none to look at."""
    try:
        rows = call(chosen(), {"op": "cells"}, 2.0)["cells"]
    except OffswitchError:
        return {}
    return {str(row["target"]): row for row in rows}


def _told(answer: dict[str, Any]) -> str:
    rows = answer["samples"]
    lines = [f"{answer['sensor']} ({answer['kind']}) of {answer['target']}:"]
    for row in rows[:_MOST_SHOWN]:
        value = "?" if row["value"] is None else f"{row['value']:g}"
        means = f"  ({row['means']})" if row["means"] else ""
        lines.append(f"  {value:>14}  {row['series']}{means}")
    if len(rows) > _MOST_SHOWN:
        lines.append(f"  and {len(rows) - _MOST_SHOWN} more: --json")
    if answer["problem"]:
        lines.append(f"  it cannot see: {answer['problem']}")
    elif answer["absent"]:
        lines.append("  there is nothing to look at just now")
    elif not rows:
        lines.append("  it read nothing")
    if answer["note"]:
        lines.append(f"  note: {answer['note']}")
    return "\n".join(printable(line, 2000) for line in lines)
