"""The finder: where an adopted target's cgroup is now, told to the warden as it changes (SR-24).

A process of its own, so that neither a long walk nor a container engine's state ever stands
in the warden's way. It can look and nothing else: it runs as a user of its own that may
read what others may not (CAP_DAC_READ_SEARCH, CAP_SYS_PTRACE), and kills nothing.

    → {"op": "want", "target", "as": {kind: value}}      → {"op": "drop", "target"}
    → {"op": "resolve", "id", "pid"}                     which name a process's cgroup goes by
    ← {"target", "path", "inode", "why"}                 path null: no cgroup bears the name now
    ← {"target", "inode", "also", "older", "uids"}       what is known of that cgroup's members
    ← {"resolved": id, "as": {kind: value}} or {"resolved": id, "error"}

`also` are the numbers of the cgroups below; `older` are sockets that members hold and that
bear another cgroup's number, since they were made before their maker came, or were handed in:
no program attached to the cgroup denies them, and no list by cgroup shows them. They are
looked for twice a second, because at the stop it would be too late: a descriptor dies with
its process, and the socket goes on delivering.
"""

from __future__ import annotations

import argparse
import os
import select
import socket
import time
from dataclasses import dataclass, field
from typing import Any

from offswitch.actuators.sock_diag import Diag, Sock
from offswitch.control import frames
from offswitch.errors import OffswitchError, Usage
from offswitch.model.named import Named, container_id
from offswitch.warden.cells import kernel, users
from offswitch.warden.cells.cgroups import find_trees
from offswitch.warden.finder.engines import names_of
from offswitch.warden.finder.processes import Programs, cgroup_of, members, strangers, uids_of
from offswitch.warden.finder.tree import Tree

__all__ = ["Finder", "main"]

_TICK_S = 0.05
"""How often programs, and containers that have no name yet, are looked for."""
_MEMBERS_S = 0.5
_WALK_S = 2.0
_NAMELESS_NS = 2_000_000_000
_DEEPEST = 40
_MOST_BELOW = 1000
_MOST_SOCKETS = 256
_MOST_PIDS = 4096


@dataclass(slots=True)
class _Want:
    """One target that is looked for."""

    named: Named
    path: str = ""
    """Where its cgroup is; empty: nowhere."""
    inode: int = 0
    why: str = ""
    told: dict[str, Any] | None = None
    known: dict[str, Any] | None = None
    below: dict[int, None] = field(default_factory=dict)
    """Numbers of the cgroups that were ever seen below it, in the order of their coming."""


class Finder:
    """Serves one link."""

    def __init__(self, link: socket.socket, tree: str, ground: str) -> None:
        """Look in `tree`, but not below `ground`, where the cells of our own are."""
        self._link = link
        self._ground = ground
        self._decoder = frames.Decoder()
        self._wants: dict[str, _Want] = {}
        self._tree = Tree(tree, self._within)
        self._programs = Programs()
        self._names: dict[str, tuple[str, ...]] = {}
        """Container → its names."""
        self._nameless: dict[str, int] = {}
        """Container's cgroup → until when its engine may yet tell its name."""
        self._walk_at = self._members_at = 0.0
        self._diag = Diag()

    def run(self) -> None:
        """Look until the warden's end of the link is closed."""
        while True:
            link, tree = self._link.fileno(), self._tree.fileno()
            ready = select.select([link, tree], [], [], self._patience())[0]
            if link in ready and not self._take():
                return
            if tree in ready:
                self._judge(self._tree.read())
            now = time.monotonic()
            if now >= self._walk_at:
                self._walk_at = now + _WALK_S
                self._tree.look()
                self._judge(None)
            self._tick()
            if now >= self._members_at:
                self._members_at = now + _MEMBERS_S
                self._look_inside()

    def _patience(self) -> float:
        if not self._wants:
            return 3600.0
        due = min(self._walk_at, self._members_at) - time.monotonic()
        ticking = self._nameless or any(w.named.kind == "program" for w in self._wants.values())
        return max(0.0, min(due, _TICK_S) if ticking else due)

    def _say(self, message: dict[str, Any]) -> None:
        frames.send(self._link, message)

    # --- what is wanted -----------------------------------------------------------

    def _take(self) -> bool:
        data = self._link.recv(1 << 16)
        for message in self._decoder.feed(data):
            match message["op"]:
                case "want":
                    self._want(str(message["target"]), message["as"])
                case "drop":
                    self._wants.pop(str(message["target"]), None)
                case "resolve":
                    self._say({"resolved": message["id"], **self._resolved(int(message["pid"]))})
        return bool(data)

    def _want(self, target: str, said: dict[str, Any]) -> None:
        named = Named.of(said)
        if named is None:
            raise Usage("a name is wanted")
        self._wants[target] = want = _Want(named)
        self._tree.look()
        self._judge_one(target, want, list(self._tree))
        if named.kind == "program":
            self._look_for_programs(time.monotonic_ns(), anew=True)
        self._tell(target, want)
        self._members_at = 0.0

    def _resolved(self, pid: int) -> dict[str, Any]:
        """Give the name of a process's cgroup: its unit's or container's, else its path."""
        path = cgroup_of(pid)
        if not path:
            return {"error": f"there is no process {pid}"}
        folders = path.split("/")[1:]
        for depth, last in enumerate(folders, 1):
            if container_id(last) is not None:
                return {"as": {"container": container_id(last)}}
            unit = last.endswith((".service", ".scope")) and not last.startswith("session-")
            if unit and last != "init.scope" and not last.startswith("user@"):
                manager = next((f for f in folders[: depth - 1] if f.startswith("user@")), "")
                value = f"{manager}/{last}" if manager else last
                named = Named.of({"unit": value})
                if named is not None and named.holds("/" + "/".join(folders[:depth])):
                    return {"as": {"unit": named.value}}
        others = strangers(members(self._tree.root + path), leader=pid)
        if path == "/" or others:
            who = "the whole machine" if path == "/" else ", ".join(others[:5])
            return {"error": f"the cgroup of process {pid}, {path}, also holds {who}"}
        return {"as": {"cgroup": path}}

    # --- where it is --------------------------------------------------------------

    def _within(self, path: str) -> bool:
        """Whether something that is wanted could lie in this folder, or belongs to one."""
        if path.count("/") > _DEEPEST or (path + "/").startswith(self._ground + "/"):
            return False
        last = path.rpartition("/")[2]
        inside = path + "/"
        for want in self._wants.values():
            if want.path and inside.startswith(want.path + "/"):
                return len(want.below) < _MOST_BELOW
            if want.named.kind == "cgroup" and want.named.value.startswith(inside):
                return True
        if last.startswith("user@"):
            return any(want.named.value.startswith(f"{last}/") for want in self._wants.values())
        return not last.endswith((".service", ".scope")) and container_id(last) is None

    def _judge(self, changed: list[str] | None) -> None:
        """See for each target whether what changed (None: perhaps everything) is about it."""
        paths = list(self._tree) if changed is None else changed
        for target, want in self._wants.items():
            self._judge_one(target, want, paths)

    def _judge_one(self, target: str, want: _Want, paths: list[str]) -> None:
        if want.path and self._tree.inode(want.path) != want.inode:
            want.path, want.inode = "", 0
        if not want.path and want.named.kind != "program":
            found = [path for path in paths if path in self._tree and self._holds(want, path)]
            if found:
                self._settle_on(want, self._foremost(found))
        if want.path:
            want.below.update(dict.fromkeys(map(self._tree.inode, self._tree.below(want.path))))
        if want.told is not None:
            self._tell(target, want)

    def _settle_on(self, want: _Want, path: str) -> None:
        want.path, want.inode, want.why = path, self._tree.inode(path), ""
        self._tree.enter(path)
        self._members_at = min(self._members_at, time.monotonic() + _TICK_S)

    def _holds(self, want: _Want, path: str) -> bool:
        if want.named.kind != "container":
            return want.named.holds(path)
        identity = container_id(path.rpartition("/")[2])
        if identity is None:
            return False
        if not self._names.get(identity):
            self._names[identity] = names_of(identity)
            if not self._names[identity]:
                self._nameless.setdefault(path, time.monotonic_ns() + _NAMELESS_NS)
        return want.named.holds(path, self._names[identity])

    def _foremost(self, paths: list[str]) -> str:
        """Choose: root's own before what a user made under that name, the outermost first."""

        def rank(path: str) -> tuple[bool, int, str]:
            try:
                owner = os.stat(self._tree.root + path).st_uid
            except OSError:
                owner = -1
            return owner != 0, path.count("/"), path

        return min(paths, key=rank)

    def _tell(self, target: str, want: _Want) -> None:
        path = want.path or None
        message = {"target": target, "path": path, "inode": want.inode, "why": want.why}
        if message != want.told:
            want.told, want.known = message, None
            self._say(message)

    # --- what no folder's name tells ----------------------------------------------

    def _tick(self) -> None:
        now = time.monotonic_ns()
        if self._nameless:
            paths = list(self._nameless)
            self._nameless = {p: end for p, end in self._nameless.items() if end > now}
            again = [path for path in paths if path in self._tree]
            for target, want in self._wants.items():
                self._judge_one(target, want, again)
            for path in again:
                if self._names.get(container_id(path.rpartition("/")[2]) or ""):
                    self._nameless.pop(path, None)
        self._look_for_programs(now)

    def _look_for_programs(self, now: int, *, anew: bool = False) -> None:
        wants = {t: w for t, w in self._wants.items() if w.named.kind == "program"}
        if not wants:
            return
        if anew:
            self._programs = Programs()
        found = self._programs.look({want.named.value for want in wants.values()}, now)
        for target, want in wants.items():
            if want.path and not members(self._tree.root + want.path):
                want.path, want.inode = "", 0  # it may live elsewhere next
            paths = () if want.path else found.get(want.named.value, ())
            for path in sorted(paths):
                others = strangers(members(self._tree.root + path), program=want.named.value)
                if path == "/" or others or self._within_ground(path):
                    who = ", ".join(others[:5]) or "what is not its own"
                    want.why = f"its cgroup {path} also holds {who}"
                else:
                    self._tree.enter(path)
                    self._settle_on(want, path)
                    break
            self._tell(target, want)

    def _within_ground(self, path: str) -> bool:
        return (path + "/").startswith(self._ground + "/")

    # --- what is in it ------------------------------------------------------------

    def _look_inside(self) -> None:
        """Tell of cgroups below, users, and sockets that bear another cgroup's number."""
        found = {target: want for target, want in self._wants.items() if want.path}
        everything = self._tcp() if found else []
        for target, want in found.items():
            folder = self._tree.root + want.path
            pids = members(folder)[:_MOST_PIDS]
            numbers = {want.inode, *want.below}
            foreign = {s.inode: s for s in everything if s.inode and s.cgroup_id not in numbers}
            older = [foreign[inode] for inode in _sockets_of(pids) if inode in foreign]
            known = {
                "target": target,
                "inode": want.inode,
                "also": list(want.below)[-_MOST_BELOW:],
                "older": [[s.family, s.ident.hex()] for s in older[:_MOST_SOCKETS]],
                "uids": uids_of(pids),
                "foreign_net": _in_another_net(pids),
            }
            if known != want.known:
                want.known = known
                self._say(known)

    def _tcp(self) -> list[Sock]:
        try:
            return self._diag.tcp()
        except OSError:
            return []


def _sockets_of(pids: list[int]) -> set[int]:
    """Give the inodes of all sockets that these processes hold."""
    found = set()
    for pid in pids:
        try:
            for fd in os.listdir(f"/proc/{pid}/fd"):
                link = os.readlink(f"/proc/{pid}/fd/{fd}")
                if link.startswith("socket:["):
                    found.add(int(link[8:-1]))
        except OSError:
            continue
    return found


def _in_another_net(pids: list[int]) -> int:
    """Give a process that has a network of its own; 0: all share ours."""
    ours = os.stat("/proc/self/ns/net").st_ino
    for pid in pids:
        try:
            if os.stat(f"/proc/{pid}/ns/net").st_ino != ours:
                return pid
        except OSError:
            continue
    return 0


def _become_finder() -> None:
    """Give up root for a user of the finder's own, and all but the right to look."""
    kernel.bound_capabilities(but=kernel.LOOKING)
    os.setgroups([])
    os.setresgid(users.FINDER, users.FINDER, users.FINDER)
    kernel.keep_capabilities()
    os.setresuid(users.FINDER, users.FINDER, users.FINDER)
    kernel.keep_only(kernel.LOOKING)
    kernel.forbid_new_privileges()


def main(argv: list[str] | None = None) -> int:
    """Serve the warden on `--link` until it goes away."""
    parser = argparse.ArgumentParser(prog="offswitch.warden.finder")
    parser.add_argument("--link", type=int, required=True)
    parser.add_argument("--ground", required=True)
    args = parser.parse_args(argv)
    tree = find_trees().v2
    if tree is None:
        return 1
    _become_finder()
    try:
        Finder(socket.socket(fileno=args.link), tree, f"/{args.ground}").run()
    except (ConnectionError, OffswitchError):
        pass  # the warden is gone, or talks garbage: a new one starts a new finder
    return 0
