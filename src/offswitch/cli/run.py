"""`offswitch run -- CMD…`: any program under the switch, as if it had been started plainly.

Its exit code, its output and the signals that we are sent are its own; 125 is every refusal
or failure of ours, 126 and 127 are as in a shell. What we have to say goes to stderr, and,
where it is no more than a remark, only if a person reads it.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from offswitch.cli.lifeline import SHELL_CODES, ask_for_birth, relay
from offswitch.cli.relay import REFUSED, say
from offswitch.cli.streams import Streams
from offswitch.control.place import chosen
from offswitch.errors import OffswitchError, Unreachable
from offswitch.printable import printable

__all__ = ["command", "run"]

_STDERR = 2


def _environment() -> dict[str, str]:
    """Give our environment, less what no message can carry."""
    env = {}
    for key, value in os.environ.items():
        try:
            f"{key}{value}".encode()
        except UnicodeEncodeError:
            say(f"{printable(key)} is not UTF-8 and is left out of the target's environment")
        else:
            env[key] = value
    return env


def _folder() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:
        raise Unreachable("the current folder is gone", "cd somewhere else") from None


def run(argv: list[str], target: str | None, user: str | None, *, raw: bool) -> int:
    """Run `argv` under the switch; return its exit code, or 125 to 127 as a shell would."""
    try:
        place = chosen()
        streams = Streams.of_caller(raw=raw)
        message = {
            "op": "run",
            "target": target,
            "argv": argv,
            "cwd": _folder(),
            "env": _environment(),
            "user": user,
            "tty": streams.terminal is not None,
            "detached": False,
            "raw": raw,
        }
        birth = ask_for_birth(place, message, streams.given)
    except OffswitchError as error:
        say(str(error))
        return error.exit_code if error.exit_code in SHELL_CODES else REFUSED
    if os.isatty(_STDERR):
        for note in birth.answer.get("notes", []):
            say(f"{birth.answer['target']}: {printable(note)}")
    return relay(place, birth, streams)


def command(
    argv: Annotated[
        list[str], typer.Argument(metavar="CMD…", help="The program and its arguments.")
    ],
    target: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The target's name, such as shop/eu/checkout."),
    ] = None,
    user: Annotated[
        str | None, typer.Option(metavar="USER", help="Whose rights it gets (root names others).")
    ] = None,
    *,
    raw: Annotated[
        bool, typer.Option("--raw", help="Pass stdout and stderr on untouched; keep no log.")
    ] = False,
) -> None:
    """Run a program under the switch; its exit code, output and signals are its own."""
    sys.exit(run(argv, target, user, raw=raw))
