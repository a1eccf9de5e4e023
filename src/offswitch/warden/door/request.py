"""What `run` and `start` ask for, and what the warden makes of it: name and limits."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from offswitch.control.peer import Peer
from offswitch.errors import OffswitchError
from offswitch.model.reserved import check_free_name, is_drill
from offswitch.model.target import check_name
from offswitch.warden.cells.account import Account
from offswitch.warden.cells.limits import Limits, default_limits
from offswitch.warden.listener import Listener
from offswitch.warden.table import Tracked

__all__ = ["Request", "default_name", "limits_of"]


@dataclass(slots=True)
class Request:
    """What `run` or `start` asked for, checked; holds the descriptors until they are used."""

    name: str
    argv: list[str]
    cwd: str
    env: dict[str, str]
    user: str | None
    tty: bool
    raw: bool
    detached: bool
    fds: list[int]
    peer: Peer
    listener: Listener
    born: Callable[[dict[str, Any], int | None], None]
    """Called once with the answer and the log's descriptor, when its program runs."""
    failed: Callable[[OffswitchError, int], None]
    """Called once instead, with the error and the exit code."""
    drop: Callable[[list[int]], None]
    """Closes descriptors that were passed in, without waiting for what they are."""
    gone: Callable[[], bool] = field(default=lambda: False)
    """Whether whoever asked has hung up meanwhile."""
    drill: str = ""
    """Whose drill this target is made for; empty: it is none of ours."""
    account: Account | None = None
    """Under which user it runs, once that was looked up."""

    def check_name(self) -> None:
        """Raise `Usage` unless its name may be given: below `.drill/` by a drill of ours alone."""
        if not (self.drill and is_drill(check_name(self.name))):
            check_free_name(self.name)

    @property
    def by(self) -> str:
        """Who asked, for the record."""
        return self.drill or f"uid:{self.peer.uid}"

    def spec(self) -> dict[str, Any]:
        """Give what `start` needs to bring it up again."""
        spec = {"argv": self.argv, "cwd": self.cwd, "env": self.env, "user": self.user}
        return {**spec, "uid": self.peer.uid, "raw": self.raw}

    def close(self) -> None:
        """Close what was passed in."""
        fds, self.fds = self.fds, []
        self.drop(fds)


def default_name(argv: list[str]) -> str:
    """Name a target after its program, or after the script that an interpreter runs."""
    program = os.path.basename(argv[0])
    if program.startswith(("python", "node", "ruby", "perl", "bash", "sh")) and len(argv) > 1:
        script = next((arg for arg in argv[1:] if not arg.startswith("-")), "")
        if os.path.splitext(script)[1] and os.sep not in os.path.splitext(script)[1]:
            program = os.path.basename(script)
    lawful = "".join(char if char.isalnum() or char in "._-" else "-" for char in program)
    ascii_only = lawful.encode("ascii", "replace").decode().replace("?", "-").strip(".")
    return f"run/{ascii_only or 'program'}"


def limits_of(row: Tracked) -> Limits:
    """Take the declared limits, else the default ones."""
    declared = (row.declared or {}).get("limits")
    usual = default_limits()
    if not isinstance(declared, dict):
        return usual
    processes, memory = declared.get("processes"), declared.get("memory")
    return Limits(
        processes if isinstance(processes, int) else usual.processes,
        memory if isinstance(memory, int) else usual.memory,
    )
