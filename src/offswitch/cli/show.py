"""How commands answer: data on stdout, talk on stderr, one object with `--json`."""

from __future__ import annotations

import json
import sys
from typing import Any

from offswitch.errors import OffswitchError
from offswitch.printable import printable

__all__ = ["complain", "emit"]


def emit(answer: dict[str, Any], *, as_json: bool, text: str) -> None:
    """Print the answer as JSON, or as `text` for people."""
    sys.stdout.write((json.dumps(answer, ensure_ascii=True) if as_json else text) + "\n")
    sys.stdout.flush()


def complain(error: OffswitchError, *, as_json: bool) -> int:
    """Print an error where it belongs; return its exit code."""
    if as_json:
        sys.stdout.write(json.dumps({"error": error.as_dict()}, ensure_ascii=True) + "\n")
    else:
        hint = f"\n  next: {printable(error.hint)}" if error.hint else ""
        # What is wrong with a configuration is told line by line; elsewhere a newline may be
        # the target's, and would let it write a line of its own.
        lines = error.message.split("\n") if error.kind == "config" else [error.message]
        told = "\n  ".join(printable(line, 2000) for line in lines)
        sys.stderr.write(f"offswitch: {told}{hint}\n")
    return error.exit_code
