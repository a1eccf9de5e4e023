"""What the observer looks at, layer by layer, and what it counts as *seen*.

    process   kill: the kernel counts no task in the cell; freeze: every task is frozen
    (lower rungs) a walk of /proc finds nothing of it, or all of it stopped; a namespace
              is empty when its init has ended, which the kernel lets go last
    network   kill: no socket bears the cell's number, orphans included; freeze: none of its
              connections gets a byte through
    sweep     no living process has the user, as real, effective, saved or file system id

Each look reads for itself, by path and number from the kernel's own files: nothing that an
actuator said is used. It answers three ways: yes, no, and unknown, and unknown is never
yes: a folder that is gone (ENODEV), a /proc that hides others' processes, a kernel that
does not answer. It reads no file whose content a target can delay or shape
(`/proc/PID/cmdline`, `environ`): only what the kernel itself writes.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from offswitch.actuators import sock_diag
from offswitch.warden.cells import users
from offswitch.warden.cells.descendants import (
    Process,
    Tracker,
    inhabitants,
    start_of,
    walk,
)

__all__ = [
    "HIDDEN",
    "LAYERS",
    "Blind",
    "DescendantsLook",
    "Look",
    "NamespaceLook",
    "NetworkLook",
    "Picture",
    "ProcessLook",
    "Seen",
    "SweepLook",
    "lives",
    "living",
    "look_for",
    "numbers_of",
    "older_of",
    "remain",
    "still_there",
]

LAYERS = ("process", "network", "sweep")
"""In the order in which they are looked at: the cheapest and most urgent first."""
_NONE: Mapping[str, sock_diag.Diag] = {}
_STILL_NS = 50_000_000
"""How long the connections of a frozen cell must not move until they are said to stand."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look saw."""

    stands: bool | None
    """True: standstill was seen; False: something moves; None: it cannot be known."""
    detail: str


HIDDEN = Seen(None, "/proc hides other users' processes here (hidepid), or cannot be read")
"""Whether a user has processes left cannot be known."""


class Picture:
    """What one pass over many looks shares: one list of sockets, one scan of /proc.

    Each is taken when it is first asked for, so it is never older than the pass.
    """

    def __init__(self, looks: Sequence[Look]) -> None:
        """Show what these ask for."""
        self._looks = looks
        self._sockets: dict[int, list[sock_diag.Sock]] | OSError | None = None
        self._living: list[dict[int, list[int]] | None] = []

    def _posing(self) -> tuple[set[int], set[int]]:
        """Name the cells whose sockets, and the users whose processes are looked for."""
        cells: set[int] = set()
        uids: set[int] = set()
        for look in self._looks:
            look.pose(cells, uids)
        return cells, uids

    def sockets(self, cgroup_id: int) -> list[sock_diag.Sock]:
        """List the sockets that bear that number; OSError: the kernel does not list them."""
        if self._sockets is None:
            self._sockets = _sockets_of(self._posing()[0])
        if isinstance(self._sockets, OSError):
            raise self._sockets
        return self._sockets.get(cgroup_id, [])

    def living(self, uid: int) -> list[int] | None:
        """List the living processes of that user; None where /proc hides or tells nothing."""
        if not self._living:
            self._living = [living(self._posing()[1])]
        return None if self._living[0] is None else self._living[0][uid]


def _sockets_of(cgroup_ids: Iterable[int]) -> dict[int, list[sock_diag.Sock]] | OSError:
    try:
        with sock_diag.Diag() as diag:
            return diag.by_cgroup(tuple(cgroup_ids))
    except OSError as error:
        return error


class Look:
    """One layer of one cell, looked at again and again."""

    def once(self, picture: Picture | None = None) -> Seen:
        """Look, at a picture that it posed for or for itself.

        Takes milliseconds at most, and never waits for a target.
        """
        raise NotImplementedError

    def pose(self, cells: set[int], uids: set[int]) -> None:
        """Say which cell's sockets and whose processes it will look for."""

    def close(self) -> None:
        """Let go of what is held."""


class Blind(Look):
    """A layer that nobody can look at."""

    def once(self, _picture: Picture | None = None) -> Seen:
        """See nothing."""
        return Seen(None, "nobody can look at this layer")


class ProcessLook(Look):
    """The cell's own events file, opened here by its path."""

    def __init__(self, facts: Mapping[str, Any], level: str) -> None:
        """Open the events of the cgroup that `facts` name; another one of that name is not it."""
        self._frozen_is_enough = level == "freeze"
        self._fd = -1
        try:
            folder = os.open(str(facts["path"]), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return
        try:
            if os.fstat(folder).st_ino == facts["cgroup_id"]:
                self._fd = os.open("cgroup.events", os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
        except OSError:
            pass  # it goes away as we look: unknown
        finally:
            os.close(folder)

    def fileno(self) -> int:
        """Give the events file, which polls as changed (EPOLLPRI); -1: there is none."""
        return self._fd

    def once(self, _picture: Picture | None = None) -> Seen:
        """Read populated and frozen."""
        if self._fd < 0:
            return Seen(None, "the cell's cgroup is not there: whether it is empty is unknown")
        try:
            text = os.pread(self._fd, 256, 0)
        except OSError:
            return Seen(None, "the cell's cgroup has gone away: whether it is empty is unknown")
        if b"populated 0" in text:
            return Seen(True, "the cell is empty")
        if self._frozen_is_enough:
            frozen = b"frozen 1" in text
            return Seen(
                frozen, "everything in the cell is frozen" if frozen else "it is not frozen"
            )
        return Seen(False, "processes live in the cell")

    def close(self) -> None:
        """Close the events file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class NetworkLook(Look):
    """The kernel's list of sockets."""

    def __init__(
        self, facts: Mapping[str, Any], level: str, net: sock_diag.Diag | None = None
    ) -> None:
        """Look at the sockets that bear the cell's number, here and in the `net` of its own."""
        self._net = net
        number = facts.get("cgroup_id")
        self._cgroup_id = None if number is None else int(number)
        self._numbers = () if number is None else numbers_of(facts)
        self._older = older_of(facts)
        self._foreign_net = facts.get("foreign_net") is True
        self._moved_is_enough = level == "freeze"
        self._before: dict[bytes, int] | None = None
        self._since_ns = 0

    def pose(self, cells: set[int], _uids: set[int]) -> None:
        """Name the cell's numbers."""
        cells.update(self._numbers)

    def once(self, picture: Picture | None = None) -> Seen:
        """List them."""
        if self._cgroup_id is None:
            return Seen(None, "without a cgroup its sockets cannot be told from others")
        try:
            shown = picture or Picture([self])
            found = [sock for number in self._numbers for sock in shown.sockets(number)]
            if self._moved_is_enough and len(found) >= sock_diag.SOME:  # perhaps not all of them
                with sock_diag.Diag() as diag:
                    found = diag.sockets_of(*self._numbers, most=sock_diag.MANY)
            found += still_there(self._older)
            if self._net is not None:
                found += self._net.sockets_of(*self._numbers, most=sock_diag.MANY)
        except OSError as error:
            return Seen(None, f"the kernel does not list sockets: {error.strerror}")
        if self._foreign_net and self._net is None and not found:
            return Seen(None, "it has a network of its own, whose sockets nobody here sees")
        if not self._moved_is_enough or not found:
            return remain(found)
        if len(found) >= sock_diag.MANY:
            return Seen(False, "it has too many sockets to watch each of them")
        return self._stands_still(found)

    def _stands_still(self, found: list[sock_diag.Sock]) -> Seen:
        """Frozen: nothing was acknowledged or received on any connection for a while."""
        now, state = time.monotonic_ns(), {each.ident: each.moved for each in found}
        if self._before is None or state != self._before:
            moved = self._before is not None
            self._before, self._since_ns = state, now
            return Seen(False, "bytes still pass on its connections" if moved else "being watched")
        if now - self._since_ns < _STILL_NS:
            return Seen(False, "being watched")
        return Seen(True, f"no byte passes on its {len(state)} sockets")


def numbers_of(facts: Mapping[str, Any]) -> tuple[int, ...]:
    """Give all numbers that a cell's sockets may bear; empty on the lower rung."""
    number = facts["cgroup_id"]
    return () if number is None else (int(number), *map(int, facts.get("also", ())))


def older_of(facts: Mapping[str, Any]) -> list[sock_diag.Sock]:
    """Give a cell's sockets that bear another cgroup's number."""
    known = facts.get("older", ())
    return [sock_diag.Sock.named(int(family), bytes.fromhex(ident)) for family, ident in known]


def still_there(older: list[sock_diag.Sock]) -> list[sock_diag.Sock]:
    """Ask the kernel for each of these; OSError: it does not answer."""
    if not older:
        return []
    with sock_diag.Diag() as diag:
        return diag.present(older)


def remain(found: list[sock_diag.Sock]) -> Seen:
    """Say it of the sockets that were found of a cell."""
    if not found:
        return Seen(True, "no socket of it is left")
    return Seen(False, f"{len(found)} sockets of it are left, such as {found[0].where()}")


class SweepLook(Look):
    """The user ids of all processes."""

    def __init__(self, facts: Mapping[str, Any], _level: str) -> None:
        """Look for the cell's user, if it is the cell's own."""
        self._uid = int(facts["uid"])
        self._own = bool(facts["own_uid"])

    def pose(self, _cells: set[int], uids: set[int]) -> None:
        """Name the user."""
        uids.add(self._uid)

    def once(self, picture: Picture | None = None) -> Seen:
        """Scan /proc."""
        if not self._own:
            return Seen(None, "it shares a user: its processes cannot be told from others")
        left = (picture or Picture([self])).living(self._uid)
        return HIDDEN if left is None else lives(self._uid, left)


def living(uids: Iterable[int]) -> dict[int, list[int]] | None:
    """List the processes of users, in one pass; None where /proc hides or tells nothing."""
    try:
        found = users.living_among(uids)
    except OSError:
        return None
    return found if proc_is_open() else None


def lives(uid: int, pids: list[int]) -> Seen:
    """Say it of the processes that a user was found to have."""
    if not pids:
        return Seen(True, f"no process of user {uid} is left")
    return Seen(False, f"processes of user {uid} live: {pids[:5]}")


class DescendantsLook(Look):
    """The observer's own walk."""

    def __init__(self, facts: Mapping[str, Any], level: str) -> None:
        """Follow the cell that `facts` names."""
        self._leader = int(facts["leader"])
        self._stopped_is_enough = level == "freeze"
        self._tracker = Tracker(self._leader, int(facts["leader_start"]), str(facts["marker"]))

    def once(self, _picture: Picture | None = None) -> Seen:
        """Walk once."""
        return self.judge(None)

    def judge(self, picture: dict[int, Process] | None) -> Seen:
        """Look for it in a picture of /proc, or in one of its own."""
        if not self._leader:
            return Seen(True, "nothing was born in it")
        found = self._tracker.members(picture)
        if not found:
            return Seen(
                True, "a walk of /proc finds none of its processes (degraded: some could hide)"
            )
        if self._stopped_is_enough and all(each.stands for each in found):
            return Seen(True, f"its {len(found)} processes are stopped")
        return Seen(False, f"{len(found)} processes of it live, such as {found[0].pid}")


class NamespaceLook(DescendantsLook):
    """The init of a cell that is a set of namespaces, and a walk for what lives in it."""

    def __init__(self, facts: Mapping[str, Any], level: str) -> None:
        """Watch the init that `facts` name; one that is gone ended before we came."""
        super().__init__(facts, level)
        self._first = int(facts["init"]), int(facts["init_start"])
        self._second = int(facts["leader"]), int(facts["leader_start"])
        self._fd = -1
        try:
            self._fd = os.pidfd_open(self._first[0])
        except ProcessLookupError:
            return
        if start_of(self._first[0]) != self._first[1]:
            self.close()

    def judge(self, picture: dict[int, Process] | None) -> Seen:
        """Ask the kernel for the init; while it lives, look for what lives with it."""
        if self._fd < 0 or select.select([self._fd], [], [], 0)[0]:
            return Seen(True, "its namespace's first process is gone, which goes last")
        found = inhabitants(walk() if picture is None else picture, self._first, self._second)
        if not self._stopped_is_enough:
            return Seen(False, f"its namespace lives, with {len(found)} processes in it")
        if all(each.stands for each in found):
            return Seen(True, f"its {len(found)} processes are stopped")
        return Seen(False, f"{len(found)} processes of it run")

    def close(self) -> None:
        """Close the init's pidfd."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def proc_is_open() -> bool:
    """Whether others' processes can be seen at all: pid 1 is always somebody else's."""
    try:
        with open("/proc/1/status", "rb") as file:
            return b"Uid:" in file.read()
    except OSError:
        return False


def look_for(
    layer: str,
    facts: Mapping[str, Any],
    level: str,
    nets: Mapping[str, sock_diag.Diag] = _NONE,
) -> Look | None:
    """Begin to look at one layer; None for one that is not looked at here, or not there."""
    if layer == "process":
        if facts.get("path") is not None:
            return ProcessLook(facts, level)
        if "init" in facts:
            return NamespaceLook(facts, level)
        return DescendantsLook(facts, level) if "leader" in facts else None
    if layer == "network":
        return NetworkLook(facts, level, nets.get(str(facts["name"])))
    if layer == "sweep":
        return SweepLook(facts, level)
    return None
