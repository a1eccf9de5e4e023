"""An adopted cell: the cgroup that something else made for a target, held as one of ours (SR-24).

It was there before us, or will be made while we look: so nothing promised for cells of our
making is promised of it (`LIMITS`, which is shown wherever one asks). It is never removed and
never entered. A kill is as everywhere one write to a descriptor that is open, and

    v1 freezer   tasks that are frozen in a v1 tree (`docker pause` on a hybrid host) outlive
                 even `cgroup.kill` until they are thawed: killed first and thawed then, they
                 die without another instruction (seen)
    freeze       what comes into it later stands still at once, until it is released: a
                 supervisor may be between making the cgroup and filling it

A threaded cgroup refuses `cgroup.kill` (EOPNOTSUPP): there each process is killed by its pid.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Self

from offswitch.actuators.sock_diag import Diag, Sock
from offswitch.control.place import Place
from offswitch.model.named import Named
from offswitch.warden.cells import cell as cells
from offswitch.warden.cells.cell import Cell, CgroupCell
from offswitch.warden.cells.cgroups import find_trees, find_v1
from offswitch.warden.cells.limits import Held
from offswitch.warden.cells.remains import Remains

__all__ = ["LIMITS", "AdoptedCell", "find"]

LIMITS = (
    "no sweep by user: what it handed to a broker (cron, at, sshd) is not found",
    "no limits and no workspace of ours: it started with whatever its supervisor gave it",
    "a socket that it was handed less than half a second before a stop may go on delivering",
    "Unix and vsock sockets are not cut",
    "its supervisor may start it again while it is stopped: it is killed each time",
    "between the warden's loss and its return nobody finds it again",
)
"""What adoption cannot promise."""
_FORMER = 64
_MOST = 256


class AdoptedCell(CgroupCell):
    """A cgroup that somebody else made."""

    def __init__(self, name: str, named: Named, tree: str, place: str) -> None:
        """Open the hands of the cgroup at `place` (`/…`); OSError if it is not there."""
        self.net: Diag | None = None
        """A conversation about the sockets in the network that it has to itself."""
        self.shown: Diag | None = None
        """Another, for the observer."""
        super().__init__(name, tree + place, {}, uid=_NOBODY, own_uid=False, held=Held())
        self.named = named
        self.place = place
        self.foreign_net = False
        """Whether its processes have a network of their own, or that is not known."""
        self._thaw_v1 = -1
        self.find_v1_freezer()

    @classmethod
    def again(cls, facts: Mapping[str, Any]) -> Self | None:
        """Find it again where it was; None if it is not there, or another is."""
        named, tree = Named.of(facts["adopted"]), find_trees().v2
        if named is None or tree is None:
            return None
        try:
            cell = cls(str(facts["name"]), named, tree, str(facts["place"]))
        except OSError:
            return None
        if cell.cgroup_id != facts["cgroup_id"]:
            cell.close()
            return None
        cell.learn(facts.get("also", ()), facts.get("older", ()))
        cell.foreign_net = bool(facts.get("foreign_net"))
        return cell

    def enter_net(self, pid: int) -> bool:
        """Open a conversation in the network that process `pid` has to itself; true if it is new.

        It keeps that network alive as long as it is open: until the cgroup is gone.
        """
        if self.net is not None or not pid:
            return False
        self.foreign_net = True
        with suppress(OSError, RuntimeError):
            self.shown, self.net = Diag.within(pid), Diag.within(pid)
        return self.net is not None

    def close(self) -> None:
        """Close our descriptors, the network's as well."""
        for each in (self.net, self.shown):
            if each is not None:
                each.close()
        self.net = self.shown = None
        super().close()

    def learn(self, also: Sequence[int], older: Sequence[Sequence[Any]]) -> bool:
        """Take in what the finder saw in it; true if sockets are known that were not.

        What it held a while ago is remembered: its owner may be dead, and it may deliver still.
        """
        before = set(self.also), {sock.ident for sock in self.older}
        self.also = tuple(dict.fromkeys([*self.also, *map(int, also)]))[-_MOST:]
        now = {
            ident: Sock.named(int(family), ident)
            for family, ident in ((each[0], bytes.fromhex(each[1])) for each in older)
        }
        former = [sock for sock in self.older if sock.ident not in now][-_FORMER:]
        self.older = (*former, *now.values())
        return not (set(self.also) <= before[0] and now.keys() <= before[1])

    def inherit(self, left: Remains) -> None:
        """Take over what may be left of the one before it: its sockets may deliver still."""
        if left.cgroup_id is not None:
            self.also = tuple(dict.fromkeys([*left.also, left.cgroup_id, *self.also]))[-_MOST:]
        self.older = (*left.older, *self.older)[-_MOST:]

    def find_v1_freezer(self) -> None:
        """Open the state of the v1 freezer that its processes are in, where there is one."""
        mount = find_v1("freezer")
        if mount is None or self._thaw_v1 >= 0:
            return
        for path in (self.place, *(_freezer_of(pid) for pid in self.pids()[:1])):
            if path.strip("/"):
                with suppress(OSError):
                    flags = os.O_WRONLY | os.O_CLOEXEC
                    self._thaw_v1 = os.open(f"{mount}{path}/freezer.state", flags)
                    self._fds["thaw"] = self._thaw_v1
                    return

    def kill(self) -> None:
        """Kill all of it, thaw what a v1 tree holds, and let whatever comes stand still."""
        super().kill()
        if self._thaw_v1 >= 0:
            with suppress(OSError):
                os.pwrite(self._thaw_v1, b"THAWED", 0)
        self.freeze()

    def enter(self, pid: int) -> None:
        """Refuse: nothing of ours is born in somebody else's cgroup."""
        raise OSError(f"process {pid} cannot be put into the adopted {self.place}")

    def facts(self) -> dict[str, Any]:
        """Give what finds it again, and what its sockets are known by."""
        return {
            **super().facts(),
            "adopted": {self.named.kind: self.named.value},
            "place": self.place,
            "also": list(self.also),
            "older": [[sock.family, sock.ident.hex()] for sock in self.older],
            "foreign_net": self.foreign_net,
        }

    def fds(self) -> dict[str, int]:
        """Give kill, freeze and events, and what thaws a v1 freezer."""
        extra = {"thaw": self._thaw_v1} if self._thaw_v1 >= 0 else {}
        return super().fds() | extra

    def remove(self) -> bool:
        """Leave it where it is: whoever made it removes it."""
        return True


_NOBODY = 65534


def _freezer_of(pid: int) -> str:
    """Give a process's place in the v1 freezer's tree."""
    with suppress(OSError), open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="replace") as file:
        for line in file:
            _number, controllers, path = line.rstrip("\n").split(":", 2)
            if "freezer" in controllers.split(","):
                return path
    return ""


def find(place: Place, facts: Mapping[str, Any]) -> Cell | None:
    """Find a cell again from its facts, ours or adopted; None if it is gone."""
    return AdoptedCell.again(facts) if facts.get("adopted") else cells.find(place, facts)
