"""A cell: the cgroup that a target's processes live in, and the hands that were opened before.

    create ── folder in the v2 tree, twins in v1, limits, descriptors of kill, freeze, events
    kill   ── one write to a descriptor that was opened when the cell was empty
    freeze ── likewise; a frozen cell can still be killed
    remove ── only when nothing lives in it and no socket bears its number (SR-8)

The descriptors are the point: at the stop nothing is looked up, opened or allocated, so it
works with no descriptor, no process and no disk left. Killing a cell covers all cgroups
below it, so a target that may make its own gains nothing. What the kernel answers when a
cgroup is gone (ENODEV) is *unknown*, never *empty*: a new one may bear the same name.

`Cell` is what both rungs offer; the lower one is in `subreaper.py`.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Protocol

from offswitch.actuators import sock_diag
from offswitch.actuators.network import WARM
from offswitch.control.place import Place
from offswitch.errors import Storage
from offswitch.warden.cells import limits as limit
from offswitch.warden.cells import users
from offswitch.warden.cells.cgroups import (
    LIMITED,
    check_cell_name,
    find_trees,
    hand_down,
    remove_tree,
)
from offswitch.warden.cells.descendants import start_of
from offswitch.warden.cells.limits import Held, Limits
from offswitch.warden.cells.rung import Rung, this_rung
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
    """The promise of both rungs. Nothing here blocks; `None` always means unknown."""

    name: str
    path: str | None
    cgroup_id: int | None
    uid: int
    own_uid: bool
    held: Held
    leader: int
    marker: str
    also: Sequence[int]
    older: Sequence[sock_diag.Sock]

    @property
    def folder_fd(self) -> int:
        """Its folder, open since it was made; -1 on the lower rung."""
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
    """A cell on the first rung."""

    also: Sequence[int] = ()
    older: Sequence[sock_diag.Sock] = ()

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
    ) -> None:
        """Open the hands of the cgroup at `path`; raises OSError if it is not there."""
        self.name = name
        self.path: str | None = path
        self.uid = uid
        self.own_uid = own_uid
        self.held = held
        self.leader, self._leader_start = leader
        self.marker = ""
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
                file = f"cgroup.{key}"
                self._fds[key] = os.open(file, flags | os.O_CLOEXEC, dir_fd=self._fds["folder"])
        except OSError:
            self.close()
            raise

    @property
    def folder_fd(self) -> int:
        """The descriptor of the cgroup's folder, to which network programs are attached."""
        return self._fds.get("folder", -1)

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
            "rung": Rung.ROOT.value,
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


def ground(place: Place) -> str | None:
    """Make the folder that this installation's cells lie in; None on the lower rung."""
    tree = find_trees().v2
    if tree is None or this_rung(place) is not Rung.ROOT:
        return None
    folder = f"{tree}/{place.cgroup}"
    os.makedirs(folder, exist_ok=True)
    return folder


def clear_ground(place: Place) -> None:
    """Remove that folder and its twins if no cell lies in them: at a planned end."""
    trees = find_trees()
    for tree in (trees.v2, *trees.v1.values()):
        folder = f"{tree}/{place.cgroup}"
        if tree is None or not os.path.isdir(folder):
            continue
        remove_tree(f"{folder}/{WARM}")
        try:
            os.rmdir(folder)
        except OSError:
            continue  # a cell lies in it still


def create(place: Place, name: str, *, uid: int, own_uid: bool, limits: Limits) -> Cell:
    """Make the cell `name` in the installation's part of the tree, on the rung that is there."""
    check_cell_name(name)
    if this_rung(place) is Rung.SUBREAPER:
        return SubreaperCell.make(name, uid=uid, limits=limits)
    trees = find_trees()
    parent = f"{trees.v2}/{place.cgroup}"
    path = f"{parent}/{name}"
    twins: dict[str, str] = {}
    try:
        os.makedirs(parent, exist_ok=True)
        here = frozenset[str]()
        if trees.v2_controllers:
            hand_down(trees.v2 or "", trees.v2_controllers)
            here = hand_down(parent, trees.v2_controllers)
        os.mkdir(path)
        for controller in LIMITED:
            if controller in trees.v1 and controller not in here:
                twins[controller] = f"{trees.v1[controller]}/{place.cgroup}/{name}"
                os.makedirs(twins[controller], exist_ok=True)
        held = limit.hold_in_cgroup(limits, path, twins)
        return CgroupCell(name, path, twins, uid=uid, own_uid=own_uid, held=held)
    except OSError as error:
        remove_tree(path)
        for twin in twins.values():
            remove_tree(twin)
        raise Storage(
            f"the cell {path} cannot be made: {error.strerror}", "see `offswitch doctor`"
        ) from None


def find(place: Place, facts: Mapping[str, Any]) -> Cell | None:
    """Find a cell again from its facts; None if it is gone or another bears its name now."""
    if facts.get("rung") != Rung.ROOT.value:
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


def strays(place: Place, known: set[str]) -> list[Cell]:
    """Find cells of this installation that nobody remembers; the empty ones are removed.

    A warden whose folder on tmpfs was lost still has its cells in the cgroup tree. Their
    user is not known, so they are never swept.
    """
    trees = find_trees()
    parent = f"{trees.v2}/{place.cgroup}"
    found: list[Cell] = []
    try:
        names = sorted(entry.name for entry in os.scandir(parent) if entry.is_dir())
        names = [name for name in names if name != WARM]
    except OSError:
        return []
    for name in names:
        path = f"{parent}/{name}"
        if name in known or (not sock_diag.any_of(os.stat(path).st_ino) and remove_tree(path)):
            continue
        twins = {key: f"{tree}/{place.cgroup}/{name}" for key, tree in trees.v1.items()}
        try:
            held = Held()
            cell = CgroupCell(name, path, twins, uid=0, own_uid=False, held=held)
        except (OSError, ValueError):
            continue
        found.append(cell)
    return found
