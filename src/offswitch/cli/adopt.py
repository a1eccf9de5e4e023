"""`offswitch target adopt|release`: put under the switch what something else starts.

A unit of systemd's, a container, a cgroup is found by its name whenever it is started, and
killed at once while it is stopped. Root's alone (SR-3). A unit also gets a drop-in, so that
it starts only where Offswitch says that it may, at boot, too (SR-16).
"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from offswitch.cli.begin import ensure_warden
from offswitch.cli.show import emit
from offswitch.cli.start import holder
from offswitch.control.client import call
from offswitch.control.place import Place, chosen
from offswitch.errors import Usage
from offswitch.host.drop_in import remove_drop_in, write_drop_in
from offswitch.model.target import check_name
from offswitch.printable import printable

__all__ = ["adopt", "release"]

_PATIENCE_S = 15.0


def adopt(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name here, such as shop/llm.")],
    *,
    unit: Annotated[
        str | None,
        typer.Option(help="A service or scope of systemd's; user@1000.service/UNIT for a user's."),
    ] = None,
    container: Annotated[str | None, typer.Option(help="A container's name or id.")] = None,
    cgroup: Annotated[
        str | None, typer.Option(help="A cgroup's path, from the tree's root.")
    ] = None,
    pid: Annotated[int | None, typer.Option(help="A process: what its cgroup goes by.")] = None,
    program: Annotated[
        str | None, typer.Option("--name", help="A program with a cgroup to itself.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Adopt what something else starts: found by its name whenever it is started again."""
    given = {
        "unit": unit,
        "container": container,
        "cgroup": cgroup,
        "pid": pid,
        "program": program,
    }
    said = {kind: value for kind, value in given.items() if value is not None}
    if len(said) != 1:
        raise Usage("say what it is by one of --unit, --container, --cgroup, --pid, --name")
    place = chosen()
    ensure_warden(place)
    message = {"op": "adopt", "target": check_name(name), "as": said}
    row = call(place, message, _PATIENCE_S)
    row["notes"] = [*_held_back(place, row), *row["notes"]]
    emit(row, as_json=as_json, text=_words(row))
    sys.exit(0)


def _held_back(place: Place, row: dict[str, Any]) -> list[str]:
    """Keep a unit from starting before us; say how, or why not."""
    kind, _, value = str(row["adopted"]).partition(" ")
    if kind != "unit":
        return ["what starts it at boot does not ask us: where it is stopped, it lives until found"]
    try:
        said = write_drop_in(place, str(row["target"]), value)
    except OSError as error:
        return [f"no drop-in keeps it from starting before us at boot: {error}"]
    return [said or f"{value} can have no drop-in of root's: it may start before us at boot"]


def _words(row: dict[str, Any]) -> str:
    runs = f"{row['pids']} processes" if row["pids"] else "nothing of it runs now"
    lines = [f"{row['target']} is adopted: {printable(row['adopted'])}, {row['state']}, {runs}"]
    return "\n".join([*lines, *(f"  {printable(note)}" for note in row["notes"])])


def release(
    name: Annotated[str, typer.Argument(metavar="NAME", help="An adopted target.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Adopt it no longer: what runs, runs on. Refused (3) while it is latched."""
    place = holder(check_name(name))
    known = call(place, {"op": "target", "name": name}, _PATIENCE_S)
    row = call(place, {"op": "release", "target": name}, _PATIENCE_S)
    kind, _, value = str(known.get("adopted")).partition(" ")
    if kind == "unit":
        remove_drop_in(value)
    emit(row, as_json=as_json, text=f"{name} is adopted no longer, and cannot be stopped")
    sys.exit(0)
