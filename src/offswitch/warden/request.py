"""What `run` and `start` ask for, and what the warden makes of it: name, account, limits.

Who asks decides under which user a target runs (SR-3): root gets an allotted user of the
cell's own unless it names another; anyone else gets their own. Nobody brings our group.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from offswitch.control.peer import Peer
from offswitch.errors import NotFound, OffswitchError, Refused
from offswitch.warden import users
from offswitch.warden.core import Core
from offswitch.warden.limits import Limits, default_limits
from offswitch.warden.table import Listener, Tracked

__all__ = ["Account", "Request", "account_of", "default_name", "limits_of"]


@dataclass(frozen=True, slots=True)
class Account:
    """The user that a target runs as."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    """Its other groups, never the one that may stop."""
    name: str
    own: bool
    """Whether the uid was allotted to this cell alone."""


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


def account_of(core: Core, request: Request) -> Account:
    """Decide under which user a request runs; `Refused` or `NotFound` if it may not or cannot."""
    peer, wanted = request.peer, request.user
    if peer.uid != 0 or os.geteuid() != 0:
        own = _name_of(peer.uid)
        if wanted not in {None, own, str(peer.uid)}:
            raise Refused("only root may name another user", "leave out --user, or ask root")
        return Account(peer.uid, peer.gid, _without_ours(core, peer.groups), own, own=False)
    if wanted is None:
        uid = users.allot(core.place)
        return Account(uid, uid, (), f"allotted {uid}", own=True)
    try:
        entry = pwd.getpwuid(int(wanted)) if wanted.isdigit() else pwd.getpwnam(wanted)
    except KeyError:
        raise NotFound(f"there is no user {wanted!r} here", "see: getent passwd") from None
    groups = _without_ours(core, os.getgrouplist(entry.pw_name, entry.pw_gid))
    return Account(entry.pw_uid, entry.pw_gid, groups, entry.pw_name, own=False)


def _without_ours(core: Core, groups: Iterable[int]) -> tuple[int, ...]:
    ours = core.rights.gid
    return tuple(gid for gid in groups if gid != ours or gid == os.getegid() != 0)


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


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
