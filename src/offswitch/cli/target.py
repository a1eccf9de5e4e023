"""`offswitch target list|show|adopt|release`: what can be stopped, and all that is known of it."""

from __future__ import annotations

import sys
import time
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from offswitch.cli.adopt import adopt, release
from offswitch.cli.gather import Answer, ask_all, rows_of
from offswitch.cli.inventory import inventory_lines, seen
from offswitch.cli.paint import level_text, signals_text, state_text
from offswitch.cli.show import emit
from offswitch.errors import Ambiguous, NotFound, Unreachable
from offswitch.model.scope import nearest, parse_scope
from offswitch.model.target import Target, check_name
from offswitch.printable import printable

__all__ = ["app", "show_all", "show_one"]

app = typer.Typer(help="What can be stopped: list, show, adopt, release.", no_args_is_help=True)
app.command("adopt")(adopt)
app.command("release")(release)
_MICRO = 1_000_000


@app.command("list")
def show_all(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """List every target within reach."""
    answers = ask_all({"op": "targets"})
    rows = rows_of(answers)
    silent = [answer for answer in answers if answer.said is None and not answer.absent]
    if as_json:
        emit({"targets": rows}, as_json=True, text="")
    elif rows:
        Console(highlight=False).print(_list_table(rows, several=len(answers) > 1))
    else:
        sys.stdout.write("No target is known. Put one under the switch: offswitch run -- CMD…\n")
    for answer in silent:
        sys.stderr.write(f"offswitch: {answer.place.run}: {printable(answer.why)}\n")
    sys.exit(4 if silent else 0)


def _list_table(rows: list[dict[str, Any]], *, several: bool) -> Table:
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="dim")
    for title in ("TARGET", "KIND", "STATE", "LATCHED", "PIDS", "USER"):
        table.add_column(title, justify="right" if title == "PIDS" else "left", overflow="fold")
    if several:
        table.add_column("INSTALLATION", overflow="fold")
    for row in rows:
        cells = [
            Text(printable(row["target"])),
            Text(printable(row["kind"])),
            state_text(row),
            level_text(row),
            Text(str(row["pids"])),
            Text(printable(row.get("user", ""))),
        ]
        table.add_row(*cells, *([Text(printable(row["installation"]))] if several else []))
    return table


@app.command("show")
def show_one(
    name: Annotated[str, typer.Argument(metavar="TARGET", help="Such as shop/eu/checkout.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Show everything that is known of one target."""
    check_name(name)
    answers = ask_all({"op": "target", "name": name})
    found = [answer for answer in answers if answer.said]
    if len(found) > 1:
        runs = ", ".join(answer.place.run for answer in found)
        raise Ambiguous(f"{name} is known in {runs}", "say which: OFFSWITCH_RUN=…")
    if not found or found[0].said is None:
        raise _unknown(name, answers)
    row = {**found[0].said, "inventory": seen(found[0].said)}
    if as_json:
        emit(row, as_json=True, text="")
    else:
        Console(highlight=False).print(_one_table(row))


def _unknown(name: str, answers: list[Answer]) -> Exception:
    silent = [answer for answer in answers if answer.said is None and not answer.absent]
    if silent:
        return Unreachable(f"{silent[0].place.run}: {silent[0].why}", "offswitch doctor")
    known = [Target(row["target"]) for row in rows_of(ask_all({"op": "targets"}))]
    near = ", ".join(nearest(parse_scope(name), known))
    hint = f"the nearest: {near}" if near else "none is known: offswitch run -- CMD…"
    return NotFound(f"no target is named {name}", hint)


def _one_table(row: dict[str, Any]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 1), pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for title, told in _facts(row):
        table.add_row(title, told)
    for title, words, finding in inventory_lines(row["inventory"]):
        style = "bold reverse" if finding else ""
        mark = "FINDING" if finding else "can act"
        table.add_row(mark, Text.assemble(Text(title, style=style), f"  {words}"))
    for layer, state in sorted((row.get("readiness") or {}).items()):
        detail = printable((row.get("readiness_detail") or {}).get(layer, ""))
        shown = Text(state, style="" if state == "ready" else "bold reverse")
        date = (row.get("readiness_since") or {}).get(layer)
        since = f" since {_when(date)}" if type(date) is int and date > 0 else ""
        table.add_row(f"layer {layer}", Text.assemble(shown, f"{since}  {detail}"))
    for hand in row.get("hands") or []:
        title = printable(f"hand {hand['name']}")
        for text in hand.get("happened") or []:
            table.add_row(f"{title}: in flight", Text(printable(text)))
        for text in hand.get("reissue") or []:
            table.add_row(f"{title}: make anew", Text(printable(text)))
    for layer in row.get("layers") or []:
        effect = layer.get("effect_ns")
        seen = f"seen after {effect / 1e6:.1f} ms" if effect is not None else "not seen"
        when = f"commanded after {layer['commanded_ns'] / 1e6:.1f} ms, {seen}: "
        table.add_row(f"stop: {layer['layer']}", Text(when + printable(layer["detail"])))
    return table


def _facts(row: dict[str, Any]) -> list[tuple[str, Text]]:
    labels = ", ".join(f"{key}={value}" for key, value in (row.get("labels") or {}).items())
    since = row.get("since_us")
    declared = row.get("declared") or {}
    impact = declared.get("stop_impact") or {}
    facts = [
        ("target", Text(printable(row["target"]), style="bold")),
        ("state", state_text(row)),
        ("latched", level_text(row)),
        ("stops", Text("\n".join(printable(stop) for stop in row.get("stops") or []))),
        ("kind", Text(printable(row.get("kind", "")))),
        ("adopted", Text(printable(row.get("adopted") or ""))),
        ("labels", Text(printable(labels))),
        ("user", Text(_user(row))),
        ("processes", Text(str(row.get("pids", 0)))),
        ("since", Text(_when(since) if since else "")),
        ("signals", signals_text(row)),
        ("plan", Text(_plan(row.get("plan") or {}))),
        ("put off", Text(_put_off(declared.get("stop") or {}))),
        ("takes along", Text(_taken_along(declared.get("stop") or {}))),
        ("safe state", Text(printable(declared.get("safe_state") or ""))),
        ("stop impact", Text(printable("; ".join(f"{k}: {v}" for k, v in impact.items())))),
        ("log", Text(printable(row.get("log") or ""))),
        ("installation", Text(printable(row["installation"]))),
        ("rung", Text(printable(row.get("rung", "")))),
        ("note", Text("\n".join(printable(note) for note in row.get("notes") or []), "bold")),
    ]
    return [(title, told) for title, told in facts if told.plain]


def _user(row: dict[str, Any]) -> str:
    user = printable(row.get("user", ""))
    if row.get("escapable"):
        return f"{user} (escapable: root can leave its cell; no sweep by user)"
    return f"{user} (shared: no sweep by user)" if row.get("sharing") and user else user


def _plan(plan: dict[str, list[str]]) -> str:
    """Say which layers a stop of each level commands."""
    return "\n".join(f"{level}: {printable(', '.join(plan[level]))}" for level in plan)


def _put_off(plan: dict[str, Any]) -> str:
    """Say what its stop plan puts off, and by when what must be seen."""
    lines = [" then ".join(plan["sequence"])] if plan.get("sequence") else []
    lines += [
        f"{', '.join(step['layers'])} after {_ms(step['after'])} if not all is seen"
        for step in plan.get("escalate") or []
    ]
    lines += [
        f"{layer} must be seen within {_ms(limit)}"
        for layer, limit in (plan.get("deadlines") or {}).items()
    ]
    return printable("; ".join(lines))


def _taken_along(plan: dict[str, Any]) -> str:
    """Say whom a stop takes along, and who is told first."""
    lines = [
        f"{one['target']} ({one.get('level') or 'likewise'}{', first' if one.get('first') else ''})"
        for one in plan.get("dependents") or []
    ]
    told = [one.get("who") or f"whoever tells of {one['target']}" for one in plan.get("tell") or []]
    return printable("; ".join([*lines, *(f"tell {who}" for who in told)]))


def _ms(us: int) -> str:
    return f"{us / 1000:g} ms"


def _when(time_us: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time_us / _MICRO))
