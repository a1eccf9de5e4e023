"""`offswitch discover`: what already runs on this machine and is under no control.

It looks at processes, listening sockets on loopback and cgroups, names what looks like AI and is
not under the switch, and writes the configuration that puts it there (`--write FILE`, never over
a file that is there). What it cannot control it names, and why. It changes nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Annotated, Any

import typer

from offswitch.cli.show import emit
from offswitch.control.client import call
from offswitch.control.place import within_reach
from offswitch.errors import OffswitchError
from offswitch.host.discover.found import Find, find
from offswitch.host.discover.probe import Answer, ask
from offswitch.host.discover.seen import Seen, everything
from offswitch.host.discover.signs import INTERPRETERS, met
from offswitch.host.discover.written import command_of, configuration, user_name, write
from offswitch.printable import printable
from offswitch.watch.sensors.processes.proc import pids_below

__all__ = ["command", "discovered"]

_ASK_S = 2.0
_MOST_ASKED = 40
_AT_ONCE = 8
_LEAST_PORT = 1024


def command(
    *,
    file: Annotated[
        str, typer.Option("--write", metavar="FILE", help="Write the configuration to a new file.")
    ] = "",
    probe: Annotated[
        bool, typer.Option(help="Ask servers on loopback for /metrics and /v1/models.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """List the AI that runs here under no control, and write its configuration."""
    seen = everything()
    ours, notes = _under_control()
    found = discovered(seen, ours, probe=probe)
    text = configuration(found)
    if file:
        write(file, text)
    closed = sum(one.closed for one in seen)
    if closed:
        notes.append(f"processes whose open files are closed to you: {closed}; root sees more")
    answer = {
        "found": [_row(one) for one in found],
        "notes": notes,
        "config": text,
        "written": os.path.abspath(file) if file else None,
    }
    emit(answer, as_json=as_json, text=_words(found, notes, file))


def discovered(seen: Sequence[Seen], ours: set[int], *, probe: bool = True) -> list[Find]:
    """Find what is under no control among `seen`."""
    mine = next((one.cgroup for one in everything([os.getppid()])), "")
    return find(seen, ours, _answers(seen, ours) if probe else {}, mine)


def _under_control() -> tuple[set[int], list[str]]:
    """List the processes that installations within reach hold, and whom we could not ask."""
    pids, notes = {os.getpid()}, []
    for place in within_reach():
        try:
            cells = call(place, {"op": "cells"}, _ASK_S)["cells"]
        except OffswitchError as error:
            if os.path.exists(place.warden_socket):
                notes.append(f"{place.run} does not say what it controls: {error.message}")
            continue
        for row in cells:
            pids.update(row["pids"])
            if row["path"]:
                try:
                    pids.update(pids_below(row["path"]))
                except OSError:
                    continue  # its cell is gone
    return pids, notes


def _answers(seen: Sequence[Seen], ours: set[int]) -> dict[int, list[Answer]]:
    """Ask whoever listens on loopback and may be a model server: what we know, and interpreters."""
    wanted: dict[tuple[str, int], int] = {}
    for one in seen:
        program = os.path.basename(one.argv[0]) if one.argv else ""
        likely = met(one.argv, one.comm) or one.libraries or INTERPRETERS.fullmatch(program)
        if one.pid in ours or not one.here or not likely:
            continue
        for socket in one.listens:
            address = _loopback(socket.local)
            if address and socket.local_port >= _LEAST_PORT and len(wanted) < _MOST_ASKED:
                wanted.setdefault((address, socket.local_port), one.pid)
    answers: dict[int, list[Answer]] = {}
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        asked: dict[int, list[Future[Answer]]] = {pid: [] for pid in wanted.values()}
        for (address, port), pid in wanted.items():
            asked[pid].append(pool.submit(ask, address, port))
        for pid, futures in asked.items():
            said = [future.result() for future in futures]
            answers[pid] = [one for one in said if one.metrics or one.models is not None]
    return answers


def _loopback(address: Any) -> str:  # noqa: ANN401 - an address of either family
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "::1"  # noqa: PLR2004 - the two families
    return str(address) if address.is_loopback else ""


def _row(one: Find) -> dict[str, Any]:
    """Give one find as an object; texts of processes are escaped."""
    members = one.members
    return {
        "name": one.name,
        "kind": one.sign.kind,
        "program": one.sign.name,
        "user": user_name(one.lead.uid),
        "pids": [member.pid for member in members],
        "command": command_of(one),
        "adopt": None if one.named is None else {one.named.kind: one.named.value},
        "why": printable(one.why),
        "listens": sorted(
            {f"{each.local} port {each.local_port}" for one in members for each in one.listens}
        ),
        "metrics": [f"{each.url}/metrics" for each in one.answers if each.metrics],
        "models": [printable(model) for each in one.answers for model in each.models or ()],
        "libraries": sorted({each for one in members for each in one.libraries}),
        "gpus": sorted({each for one in members for each in one.gpus}),
    }


def _words(found: Sequence[Find], notes: Sequence[str], file: str) -> str:
    lines = []
    for title, chosen in (
        ("Runs here and is under no control:", [one for one in found if one.named]),
        ("Cannot be controlled as it runs:", [one for one in found if not one.named]),
    ):
        if chosen:
            lines += [title, *(line for one in chosen for line in _lines(one)), ""]
    if not found:
        lines += ["Nothing that looks like AI runs here beside what is under the switch.", ""]
    lines += [f"Note: {printable(note)}" for note in notes]
    if file:
        lines.append(f"The configuration is in {printable(file)}: read it before you use it.")
    elif found:
        lines.append("Its configuration: offswitch discover --write found.toml")
    return "\n".join(lines)


def _lines(one: Find) -> list[str]:
    row = _row(one)
    pids = ", ".join(str(pid) for pid in row["pids"][:5])
    more = f" and {len(row['pids']) - 5} more" if len(row["pids"]) > 5 else ""  # noqa: PLR2004
    lines = [f"  {one.name}  {one.sign.kind} of {printable(row['user'])}, pid {pids}{more}"]
    lines.append(f"      {row['command']}")
    facts = [*row["listens"], *row["metrics"], *(f"model {each}" for each in row["models"])]
    facts += [*row["libraries"], *row["gpus"]]
    if facts:
        lines.append(f"      {printable(', '.join(facts))}")
    if one.named is not None:
        adopt = f"offswitch target adopt {one.name} --{one.named.kind} {one.named.value}"
        lines.append(f"      {printable(adopt)}")
    else:
        lines.append(f"      {printable(one.why)}; start it again by")
        lines.append(f"      offswitch run --target {one.name} -- CMD…")
    return lines
