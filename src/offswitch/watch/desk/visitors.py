"""Who may ask watch for what: uid, groups and pid are the kernel's, never the message's.

    anyone of the group    looks, acknowledges, approves a stop, denies one (not of his own)
    the owner, and root    also lowers and restores rules, and applies a configuration (SR-3)
    what runs in a cell    nothing at all

A user under which a target runs or ran lets nothing go on, and is no second person (SR-2). Where
the warden cannot tell who that is, it is everybody but the owner.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from offswitch.control.peer import Peer
from offswitch.decide.questions import may_let_go_on
from offswitch.errors import Refused

__all__ = ["Visitors"]

_OWNERS_ONLY = frozenset({"restore", "unshelve", "apply"})
_LETS_GO_ON = frozenset({"deny", "bypass", "shelve"})
"""What no target's user may say; whether it takes the owner, too, the clerk knows."""


class Visitors:
    """The rules of one watch."""

    def __init__(self, owner: int, gid: int) -> None:
        """`owner` may do everything, `gid` is the group that may stop."""
        self.owner = owner
        self._gid = gid
        self._ran: Collection[int] | None = None
        """Under whom targets run or ran; None: nobody can tell."""
        self._cells: frozenset[str] = frozenset()
        self._pids: frozenset[int] = frozenset()

    def hear(self, rows: Iterable[Mapping[str, Any]], ran: object) -> None:
        """Take in what the warden says of its cells, and under which users targets ever ran."""
        uids, paths, pids = set(), set(), set[int]()
        for row in rows:
            if isinstance(row.get("uid"), int):
                uids.add(int(row["uid"]))
            path = row.get("path")
            if path:
                paths.add(str(path))
            else:
                pids |= {pid for pid in row.get("pids") or () if isinstance(pid, int)}
        self._cells, self._pids = frozenset(paths), frozenset(pids)
        self._ran = uids | set(ran) if isinstance(ran, list) else None

    def owns(self, peer: Peer) -> bool:
        """Tell whether `peer` is root or the owner."""
        return peer.uid in {0, self.owner}

    def check(self, peer: Peer, op: str) -> None:
        """Raise `Refused` unless `peer` may ask for `op`."""
        if not (self.owns(peer) or self._gid in {peer.gid, *peer.groups}):
            raise Refused(
                f"user {peer.uid} is not of the group that may stop",
                "ask an administrator to add you to it",
            )
        if self._in_cell(peer.pid):
            raise Refused("this comes from inside a cell", "a target may ask the switch nothing")
        if op in _OWNERS_ONLY and not self.owns(peer):
            raise Refused(f"only the owner may ask for {op!r}", "do it as root or as the owner")
        if op in _LETS_GO_ON:
            self._lets_go_on(peer)

    def _lets_go_on(self, peer: Peer) -> None:
        if self._ran is None:
            if not self.owns(peer):
                raise Refused(
                    "the warden does not say under whom targets run",
                    "the owner may answer; the stop itself is open to all: offswitch stop",
                )
            return
        why = may_let_go_on(peer.uid, self._ran, self.owner)
        if why:
            raise Refused(why, "somebody else must say it; to stop it: offswitch stop")

    def _in_cell(self, pid: int) -> bool:
        """Tell whether a process is in a cell, or nobody can tell."""
        if pid in self._pids or pid <= 0:
            return True
        try:
            with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="replace") as file:
                lines = file.read(1 << 16).splitlines()
        except OSError:
            return True  # it is gone: stay until the answer is there
        own = next((line[3:] for line in lines if line.startswith("0::")), "")
        above = ["/".join(own.split("/")[: depth + 1]) for depth in range(1, own.count("/") + 1)]
        return any(cell.endswith(at) for cell in self._cells for at in above if at != "/")
