"""Who may ask the warden for what. Pure, but for the question which cell a peer is in.

The owner (root, and the warden's own user) may do everything. A member of the group may
stop, look, and run things as itself; the group may stop, not rule (SR-3). Our own processes
with users of their own may do what their work is and no more (SR-4): watch stops and reports,
the station stops and hands in resets, observer and recorder only look. What runs in a cell
may ask for nothing at all. A refusal never depends on what a message claims: uid,
groups and pid are the kernel's.

Two of ours speak for others: watch and gateway for a rule, the station for a person, a token,
a phone or a drill. They are believed as to whose stop it is, since a stop needs nothing; and
never as to who confirms a reset, which takes a proof (SR-5).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Any

from offswitch.control.ids import users
from offswitch.control.peer import Peer
from offswitch.errors import Refused

__all__ = ["OWNER_ONLY", "STATION_CHANNELS", "Rights", "cgroup_of"]

OWNER_ONLY = frozenset(
    {
        "adopt",
        "declare",
        "drill",
        "end-probation",
        "gate",
        "gate-note",
        "handover",
        "people",
        "prove",
        "release",
        "report",
    }
)
"""Operations that take the owner, or whoever of ours has them as its work."""
_LOOK = frozenset(
    {"alarms", "assess", "cells", "health", "ping", "resets", "status", "target", "targets"}
)
_WORK = {
    "watch": _LOOK | {"stop", "report", "people", "prove"},
    "gateway": _LOOK | {"stop", "gate", "gate-note"},
    "station": _LOOK | {"follow", "stop", "reset", "people", "prove", "drill"},
    "observer": _LOOK,
    "recorder": _LOOK,
}
"""What each of ours may ask for."""
STATION_CHANNELS = frozenset({"console", "api", "chat", "device", "ticket", "drill"})
"""The roads to a stop that lead through the station."""
_SPOKEN_FOR = re.compile(r"(?:person|token|device|drill):[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")
"""Whom the station may name."""
_LONGEST_NAME = 200
_AT_ONCE = 1 << 16


def cgroup_of(pid: int) -> str | None:
    """Give the v2 cgroup path of a process, such as `/offswitch/c3`; None: it is gone.

    Every order waits for this, so nothing stands between us and the kernel: a text file's layers
    take half as long again.
    """
    try:
        fd = os.open(f"/proc/{pid}/cgroup", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    told = b""
    try:
        while more := os.read(fd, _AT_ONCE):
            told += more
    except OSError:
        return None
    finally:
        os.close(fd)
    for line in told.split(b"\n"):
        if line.startswith(b"0::"):
            return line[3:].decode(errors="replace")
    return ""


class Rights:
    """The rules for one installation."""

    __slots__ = ("_roles", "cell_root", "gid", "uid")

    def __init__(self, gid: int, cell_root: str) -> None:
        """`gid` may stop; `cell_root` is the cgroup folder's name that holds all cells."""
        self.uid = os.geteuid()
        ours = users() if self.uid == 0 else {}
        self._roles = {user.uid: role for role, user in ours.items()}
        self.gid = gid
        self.cell_root = cell_root

    def owner(self, peer: Peer) -> bool:
        """Tell whether `peer` is root or the warden's own user."""
        return peer.uid in {0, self.uid}

    def welcome(self, peer: Peer) -> bool:
        """Tell whether `peer` may connect at all."""
        grouped = self.gid in (peer.gid, *peer.groups)
        return self.owner(peer) or peer.uid in self._roles or grouped

    def station(self, peer: Peer, message: dict[str, Any]) -> bool:
        """Tell whether this comes from the station, or through it as it says itself.

        Without root the station has the owner's user: then only its own word tells them apart.
        """
        if self._roles.get(peer.uid) == "station":
            return True
        return self.owner(peer) and _channel(message) in STATION_CHANNELS

    def road(self, peer: Peer, message: dict[str, Any]) -> str:
        """Name the road by which a reset came; one that the station does not name is its own."""
        if not self.station(peer, message):
            return "cli"
        channel = _channel(message)
        return channel if channel in STATION_CHANNELS else "station"

    def speaks_for_people(self, peer: Peer) -> bool:
        """Tell whether `peer` may be told what only a person themselves is told."""
        return self.owner(peer) or self._roles.get(peer.uid) == "station"

    def named(self, peer: Peer, message: dict[str, Any]) -> str:
        """Give the name under which a stop or reset of `peer` is kept.

        Our own watch names its rule, the station a person, a token, a device or a drill. Whatever
        else claims to be somebody is who it is for the kernel.
        """
        by, channel = message.get("by"), _channel(message)
        speaks = self.owner(peer) or self._roles.get(peer.uid) in {"watch", "gateway"}
        if speaks and channel == "rule" and by:
            return str(by)[:_LONGEST_NAME].encode("utf-8", "replace").decode()
        known = isinstance(by, str) and _SPOKEN_FOR.fullmatch(by) is not None
        if known and channel in STATION_CHANNELS and self.station(peer, message):
            return str(by)
        return f"uid:{peer.uid}"

    def in_cell(self, peer: Peer, pids: set[int], adopted: Iterable[str] = ()) -> bool | None:
        """Tell whether `peer` lives in a cell of ours; None: it is gone, so nobody can tell.

        `pids` are the processes of cells that have no cgroup of their own (the lower rung),
        `adopted` the cgroups that others made for targets.
        """
        cgroup = cgroup_of(peer.pid)
        if cgroup is None:
            return None
        if any(f"{cgroup}/".startswith(f"{each}/") for each in adopted):
            return True
        below = f"/{self.cell_root}/"
        return (below in cgroup + "/" and cgroup.rstrip("/") != below) or peer.pid in pids

    def check(self, peer: Peer, operation: str, *, in_cell: bool | None) -> None:
        """Raise `Refused` unless `peer` may ask for `operation`.

        A stop by somebody who has gone meanwhile stands: stopping needs nothing. All else
        needs somebody who can still be looked at.
        """
        if not self.welcome(peer):
            raise Refused(
                f"user {peer.uid} is not allowed to speak to this warden",
                "ask an administrator to add you to the group that may stop",
            )
        if in_cell:
            raise Refused(
                "this comes from inside a cell", "a target may ask the switch for nothing"
            )
        if in_cell is None and operation != "stop":
            raise Refused("the caller is gone", "stay until the answer is there")
        role = self._roles.get(peer.uid)
        if role is not None and not self.owner(peer):
            if operation not in _WORK[role]:
                raise Refused(f"{role} may not ask for {operation!r}", "that is not its work")
            return
        if operation in OWNER_ONLY and not self.owner(peer):
            raise Refused(
                f"only the owner may ask for {operation!r}", "do it as root or as the owner"
            )


def _channel(message: dict[str, Any]) -> str:
    """Give the road that a message names, whatever it is: a stop is never refused for it."""
    channel = message.get("channel")
    return channel if isinstance(channel, str) else ""
