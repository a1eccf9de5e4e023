"""The wrapper of one MCP server, as it runs in its cell: `python -I -m offswitch.gateway.tools`.

    --target NAME   what refusals name          --allow TOOL   which tools may be called
    --calls FILE    a book of the calls         -- CMD…        the server

Started by `offswitch mcp wrap`. Every failure ends in 125, and nothing has passed.
"""

from __future__ import annotations

import signal
import sys

from offswitch.errors import OffswitchError
from offswitch.gateway.tools.book import CallBook
from offswitch.gateway.tools.pipe import Pipe, Plan
from offswitch.guard import Guard
from offswitch.printable import printable

__all__ = ["main"]

_REFUSED = 125


def main(words: list[str]) -> int:
    """Wrap the server that `words` name; give its exit code."""
    try:
        plan, calls = _read(words)
        book = CallBook.take(calls) if calls else None
        return Pipe(plan, Guard.from_env(), book).run(_complain)
    except OffswitchError as error:
        _complain(str(error))
    except ValueError as error:
        _complain(f"{error}: see offswitch mcp wrap --help")
    except Exception as error:  # noqa: BLE001 - the edge: whatever fails, nothing passes
        _complain(f"a defect of ours: {type(error).__name__}: {error}")
    return _REFUSED


def _read(words: list[str]) -> tuple[Plan, str]:
    if "--" not in words:
        raise ValueError("no server is named behind --")
    at = words.index("--")
    ours, command = words[:at], words[at + 1 :]
    if not command or len(ours) % 2:
        raise ValueError("no server is named behind --, or an option has no value")
    allow, said = [], {"--target": "", "--calls": ""}
    for name, value in zip(ours[::2], ours[1::2], strict=True):
        if name == "--allow":
            allow.append(value)
        elif name in said:
            said[name] = value
        else:
            raise ValueError(f"{name} is no option")
    return Plan(command, said["--target"], tuple(allow) or ("*",)), said["--calls"]


def _complain(text: str) -> None:
    sys.stderr.write(f"offswitch mcp: {printable(text, 2000)}\n")


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    sys.exit(main(sys.argv[1:]))
