"""`offswitch ticket list|show|file|accept|decline`: orders from outside (DEC-8).

A customer, regulator or insurer signs an order; filed here, or over `POST /api/v1/tickets`, it
becomes a ticket if it holds. Nothing is stopped until a person accepts it: then the stop is theirs.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Annotated, Any

import typer

from offswitch.cli.config import Json
from offswitch.cli.desk import Reason
from offswitch.cli.show import emit
from offswitch.control.client import Conversation
from offswitch.control.place import chosen
from offswitch.decide.outside import LONGEST
from offswitch.errors import NotFound, Unreachable, Usage
from offswitch.printable import printable

__all__ = ["app"]

app = typer.Typer(
    help="Orders from outside: list, show, file, accept, decline.", no_args_is_help=True
)
_PATIENCE_S = 20.0

Which = Annotated[str, typer.Argument(metavar="TICKET", help="Its id, or how it begins.")]


@app.command("list")
def show_all(*, as_json: Json = False) -> None:
    """List them, those that wait first."""
    answer = _ask({"op": "tickets"})
    rows = answer["tickets"]
    lines = [_line(row) for row in rows] or ["No order from outside came."]
    emit({"tickets": rows}, as_json=as_json, text="\n".join(lines))


@app.command("show")
def show(which: Which, *, as_json: Json = False) -> None:
    """Show one, with what can be done."""
    row = _ask({"op": "ticket", "ticket": which})
    emit(row, as_json=as_json, text="\n".join(_block(row)))


@app.command("file")
def file(
    path: Annotated[str, typer.Argument(metavar="FILE", help="The signed order; - is stdin.")],
    *,
    as_json: Json = False,
) -> None:
    """Hand a signed order in."""
    row = _ask({"op": "ticket-file", "order": _read(path)})
    text = f"{row['id']}: nothing is stopped by it until a person accepts it"
    emit(row, as_json=as_json, text=printable(text))


@app.command("accept")
def accept(which: Which, *, reason: Reason = "", as_json: Json = False) -> None:
    """Stop what it asks for, now, as you."""
    row = _ask({"op": "ticket-accept", "ticket": which, "reason": reason})
    text = f"stop ordered: {row['level']} of {', '.join(row['scopes'])}. See: offswitch status"
    emit(row, as_json=as_json, text=printable(text, 2000))


@app.command("decline")
def decline(which: Which, *, reason: Reason, as_json: Json = False) -> None:
    """Say no, and why; nothing is stopped."""
    row = _ask({"op": "ticket-decline", "ticket": which, "reason": reason})
    emit(row, as_json=as_json, text=f"{printable(row['id'])} is declined; nothing is stopped")


def _ask(message: dict[str, Any]) -> dict[str, Any]:
    path = f"{chosen().control}/station"
    if not os.path.exists(path):
        raise Unreachable(f"no station has a door at {path}", "start one: offswitch up")
    try:
        with Conversation(path, _PATIENCE_S) as conversation:
            return conversation.ask(message)
    except Unreachable as error:
        said = error.message.replace("the warden", "the station").replace("no warden", "no station")
        raise Unreachable(said, "offswitch up keeps it alive; see: offswitch doctor") from None


def _read(path: str) -> str:
    try:
        if path == "-":
            data = sys.stdin.buffer.read(LONGEST + 1)
        else:
            with open(path, "rb") as file_:
                data = file_.read(LONGEST + 1)
        text = data.decode()
    except FileNotFoundError:
        raise NotFound(f"{path}: there is no such file") from None
    except OSError as error:
        raise Usage(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Usage(f"{path}: this is not UTF-8", "one line of JSON, then the signature") from None
    if len(data) > LONGEST:
        raise Usage(f"{path}: longer than an order", f"at most {LONGEST} bytes")
    return text


def _line(row: dict[str, Any]) -> str:
    what = f"{row['level']} of {', '.join(row['scopes'])}"
    head = f"{row['id']}  {row['state']:<9} {_when(row['deadline_us'])}  {row['sender']}: {what}"
    return printable(head, 500)


def _block(row: dict[str, Any]) -> list[str]:
    facts = [
        ("asks for", f"{row['level']} of {', '.join(row['scopes'])}"),
        ("because", row["reason"]),
        ("from", f"{row['sender']}, reference {row['reference']}, by {row['channel']}"),
        ("until", f"{_when(row['deadline_us'])} UTC"),
        ("state", f"{row['state']} {row['by']} {row['answer']}".strip()),
    ]
    lines = [printable(row["id"])]
    lines += [f"    {name:<9} {printable(text, 2000)}" for name, text in facts]
    if row["state"] in {"open", "overdue"}:
        lines.append(f"stop it:  offswitch ticket accept {printable(row['id'])}")
        lines.append(f"say no:   offswitch ticket decline {printable(row['id'])} --reason TEXT")
    return lines


def _when(time_us: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(time_us / 1e6))
