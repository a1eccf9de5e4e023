"""How a fast verb speaks: data on stdout, talk on stderr, one object with `--json`.

What an emergency verb has done stands, whatever becomes of its words: a pipe that nobody
reads, a full disk behind `>`, a closed stdout or a terminal that cannot show a letter
change neither the stop nor its exit code.
"""

from __future__ import annotations

import os
import sys

from offswitch.cli.quick_json import dumps
from offswitch.printable import printable

__all__ = ["say", "say_error", "talk"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

    from offswitch.errors import OffswitchError


def say(text: str) -> None:
    """Write to stdout, as far as anybody listens."""
    _write(1, sys.stdout, text)


def talk(text: str) -> None:
    """Write to stderr, likewise."""
    _write(2, sys.stderr, text)


def say_error(error: OffswitchError, *, as_json: bool) -> int:
    """Print an error where it belongs and return its exit code."""
    if as_json:
        say(dumps({"error": error.as_dict()}) + "\n")
    else:
        hint = f"\n  next: {printable(error.hint, 2000)}" if error.hint else ""
        talk(f"offswitch: {printable(error.message, 2000)}{hint}\n")
    return error.exit_code


def _write(fd: int, stream: TextIO | None, text: str) -> None:
    if stream is None:
        return  # it was closed before we began: that number may be anything by now
    data = text.encode(stream.encoding or "utf-8", "backslashreplace")
    try:
        while data:
            data = data[os.write(fd, data) :]
    except OSError:
        return
