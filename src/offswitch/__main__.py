"""Where every command begins.

`stop`, `status` and `reset` are answered from here before any framework is imported: an
emergency verb must not wait for a command line to load (ACT-12), and a program that is `run`
need not, nor must a coding agent wait for its hook at each step. Everything else goes to
`offswitch.cli.app`, which is named only when it is needed.
"""

from __future__ import annotations

import os
import sys

__all__ = ["main"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

_INTERRUPTED = 130


def main() -> int:
    """Run one command and return its exit code."""
    words = sys.argv[1:]
    if sys.platform != "linux":
        return _unsupported(words)
    verb = words[0] if words else ""
    if verb == "stop":
        from offswitch.cli.stop import main as stop  # noqa: PLC0415 - only what is asked for

        _ended(stop, words[1:])
    if verb == "status":
        from offswitch.cli.status import main as status  # noqa: PLC0415 - likewise

        _ended(status, words[1:])
    if verb == "reset":
        from offswitch.cli.reset import main as reset  # noqa: PLC0415 - likewise

        _ended(reset, words[1:])
    if verb == "run":
        from offswitch.cli.run import main as run  # noqa: PLC0415 - likewise

        _ended(run, words[1:])
    if verb == "hook" and words[1:2] == ["ask"]:
        from offswitch.cli.hook_ask import main as ask  # noqa: PLC0415 - likewise

        _ended(ask, words[2:])
    from importlib import import_module  # noqa: PLC0415 - likewise

    code: int = import_module("offswitch.cli.app").main()
    return code


def _unsupported(words: list[str]) -> int:
    """Say that this is not Linux, before anything is imported that only Linux has."""
    system = {"darwin": "macOS", "win32": "Windows"}.get(sys.platform, sys.platform)
    message = f"Offswitch stops programs by what only the Linux kernel has; this is {system}"
    hint = "run it, and what it is to stop, in the dev container of examples/devcontainer"
    if sys.platform == "win32":
        hint += ", or in WSL2 (wsl --install)"
    if "--json" in words:
        sys.stdout.write(
            f'{{"error": {{"kind": "unsupported", "message": "{message}", "hint": "{hint}"}}}}\n'
        )
    sys.stderr.write(f"offswitch: {message}; {hint}\n")
    return 1


def _ended(verb: Callable[[list[str]], int], words: list[str]) -> NoReturn:
    """Do a verb and leave at once with its exit code, also where a person pressed Ctrl-C.

    All that it had to say is written, and nothing of it is left to be put away: taking the
    interpreter apart would cost another tenth of the whole command.
    """
    try:
        code = verb(words)
    except KeyboardInterrupt:
        code = _INTERRUPTED
    os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
