"""`offswitch run -- CMD…`: any program under the switch, as if it had been started plainly.

Its exit code, its output and the signals that we are sent are its own; 125 is every refusal
or failure of ours, 126 and 127 are as in a shell. What we have to say goes to stderr: always
where the program can escape or fake something, since that is never silent, and only if a
person reads it where it is no more than a remark.

Its few words are read here and not by the framework, which would take longer than the birth.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from offswitch.cli.lifeline import SHELL_CODES, ask_for_birth, relay
from offswitch.cli.relay import REFUSED, say
from offswitch.cli.streams import Streams
from offswitch.control.place import chosen
from offswitch.errors import OffswitchError, Unreachable, Usage
from offswitch.printable import printable

__all__ = ["Call", "main", "parse", "run"]

_USAGE = "offswitch run [--target NAME] [--user USER] [--raw] -- CMD…"
_HELP = f"""\
{_USAGE}

Run a program under the switch; its exit code, output and signals are its own.

  --target NAME   the target's name, such as shop/eu/checkout (else run/ and the program's)
  --user USER     whose rights it gets; only root may name another user
  --raw           pass stdout and stderr on untouched, and keep no log

Exit codes: the program's own, 128+n after signal n; 125: refused, or failed, by Offswitch;
126: it cannot be run; 127: it was not found. 137, with the order's digest: it was stopped.
"""
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
    for note in (*birth.answer.get("degraded", []), *_remarks(birth.answer, message)):
        say(f"{birth.answer['target']}: {printable(note)}")
    return relay(place, birth, streams)


def _remarks(born: dict[str, Any], message: dict[str, Any]) -> list[str]:
    """Give what a person at a terminal should know, and a script's stderr should not hold."""
    if not os.isatty(_STDERR):
        return []
    notes = [str(note) for note in born.get("notes", [])]
    if born.get("workspace"):
        from offswitch.warden.cells.workspace import remarks  # noqa: PLC0415 - only for a person

        notes += remarks(message["cwd"], message["env"].get("HOME", ""))
    return notes


class Call:
    """The words of a call, taken apart."""

    __slots__ = ("argv", "help", "raw", "target", "user")

    def __init__(self) -> None:
        """Begin with nothing given."""
        self.argv: list[str] = []
        self.target: str | None = None
        self.user: str | None = None
        self.raw = False
        self.help = False


def parse(words: list[str]) -> Call:
    """Read our own words; with the first that is none of ours the program's begin."""
    call, rest = Call(), list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if word == "--":
            break
        if not word.startswith("-"):
            rest.insert(0, word)
            break
        if name in {"--target", "--user"}:
            if not equals and not rest:
                raise Usage(f"{name} wants a value", _USAGE)
            setattr(call, name[2:], value if equals else rest.pop(0))
        elif word == "--raw":
            call.raw = True
        elif word in {"--help", "-h"}:
            call.help = True
        else:
            raise Usage(f"unknown option {word}", _USAGE)
    call.argv = rest
    if not rest and not call.help:
        raise Usage("there is no command to run", _USAGE)
    return call


def main(words: list[str]) -> int:
    """Read the words and run; return the exit code."""
    try:
        call = parse(words)
    except Usage as error:
        say(str(error))
        return REFUSED
    if call.help:
        sys.stdout.write(_HELP)
        return 0
    try:
        return run(call.argv, call.target, call.user, raw=call.raw)
    except KeyboardInterrupt:
        return 130
