"""Where the cgroup trees are, and what they can do here.

The cells live in the v2 tree, wherever it is mounted: `/sys/fs/cgroup`, or
`/sys/fs/cgroup/unified` on hybrid hosts (the kernel's Documentation/admin-guide/
cgroup-v2.rst). What a cell needs of v2 is in its core and needs no controller: birth,
`cgroup.kill` (Linux 5.14), `cgroup.freeze`, `cgroup.events`. Limits on processes and
memory are controllers: where v2 lacks them, each cell gets a twin of the same name in the
v1 trees, below the warden's own place there, so that limits above it still bind.

Without root the cells live in the part of the tree that systemd has given us (delegation):
our own cgroup, if we may write there. The warden itself steps aside into a leaf of it, since
a cgroup that hands controllers down may hold no process.

Everything is read from `/proc/self/mountinfo` and `/proc/self/cgroup`, never guessed.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = [
    "LIMITED",
    "Trees",
    "check_cell_name",
    "controllers_of",
    "delegated",
    "find_trees",
    "find_v1",
    "hand_down",
    "remove_tree",
    "step_aside",
]

LIMITED = ("pids", "memory")
"""The controllers that a cell's limits need."""
_ASIDE = ".own"
"""What is added to the installation's name for the leaf that our own processes are in."""
_CELL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@%+-]{0,250}")


@dataclass(frozen=True, slots=True)
class Trees:
    """The cgroup trees of this machine."""

    v2: str | None
    """Folder where the v2 tree is mounted; None: there is none."""
    v2_controllers: frozenset[str] = frozenset()
    """Those of `LIMITED` that the v2 root can hand down."""
    v1: Mapping[str, str] = field(default_factory=dict)
    """Controller → folder in its v1 tree below which twins may be made."""


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def _own_places() -> dict[str, str]:
    """Give this process's place in each v1 tree, by controller."""
    places = {}
    with open("/proc/self/cgroup", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            _number, controllers, path = line.rstrip("\n").split(":", 2)
            for controller in controllers.split(","):
                places[controller] = path
    return places


def find_trees() -> Trees:
    """Read where the trees are mounted; a tree that is not there is simply absent."""
    v2: str | None = None
    v1: dict[str, str] = {}
    own = _own_places()
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            fields = line.split(" ")
            root, point = _unescape(fields[3]), _unescape(fields[4])
            kind = fields[fields.index("-") + 1]
            if kind == "cgroup2" and v2 is None:
                v2 = point
            elif kind == "cgroup":
                options = line.rstrip("\n").rsplit(" ", 1)[1].split(",")
                for controller in LIMITED:
                    if controller in options:
                        inside = own.get(controller, "/")
                        if root != "/" and inside.startswith(root):
                            inside = inside[len(root) :]
                        v1[controller] = (point + inside).rstrip("/")
    if v2 is None:
        return Trees(None, frozenset(), v1)
    return Trees(v2, controllers_of(v2), v1)


def find_v1(controller: str) -> str | None:
    """Give the folder where a v1 controller's tree is mounted; None: there is none."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            fields = line.rstrip("\n").split(" ")
            kind = fields[fields.index("-") + 1]
            if kind == "cgroup" and controller in fields[-1].split(","):
                return _unescape(fields[4])
    return None


def controllers_of(folder: str) -> frozenset[str]:
    """Give those of `LIMITED` that the children of a v2 folder can be given."""
    try:
        with open(f"{folder}/cgroup.controllers", encoding="ascii") as file:
            return frozenset(file.read().split()) & frozenset(LIMITED)
    except OSError:
        return frozenset()


def delegated(name: str) -> str | None:
    """Give the folder of the v2 tree that was given to us, for an installation's cgroup `name`.

    It is our own cgroup, or the one above it once we have stepped aside. None: none was.
    """
    tree, own = find_trees().v2, _own_places().get("")
    if tree is None or own is None or "/.." in own:
        return None
    folder = f"{tree}{own}".rstrip("/").removesuffix(f"/{name}{_ASIDE}")
    files = ("", "/cgroup.procs", "/cgroup.subtree_control")
    there = folder != tree and all(os.access(folder + file, os.W_OK) for file in files)
    return folder if there else None


def step_aside(name: str) -> None:
    """Move this process into a leaf of what was given to us, so that controllers can be used.

    Where cells of an earlier warden live in a part beside ours, that part becomes ours: systemd
    removes a scope as soon as it is empty, and of a cell that is gone nobody knows that it is.
    """
    folder = delegated(name)
    if folder is None:
        return
    for cells in sorted(glob.glob(f"{os.path.dirname(folder)}/*/{name}")):
        if _lives(cells) and os.access(f"{cells}/cgroup.procs", os.W_OK):
            folder = os.path.dirname(cells)
            break
    leaf = f"{folder}/{name}{_ASIDE}"
    try:
        os.makedirs(leaf, exist_ok=True)
        with open(f"{leaf}/cgroup.procs", "w", encoding="ascii") as file:
            file.write("0")
    except OSError:
        return  # limits are rlimits then, and `status` says so


def _lives(folder: str) -> bool:
    try:
        with open(f"{folder}/cgroup.events", "rb") as file:
            return b"populated 1" in file.read()
    except OSError:
        return False


def hand_down(folder: str, controllers: frozenset[str]) -> frozenset[str]:
    """Let the children of `folder` have `controllers`; return those that they can have now."""
    for controller in sorted(controllers):
        try:
            with open(f"{folder}/cgroup.subtree_control", "w", encoding="ascii") as file:
                file.write(f"+{controller}")
        except OSError:
            continue  # processes sit in that folder, or it is not ours: a twin or an rlimit serves
    try:
        with open(f"{folder}/cgroup.subtree_control", encoding="ascii") as file:
            return frozenset(file.read().split()) & controllers
    except OSError:
        return frozenset()


def check_cell_name(name: str) -> str:
    """Return `name` if it can be a folder of a cgroup tree; ValueError otherwise."""
    if not _CELL_NAME.fullmatch(name) or name.startswith("cgroup."):
        raise ValueError(f"{name!r} cannot be the name of a cell")
    return name


def remove_tree(folder: str) -> bool:
    """Remove a cgroup and all below it, deepest first; True if it is gone."""
    for path, _folders, _files in os.walk(folder, topdown=False):
        try:
            os.rmdir(path)
        except FileNotFoundError:
            continue
        except OSError:
            return False
    return not os.path.isdir(folder)
