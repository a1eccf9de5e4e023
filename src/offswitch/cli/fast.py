"""What `stop`, `status` and `reset` share: their words, their output, their way to ask.

No argument parser, no `json`, no `socket`, no `typing`: importing those costs more than a
whole stop takes. The words are few: `--name`, `--name VALUE`, `--name=VALUE`, and what is
left over. An unknown one is a usage error that names the nearest that is known.
"""

from __future__ import annotations

import os
import sys
import time
from select import POLLIN, poll

from offswitch.cli.lean_json import dumps
from offswitch.cli.line import Line
from offswitch.errors import Internal, OffswitchError, Usage
from offswitch.printable import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from offswitch.control.place import Place

__all__ = ["Words", "ask_each", "await_lines", "complain", "guarded", "say", "tell"]

_RETRY_S = 0.005


def guarded(verb: Callable[[list[str]], int], argv: list[str]) -> int:
    """Run a verb; its errors end as INTERFACES promises."""
    as_json = "--json" in argv
    try:
        code = verb(argv)
        sys.stdout.flush()
    except OffswitchError as error:
        return complain(error, as_json=as_json)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python would try once more at its end
        return 1
    except Exception as error:
        if os.environ.get("OFFSWITCH_TRACEBACK"):
            raise
        what = f"a defect of ours: {type(error).__name__}: {error}"
        return complain(Internal(what, "OFFSWITCH_TRACEBACK=1 shows where"), as_json=as_json)
    return code


def complain(error: OffswitchError, *, as_json: bool) -> int:
    """Say what went wrong and what to do next; return the exit code."""
    if as_json:
        say(dumps({"error": error.as_dict()}))
    else:
        tell(f"offswitch: {printable(error.message, 2000)}")
        if error.hint:
            tell(f"  next: {printable(error.hint, 2000)}")
    return error.exit_code


def say(line: str) -> None:
    """Write a line of data (stdout)."""
    sys.stdout.write(line + "\n")


def tell(line: str) -> None:
    """Write a line of talk (stderr)."""
    sys.stderr.write(line + "\n")


class Words:
    """A command's words, taken apart."""

    __slots__ = ("given", "rest")

    def __init__(
        self, argv: list[str], *, flags: tuple[str, ...], values: tuple[str, ...], usage: str
    ) -> None:
        """Take `argv` apart: `flags` stand alone, `values` take a word; raises `Usage`."""
        self.given: dict[str, list[str]] = {}
        self.rest: list[str] = []
        words = list(argv)
        while words:
            word = words.pop(0)
            if word == "--":
                self.rest += words
                break
            if not word.startswith("-") or word == "-":
                self.rest.append(word)
                continue
            name, equals, value = word.partition("=")
            if name in values:
                if not equals and not words:
                    raise Usage(f"{name} wants a value", usage)
                self.given.setdefault(name, []).append(value if equals else words.pop(0))
            elif name in flags and not equals:
                self.given.setdefault(name, []).append("")
            else:
                raise Usage(f"unknown option {name!r}", _nearest(name, (*flags, *values), usage))

    def has(self, flag: str) -> bool:
        """Tell whether a flag was given."""
        return flag in self.given

    def value(self, name: str) -> str | None:
        """Give the last value of an option, or None."""
        return self.given[name][-1] if name in self.given else None


def _nearest(name: str, known: tuple[str, ...], usage: str) -> str:
    """Name the known option that shares most with `name`."""

    def shared(other: str) -> int:
        return sum(1 for a, b in zip(name, other, strict=False) if a == b)

    best = max(known, key=shared)
    return f"did you mean {best}? {usage}"


def await_lines(lines: Iterable[Line], timeout_s: float) -> None:
    """Wait until one of the lines has something, or the time is up; busy ones are tried again."""
    waiting = poll()
    busy = False
    for line in lines:
        if line.trouble is None:
            line.push()
        if line.trouble is None and line.fileno() >= 0:
            waiting.register(line.fileno(), POLLIN)
        else:
            busy = busy or line.trouble is None
    pause = min(timeout_s, _RETRY_S) if busy else timeout_s
    waiting.poll(max(0, int(pause * 1000 + 0.999)))


def ask_each(
    places: list[Place], message: dict[str, Any], timeout_s: float
) -> dict[str, dict[str, Any] | None]:
    """Ask all wardens the same at once; by run folder, None for one that gave no answer."""
    lines = {place.run: Line(place.warden_socket, message) for place in places}
    answers: dict[str, dict[str, Any] | None] = dict.fromkeys(lines)
    end = time.monotonic() + timeout_s
    open_lines = dict(lines)
    while open_lines and time.monotonic() < end:
        await_lines(open_lines.values(), end - time.monotonic())
        for run, line in list(open_lines.items()):
            found = line.messages()
            if found:
                answers[run] = found[0]
            if found or line.trouble is not None:
                del open_lines[run]
    for run, line in lines.items():
        trouble = line.trouble
        if answers[run] is None and trouble is not None:
            answers[run] = {"trouble": trouble.strerror or str(trouble), "errno": trouble.errno}
        line.close()
    return answers
