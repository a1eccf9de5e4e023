"""Who may ask watch for what: uid, groups and pid are the kernel's, never the message's.

    anyone of the group    looks, acknowledges, approves a stop, denies one (not of his own)
    the station            the same in the name of a person; lowers a rule with proofs of people,
                           and puts it back, which is the safe side, without
    the gateway            asks leave for tool calls, and hears what has become of that; no more
    the owner, and root    all of it, and applies a configuration (SR-3)
    what runs in a cell    nothing at all

A user under which a target runs or ran lets nothing go on, and is no second person (SR-2); nor is
the person whose user it is, over the station. Where the warden cannot tell who that is, it is
everybody but the owner. In another's name (`by`) only the station and the owner speak; and whose
user is whose the warden knows, so that one person is one over both ways.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from offswitch.control.ids import users
from offswitch.control.peer import Peer
from offswitch.decide.questions import may_let_go_on
from offswitch.decide.who import Users, Who, who_is
from offswitch.errors import Refused, Usage

__all__ = ["Visitors", "gateway_of", "station_of"]

_OWNERS_ONLY = frozenset({"restore", "unshelve", "apply"})
_LETS_GO_ON = frozenset({"deny", "bypass", "shelve"})
"""What no target's user may say; whether it takes the owner, too, the clerk knows."""
_LOOKS = frozenset({"sensors", "rules", "alarms", "decisions"})
_SAYS = frozenset({"ack", "approve", "deny", "bypass", "shelve", "restore", "unshelve"})
"""What the station hands in, always in the name of a person."""
_GATEWAYS = frozenset({"ask-leave", "leaves", "withdraw"})
_MOST_PEOPLE = 1000


def station_of(owner: int) -> int | None:
    """Give the station's user; None: it is the owner's own, since there is no root."""
    return users()["station"].uid if owner == 0 else None


def gateway_of(owner: int) -> int | None:
    """Give the gateway's user; None: it is the owner's own, since there is no root."""
    return users()["gateway"].uid if owner == 0 else None


class Visitors:
    """The rules of one watch."""

    def __init__(self, owner: int, gid: int, station: int | None = None) -> None:
        """`owner` may do everything, `gid` is the group that may stop."""
        self.owner = owner
        self.users: Users = {}
        """The people whom the warden knows, and the user of each."""
        self.mode = ""
        """Whether the warden wants two people for a reset: `people`, `local`; empty: unknown."""
        self._gid = gid
        self._station = station
        self._gateway = gateway_of(owner)
        self.runs_as: dict[str, int] = {}
        """As whom each target runs, as far as the warden says."""
        self._ran: Collection[int] | None = None
        """Under whom targets run or ran; None: nobody can tell."""
        self._cells: frozenset[str] = frozenset()
        self._pids: frozenset[int] = frozenset()

    def hear_people(self, answer: Mapping[str, Any]) -> None:
        """Take in whom the warden knows; an answer that is none changes nothing."""
        rows, mode = answer.get("people"), answer.get("mode")
        if not isinstance(rows, list) or mode not in {"local", "people"}:
            return
        self.mode = mode
        self.users = {
            str(row["name"]): row["uid"] if type(row.get("uid")) is int else None
            for row in rows[:_MOST_PEOPLE]
            if isinstance(row, dict) and isinstance(row.get("name"), str)
        }

    def hear(self, rows: Iterable[Mapping[str, Any]], ran: object) -> None:
        """Take in what the warden says of its cells, and under which users targets ever ran."""
        uids, paths, pids = set(), set(), set[int]()
        self.runs_as = {}
        for row in rows:
            if isinstance(row.get("uid"), int):
                uids.add(int(row["uid"]))
                self.runs_as[str(row.get("target"))] = int(row["uid"])
            path = row.get("path")
            if path:
                paths.add(str(path))
            else:
                pids |= {pid for pid in row.get("pids") or () if isinstance(pid, int)}
        self._cells, self._pids = frozenset(paths), frozenset(pids)
        self._ran = uids | set(ran) if isinstance(ran, list) else None

    def owns(self, peer: Peer) -> bool:
        """Tell whether `peer` is root or the owner."""
        return self.is_owner(peer.uid)

    def is_owner(self, uid: int) -> bool:
        """Tell whether `uid` is root's or the owner's."""
        return uid in {0, self.owner}

    def is_station(self, peer: Peer) -> bool:
        """Tell whether `peer` is the station, as a user of its own."""
        return peer.uid == self._station and not self.owns(peer)

    def who(self, peer: Peer, by: str = "") -> Who:
        """Say who speaks, in the name that is given `by` if there is one."""
        if by and not (self.owns(peer) or self.is_station(peer)):
            raise Refused(
                f"user {peer.uid} speaks in his own name only", "leave out by: the kernel says it"
            )
        if not by and self.is_station(peer):
            raise Usage("the station speaks for a person", 'say which: "by": "person:ada"')
        return who_is(peer.uid, by, self.users)

    def check(self, peer: Peer, op: str, by: str = "") -> None:
        """Raise `Refused` unless `peer` may ask for `op`, in the name that is given `by`."""
        station = self.is_station(peer)
        grouped = self._gid in {peer.gid, *peer.groups}
        gateway = peer.uid == self._gateway
        if (gateway or self.owns(peer)) and op in _GATEWAYS:
            grouped = True
        elif gateway or op in _GATEWAYS:
            raise Refused(f"user {peer.uid} may not ask for {op!r}", "gateways ask for leave")
        if not (self.owns(peer) or station or grouped):
            raise Refused(
                f"user {peer.uid} is not of the group that may stop",
                "ask an administrator to add you to it",
            )
        if self._in_cell(peer.pid):
            raise Refused("this comes from inside a cell", "a target may ask the switch nothing")
        if station and op not in _LOOKS | _SAYS:
            raise Refused(f"the station may not ask for {op!r}", "the owner does: offswitch config")
        if op in _OWNERS_ONLY and not (self.owns(peer) or station):
            raise Refused(f"only the owner may ask for {op!r}", "do it as root or as the owner")
        if op in _SAYS:
            who = self.who(peer, by)
            if op in _LETS_GO_ON:
                self.lets_go_on(peer, who)

    def lets_go_on(self, peer: Peer, who: Who) -> None:
        """Raise `Refused` unless somebody listens to `who` where something shall go on."""
        if self._ran is None:
            if not self.owns(peer):
                raise Refused(
                    "the warden does not say under whom targets run",
                    "the owner may answer; the stop itself is open to all: offswitch stop",
                )
            return
        why = self.may_not(who)
        if why:
            raise Refused(why, "somebody else must say it; to stop it: offswitch stop")

    def may_not(self, who: Who) -> str:
        """Say why nobody listens to `who` where something shall go on; empty: somebody does."""
        return may_let_go_on(who.uid, self._ran or (), self.owner)

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
