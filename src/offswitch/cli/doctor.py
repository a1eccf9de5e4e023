"""`offswitch doctor`: can I stop everything, right now? If not: why, and what to do.

Where no warden runs, one is started as `run` would do it, since that it can be started is
the first thing to know; it ends by itself. Each question is asked even if another failed.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from offswitch.cli.begin import ensure_warden
from offswitch.cli.checks import CHECKS, Check, Facts
from offswitch.cli.show import emit
from offswitch.control.client import call
from offswitch.control.place import Place, chosen
from offswitch.errors import OffswitchError
from offswitch.printable import printable

__all__ = ["command", "examine", "verdict"]

_ASK_S = 3.0


def examine(place: Place, *, start: bool = True) -> tuple[str, list[Check]]:
    """Ask all questions about `place`; give its rung and the answers."""
    try:
        if start:
            ensure_warden(place)
        ping = call(place, {"op": "ping"}, _ASK_S)
        health = call(place, {"op": "health"}, _ASK_S)
        status = call(place, {"op": "status", "scope": None}, _ASK_S)
    except OffswitchError as error:
        return "unknown", [Check("warden", False, error.message, error.hint)]
    facts = Facts(place, ping, health, status)
    return str(ping.get("rung")), [_asked(check, facts) for check in CHECKS]


def _asked(check: Any, facts: Facts) -> Check:  # noqa: ANN401 - one of CHECKS
    try:
        answer: Check = check(facts)
    except Exception as error:  # noqa: BLE001 - a question that cannot be asked is a finding
        name = check.__name__.strip("_")
        what = f"cannot be told: {type(error).__name__}: {error}"
        return Check(name, False, what, "do it as root, or as the owner of the installation")
    return answer


def verdict(checks: list[Check]) -> str:
    """Say the first line."""
    bad = [check for check in checks if not check.ok]
    if not bad:
        return "Can stop everything: YES"
    more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
    return f"Can stop everything: NO, because {bad[0].name}: {printable(bad[0].detail)}{more}"


def _table(checks: list[Check]) -> Table:
    """Draw the answers, each no first."""
    table = Table(box=None, show_header=False, padding=(0, 1), pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in sorted(checks, key=lambda check: check.ok):
        mark = Text("ok") if check.ok else Text("NO", style="bold reverse")
        told = Text(printable(check.detail))
        if check.hint:
            told.append(f"\n→ {printable(check.hint)}", style="" if check.ok else "bold")
        table.add_row(mark, Text(check.name), told)
    return table


def command(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Say whether everything can be stopped right now, and what to do if not."""
    place = chosen()
    rung, checks = examine(place)
    ok = all(check.ok for check in checks)
    if as_json:
        rows = [
            {"name": check.name, "ok": check.ok, "detail": check.detail, "hint": check.hint}
            for check in checks
        ]
        emit({"ok": ok, "rung": rung, "checks": rows}, as_json=True, text="")
    else:
        sys.stdout.write(verdict(checks) + "\n\n")
        sys.stdout.flush()
        Console(highlight=False).print(_table(checks))
    sys.exit(0 if ok else 1)
