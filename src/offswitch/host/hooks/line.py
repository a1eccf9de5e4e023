"""The command line of a hook, which blocks even if nothing of ours is left to be run.

Agents take what they do not know for a yes: a missing program (127), one that was killed, one
that crashed (1), one that takes too long. So the line has a shell of its own around it that
gives 0 for exactly one exit code, which nothing but our own yes has, and 2 for everything else:
a Python that prints its help and ends with 0 blocks as well. `timeout` ends what hangs, long
before the agent would lose patience and go on; where there is no `timeout`, that blocks, too.

Paths are absolute and Python is isolated (`-I`): neither the folder that the agent works in nor
its environment names what is loaded. No `$NAME` stands in it, since Gemini CLI would put a
variable there; all quoting is a plain shell's, and works in whichever shell the agent uses.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys

from offswitch.errors import Unsupported

__all__ = ["LIMIT_S", "PASS", "closed_to_others", "command_line", "is_ours"]

PASS = 86
"""The exit code of our yes, between the hook and its line."""
LIMIT_S = 5
"""How long a hook may take, all in all."""
_PROGRAM = "-I -m offswitch"
_MARK = f" {_PROGRAM} hook ask "


def command_line(
    agent: str,
    target: str = "",
    *,
    python: str = "",
    program: str = _PROGRAM,
    limit_s: float = LIMIT_S,
) -> str:
    """Give the line for an agent; `python`, `program` and `limit_s` differ in a proof alone."""
    ends = shutil.which("timeout", path="/usr/bin:/bin") or ""
    if not ends:
        raise Unsupported("there is no timeout(1) in /usr/bin or /bin", "install coreutils")
    words = [ends, "-s", "KILL", f"{limit_s:g}", python or _python(), *shlex.split(program)]
    words += ["hook", "ask", agent, *(["--target", target] if target else []), "--pass", str(PASS)]
    asked = " ".join(map(shlex.quote, words))
    inner = (
        f"{asked}; case $? in {PASS}) exit 0;; 2) exit 2;; esac; "
        "echo offswitch: blocked: the hook could not be run, see: offswitch hook check >&2; exit 2"
    )
    return f"/bin/sh -c {shlex.quote(inner)}"


def _python() -> str:
    """Give our interpreter by the name that finds our packages: an environment's, if in one."""
    return os.path.abspath(sys.executable)


def closed_to_others() -> str:
    """Give the folder that keeps other users from our interpreter; empty: they may run it.

    A cell with a user of its own could not run the hook, and would be refused every step.
    """
    path = os.path.realpath(_python())
    while path != "/":
        if not os.stat(path).st_mode & 0o001:
            return path
        path = os.path.dirname(path)
    return ""


def is_ours(line: object) -> bool:
    """Whether a command of somebody's settings is one that we wrote, in whichever version."""
    return isinstance(line, str) and _MARK in line
