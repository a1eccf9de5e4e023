"""A cell: the cgroup that a target's processes live in, and the hands that were opened before.

    create ── folder in the v2 tree, twins in v1, limits, descriptors of kill, freeze, events
    kill   ── one write to a descriptor that was opened when the cell was empty
    freeze ── likewise; a frozen cell can still be killed
    remove ── only when nothing lives in it and no socket bears its number (SR-8)

The descriptors are the point: at the stop nothing is looked up, opened or allocated, so it
works with no descriptor, no process and no disk left. Killing a cell covers all cgroups
below it, so a target that may make its own gains nothing. What the kernel answers when a
cgroup is gone (ENODEV) is *unknown*, never *empty*: a new one may bear the same name.

`Cell` is what all rungs offer; those without cgroups are in `namespaced.py` and `subreaper.py`.
"""

from __future__ import annotations

import glob
import os
import select
import signal
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Protocol

from offswitch.actuators import sock_diag
from offswitch.actuators.canary import PROOF
from offswitch.actuators.network import WARM
from offswitch.control.place import Place
from offswitch.errors import Storage
from offswitch.warden.cells import limits as limit
from offswitch.warden.cells import users
from offswitch.warden.cells.cgroups import (
    LIMITED,
    check_cell_name,
    controllers_of,
    find_trees,
    hand_down,
    remove_tree,
)
from offswitch.warden.cells.descendants import session_of, start_of
from offswitch.warden.cells.limits import Held, Limits
from offswitch.warden.cells.namespaced import NamespaceCell
from offswitch.warden.cells.rung import Rung, Standing, standing
from offswitch.warden.cells.subreaper import SubreaperCell

__all__ = [
    "Cell",
    "CgroupCell",
    "clear_ground",
    "create",
    "find",
    "ground",
    "is_gone",
    "start_of",
    "strays",
]


class Cell(Protocol):
    """The promise of all rungs. Nothing here blocks; `None` always means unknown."""

    name: str
    path: str | None
    cgroup_id: int | None
    enclosed: bool
    uid: int
    own_uid: bool
    held: Held
    leader: int
    marker: str
    also: Sequence[int]
    older: Sequence[sock_diag.Sock]
    net: sock_diag.Diag | None

    @property
    def folder_fd(self) -> int:
        """Its folder, open since it was made; -1 without a cgroup."""
        ...

    @property
    def entrance(self) -> tuple[int, ...]:
        """Descriptors that the child needs to go in by itself; none where it is put in."""
        ...

    @property
    def teller(self) -> tuple[int, int]:
        """The descriptor that tells of a change, and by which event of epoll; -1: there is none."""
        ...

    @property
    def session(self) -> int:
        """The process group that the target begins with; ProcessLookupError: there is none."""
        ...

    def join(self, fds: Sequence[int]) -> None:
        """In the child: go in by `entrance`, under new numbers; returns inside."""
        ...

    def born(self) -> None:
        """The child is forked: let go of what was kept for it."""
        ...

    def enter(self, pid: int) -> None:
        """Put a process, new and still waiting, into the cell."""
        ...

    def kill(self) -> None:
        """Kill all that lives in it; may be repeated."""
        ...

    def freeze(self) -> None:
        """Stop all that lives in it from running; may be repeated."""
        ...

    def thaw(self) -> None:
        """Let it run again."""
        ...

    def populated(self) -> bool | None:
        """Whether anything lives in it."""
        ...

    def frozen(self) -> bool | None:
        """Whether all of it stands still."""
        ...

    def pids(self) -> list[int]:
        """List its processes, as far as they can be seen."""
        ...

    def outside(self) -> list[int]:
        """List processes of its own user that live elsewhere; OSError: unknown."""
        ...

    def facts(self) -> dict[str, Any]:
        """Give what the observer, the keeper and the next warden need to find it (JSON)."""
        ...

    def fds(self) -> dict[str, int]:
        """Give the descriptors for the keeper."""
        ...

    def remove(self) -> bool:
        """Remove it if nothing is left of it, sockets included; True if it is gone."""
        ...

    def close(self) -> None:
        """Close our descriptors; the cell stays."""
        ...


class CgroupCell:
    """A cell on the rungs that have cgroups."""

    entrance: tuple[int, ...] = ()
    enclosed = False

    also: Sequence[int] = ()
    older: Sequence[sock_diag.Sock] = ()
    net: sock_diag.Diag | None = None

    def __init__(
        self,
        name: str,
        path: str,
        twins: Mapping[str, str],
        *,
        uid: int,
        own_uid: bool,
        held: Held,
        leader: tuple[int, int] = (0, 0),
        rung: Rung = Rung.ROOT,
    ) -> None:
        """Open the hands of the cgroup at `path`; raises OSError if it is not there."""
        self.name = name
        self.path: str | None = path
        self.uid = uid
        self.own_uid = own_uid
        self.held = held
        self.leader, self._leader_start = leader
        self.marker = ""
        self.rung = rung
        self._twins = dict(twins)
        self._path = path
        self._fds: dict[str, int] = {}
        try:
            self._fds["folder"] = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self.cgroup_id: int | None = os.fstat(self._fds["folder"]).st_ino
            for key, flags in (
                ("kill", os.O_WRONLY),
                ("freeze", os.O_WRONLY),
                ("events", os.O_RDONLY),
                ("procs", os.O_WRONLY),
            ):
                self._fds[key] = self._open(f"cgroup.{key}", flags)
            self._fds["teller"] = self._open("cgroup.events", os.O_RDONLY)
        except OSError:
            self.close()
            raise

    def _open(self, name: str, flags: int) -> int:
        return os.open(name, flags | os.O_CLOEXEC, dir_fd=self._fds["folder"])

    @property
    def folder_fd(self) -> int:
        """The descriptor of the cgroup's folder, to which network programs are attached."""
        return self._fds.get("folder", -1)

    @property
    def teller(self) -> tuple[int, int]:
        """Its events, opened for whoever waits alone: who reads them takes the report away."""
        return self._fds.get("teller", -1), select.EPOLLPRI

    @property
    def session(self) -> int:
        """The process group that the target begins with."""
        return session_of(self.leader)

    def join(self, fds: Sequence[int]) -> None:
        """The warden puts the child in."""

    def born(self) -> None:
        """Nothing was kept for the birth."""

    def enter(self, pid: int) -> None:
        """Put `pid` into the twins first, then into the cell itself: limits before life."""
        for twin in self._twins.values():
            with open(f"{twin}/cgroup.procs", "w", encoding="ascii") as file:
                file.write(str(pid))
        os.write(self._fds["procs"], str(pid).encode())
        if not self.leader:
            self.leader = pid
            self._leader_start = start_of(pid)

    def kill(self) -> None:
        """Kill all by one write. Where the kernel will not, each process by its pid."""
        try:
            os.pwrite(self._fds["kill"], b"1", 0)
        except OSError:
            for pid in self.pids():
                _signal(pid, signal.SIGKILL)

    def freeze(self) -> None:
        """Freeze all by one write; whether it is frozen is for `frozen` to say."""
        self._pull(b"1")

    def thaw(self) -> None:
        """Thaw all by one write."""
        self._pull(b"0")

    def _pull(self, value: bytes) -> None:
        try:
            os.pwrite(self._fds["freeze"], value, 0)
        except OSError:
            return  # the cgroup is gone: `frozen` and `populated` will say unknown

    def _events(self) -> dict[bytes, bytes]:
        try:
            text = os.pread(self._fds["events"], 256, 0)
        except OSError:
            return {}
        return dict(line.split(b" ", 1) for line in text.splitlines())

    def populated(self) -> bool | None:
        """Whether any task lives in it or below it, as the kernel counts."""
        value = self._events().get(b"populated")
        return None if value is None else value != b"0"

    def frozen(self) -> bool | None:
        """Whether every task in it is frozen."""
        value = self._events().get(b"frozen")
        return None if value is None else value == b"1"

    def pids(self) -> list[int]:
        """List the processes of the cell and of all cgroups below it."""
        found: list[int] = []
        for folder, _folders, _files in os.walk(self._path):
            try:
                with open(f"{folder}/cgroup.procs", encoding="ascii") as file:
                    found.extend(int(line) for line in file)
            except OSError:
                continue
        return found

    def outside(self) -> list[int]:
        """List what left it through a broker: processes of its own user that are not in it."""
        if not self.own_uid:
            return []
        living, inside = users.living_ids(self.uid), set(self.pids())
        return [pid for pid in living if pid not in inside]

    def facts(self) -> dict[str, Any]:
        """Give what finds it again."""
        return {
            "rung": self.rung.value,
            "name": self.name,
            "path": self.path,
            "cgroup_id": self.cgroup_id,
            "twins": self._twins,
            "uid": self.uid,
            "own_uid": self.own_uid,
            "held": asdict(self.held),
            "leader": self.leader,
            "leader_start": self._leader_start,
            "marker": self.marker,
        }

    def fds(self) -> dict[str, int]:
        """Give kill, freeze and events."""
        return {key: self._fds[key] for key in ("kill", "freeze", "events")}

    def remove(self) -> bool:
        """Remove twins and folder, unless something lives or a socket bears its number.

        The twins first: in v1 a dead process that nobody has reaped yet still counts.
        """
        if os.path.isdir(self._path):
            if self.populated() is not False or self.cgroup_id is None:
                return False
            if sock_diag.any_of(self.cgroup_id) is not False:
                return False
        return self._remove_twins() and remove_tree(self._path)

    def _remove_twins(self) -> bool:
        gone = [remove_tree(twin) for twin in self._twins.values()]
        return all(gone)

    def close(self) -> None:
        """Close our descriptors."""
        for fd in self._fds.values():
            os.close(fd)
        self._fds.clear()


def _signal(pid: int, number: int) -> None:
    if pid <= 1:
        return  # 0 would be ourselves, -1 the machine
    try:
        os.kill(pid, number)
    except OSError:
        return


def ground(place: Place, here: Standing | None = None) -> str | None:
    """Make the folder that this installation's cells lie in; None where they are no cgroups."""
    folder = (here or standing(place)).ground
    if folder is not None:
        os.makedirs(folder, exist_ok=True)
    return folder


def clear_ground(place: Place, here: Standing | None = None) -> None:
    """Remove that folder and its twins if no cell lies in them: at a planned end."""
    trees = find_trees()
    folders = [f"{tree}/{place.cgroup}" for tree in (trees.v2, *trees.v1.values()) if tree]
    if here is not None and here.ground is not None and here.ground not in folders:
        folders.append(here.ground)
    for folder in folders:
        if not os.path.isdir(folder):
            continue
        for ours in (WARM, PROOF):
            remove_tree(f"{folder}/{ours}")
        try:
            os.rmdir(folder)
        except OSError:
            continue  # a cell lies in it still


def create(
    place: Place,
    name: str,
    *,
    uid: int,
    own_uid: bool,
    limits: Limits,
    here: Standing | None = None,
    read_only: Sequence[str] = (),
) -> Cell:
    """Make the cell `name`, on the rung that is there (`here`, if that is known already).

    `read_only`: what must not be written from inside, where that can be seen to.
    """
    check_cell_name(name)
    here = here or standing(place)
    if here.rung is Rung.NAMESPACE:
        covered = (place.home, place.run, place.memory)
        return NamespaceCell.enclose(
            name, uid=uid, limits=limits, covered=covered, read_only=read_only
        )
    if here.ground is None:
        return SubreaperCell.make(name, uid=uid, limits=limits)
    trees = find_trees()
    parent = here.ground
    path = f"{parent}/{name}"
    twins: dict[str, str] = {}
    try:
        os.makedirs(parent, exist_ok=True)
        inherited = frozenset[str]()
        above = os.path.dirname(parent)
        if wanted := controllers_of(above):
            hand_down(above, wanted)
            inherited = hand_down(parent, wanted)
        os.mkdir(path)
        for controller in LIMITED if here.rung is Rung.ROOT else ():
            if controller in trees.v1 and controller not in inherited:
                twins[controller] = f"{trees.v1[controller]}/{place.cgroup}/{name}"
                os.makedirs(twins[controller], exist_ok=True)
        limit.hold_cgroups(path)
        held = limit.hold_in_cgroup(limits, path, twins)
        return CgroupCell(name, path, twins, uid=uid, own_uid=own_uid, held=held, rung=here.rung)
    except OSError as error:
        remove_tree(path)
        for twin in twins.values():
            remove_tree(twin)
        raise Storage(
            f"the cell {path} cannot be made: {error.strerror}", "see `offswitch doctor`"
        ) from None


def find(place: Place, facts: Mapping[str, Any]) -> Cell | None:
    """Find a cell again from its facts; None if it is gone or another bears its name now."""
    if facts.get("rung") == Rung.NAMESPACE.value:
        return NamespaceCell.again(facts)
    if facts.get("path") is None:
        return SubreaperCell.again(facts)
    name, path = check_cell_name(str(facts["name"])), str(facts["path"])
    if not path.endswith(f"/{place.cgroup}/{name}"):
        return None
    try:
        cell = CgroupCell(
            name,
            path,
            facts["twins"],
            uid=int(facts["uid"]),
            own_uid=bool(facts["own_uid"]),
            held=Held(**facts["held"]),
            leader=(int(facts["leader"]), int(facts["leader_start"])),
            rung=Rung(facts["rung"]),
        )
    except OSError:
        return None
    if cell.cgroup_id != facts["cgroup_id"]:
        cell.close()
        return None
    return cell


def is_gone(cell: Cell) -> bool:
    """Whether somebody removed a cell's cgroup: nothing can ever be read of it again."""
    if cell.path is None:
        return False
    try:
        return os.stat(cell.path).st_ino != cell.cgroup_id
    except FileNotFoundError:
        return True
    except OSError:
        return False


def strays(place: Place, known: set[str], here: Standing | None = None) -> list[Cell]:
    """Find cells of this installation that nobody remembers; the empty ones are removed.

    A warden whose folder on tmpfs was lost still has its cells in the cgroup tree. Their
    user is not known, so they are never swept. Without root each warden may have been given
    a part of the tree of its own, so those beside ours are looked at, too.
    """
    here = here or standing(place)
    if here.ground is None:
        return []
    found: list[Cell] = []
    parents = [here.ground]
    if here.rung is Rung.DELEGATION:
        parents += glob.glob(f"{os.path.dirname(os.path.dirname(here.ground))}/*/{place.cgroup}")
    for parent in dict.fromkeys(parents):
        found += _strays_below(parent, place, known, here.rung)
    return found


def _strays_below(parent: str, place: Place, known: set[str], rung: Rung) -> list[Cell]:
    trees = find_trees()
    found: list[Cell] = []
    try:
        names = sorted(entry.name for entry in os.scandir(parent) if entry.is_dir())
        names = [name for name in names if name not in {WARM, PROOF}]
    except OSError:
        return []
    for name in names:
        path = f"{parent}/{name}"
        if name in known or (not sock_diag.any_of(os.stat(path).st_ino) and remove_tree(path)):
            continue
        twins = {key: f"{tree}/{place.cgroup}/{name}" for key, tree in trees.v1.items()}
        if rung is not Rung.ROOT:
            twins = {}
        try:
            cell = CgroupCell(name, path, twins, uid=0, own_uid=False, held=Held(), rung=rung)
        except (OSError, ValueError):
            continue
        found.append(cell)
    return found
