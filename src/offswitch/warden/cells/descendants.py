"""Finding a cell's processes without a cgroup: a walk of /proc, and what it can know.

A process belongs to a cell if it is

    the leader or below it        by the chain of parents; orphans come to the nearest
                                  subreaper (prctl(2)), which is the warden
    in a session or group of it   a leader begins a session of its own; those seen once
                                  are remembered
    marked                        its environment bears the cell's marker

One walk is a picture that is out of date when it is done; so callers repeat it until
nothing new is found. What leaves parent, session and environment behind between two
walks is not found: that is why this rung is called degraded.

The environment lies in the other's memory, and a hostile program can make reading it
block for ever (a mapping that a file server never fills). So it is read by a child that
is given 50 ms.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass

from offswitch.warden.cells.threads import state_behind

__all__ = ["Process", "Tracker", "below", "inhabitants", "marked", "session_of", "start_of", "walk"]

_READ_S = 0.05
_MAX_ENVIRON = 1 << 20


@dataclass(frozen=True, slots=True)
class Process:
    """One line of /proc/PID/stat."""

    pid: int
    state: str
    """R, S, D, T (stopped), t (traced), Z (dead, not reaped), X."""
    parent: int
    group: int
    session: int
    start: int
    """Clock ticks since boot; with the pid it is an identity."""

    @property
    def dead(self) -> bool:
        """Whether only its exit status is left."""
        return self.state in {"Z", "X"}

    @property
    def stands(self) -> bool:
        """Whether it runs no instruction: stopped or dead."""
        return self.state in {"T", "t", "Z", "X"}


def walk() -> dict[int, Process]:
    """Take a picture of all processes that can be seen."""
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat", "rb") as file:
                words = file.read().rpartition(b")")[2].split()
        except OSError:
            continue  # it ended as we came
        pid = int(entry)
        parent, group, session = (int(word) for word in words[1:4])
        state = words[0].decode()
        if state == "Z" and words[17] != b"1":
            state = state_behind(pid)
        found[pid] = Process(pid, state, parent, group, session, int(words[19]))
    return found


def marked(pids: Iterable[int], marker: str) -> set[int]:
    """Tell which of `pids` bear `marker` in their environment; whatever blocks or fails is not."""
    wanted = list(pids)
    if not wanted or not marker:
        return set()
    out, into = os.pipe2(os.O_CLOEXEC)
    try:
        child = os.fork()
    except OSError:
        os.close(out)
        os.close(into)
        return set()
    if child == 0:
        try:
            _tell_marked(wanted, f"={marker}".encode(), into)
        finally:
            os._exit(0)
    os.close(into)
    found = set()
    try:
        text = b""
        while select.select([out], [], [], _READ_S)[0]:
            data = os.read(out, 4096)
            if not data:
                break
            text += data
        found = {int(line) for line in text.split(b"\n")[:-1]}
    finally:
        os.close(out)
        with suppress(PermissionError):  # ours may signal nobody, and its child cannot hang
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return found


def _tell_marked(pids: list[int], needle: bytes, into: int) -> None:
    for pid in pids:
        try:
            with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:
                environ = file.read(_MAX_ENVIRON)
        except OSError:
            continue
        if environ and any(line.endswith(needle) for line in environ.split(b"\0")):
            os.write(into, b"%d\n" % pid)


def session_of(leader: int) -> int:
    """Give the process group to signal for a leader; never 0, which would be our own."""
    if leader <= 1:
        raise ProcessLookupError
    return leader


def start_of(pid: int) -> int:
    """When a process started, in clock ticks since boot; 0: gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[19])
    except (OSError, IndexError, ValueError):
        return 0


class Tracker:
    """Follows one cell from walk to walk."""

    def __init__(self, leader: int, leader_start: int, marker: str) -> None:
        """Know the leader by pid and start, and the marker in the environment."""
        self._marker = marker
        self._start = leader_start
        self._known: set[tuple[int, int]] = {(leader, leader_start)}
        self._groups: set[int] = {leader}
        self._asked: set[tuple[int, int]] = set()
        self._never = {os.getpid(), os.getppid(), 0, 1}

    def members(self, picture: dict[int, Process] | None = None) -> list[Process]:
        """List the cell's processes, the dead left out: by a walk of its own, or in `picture`."""
        if picture is None:
            picture = walk()
        inside = {
            pid
            for pid, each in picture.items()
            if (pid, each.start) in self._known or self._of_its_groups(each)
        }
        inside |= self._newly_marked(picture, inside)
        inside = below(picture, inside, self._never) - self._never
        for pid in inside:
            each = picture[pid]
            self._known.add((pid, each.start))
            self._groups |= {each.group, each.session}
        self._forget(picture)
        return [picture[pid] for pid in sorted(inside) if not picture[pid].dead]

    def _forget(self, picture: dict[int, Process]) -> None:
        """Forget what is gone: its numbers may be given to strangers."""
        self._known = {key for key in self._known if key[0] in picture}
        there = {each.group for each in picture.values()}
        there |= {each.session for each in picture.values()}
        self._groups &= there

    def _of_its_groups(self, each: Process) -> bool:
        in_group = each.session in self._groups or each.group in self._groups
        return in_group and each.start >= self._start

    def _newly_marked(self, picture: dict[int, Process], inside: set[int]) -> set[int]:
        """Ask the environment of processes that are younger than the leader, once each."""
        young = [
            each
            for pid, each in picture.items()
            if pid not in inside
            and not each.dead
            and each.start >= self._start
            and (pid, each.start) not in self._asked
            and pid not in self._never
            and _is_of_our_user(pid)
        ]
        self._asked = {key for key in self._asked if key[0] in picture}
        self._asked |= {(each.pid, each.start) for each in young}
        return marked((each.pid for each in young), self._marker)


def below(
    picture: dict[int, Process], roots: Iterable[int], never: Collection[int] = ()
) -> set[int]:
    """Give `roots` and all that descends from them, but for what is `never` and below it."""
    children: dict[int, list[int]] = {}
    for pid, each in picture.items():
        children.setdefault(each.parent, []).append(pid)
    found = set(roots)
    todo = list(found)
    while todo:
        for child in children.get(todo.pop(), []):
            if child not in found and child not in never:
                found.add(child)
                todo.append(child)
    return found


def inhabitants(
    picture: dict[int, Process], init: tuple[int, int], leader: tuple[int, int]
) -> list[Process]:
    """List what lives in a namespace cell, in a picture of /proc; the two of ours left out."""
    roots = {pid for pid, start in (init, leader) if pid in picture and picture[pid].start == start}
    found = below(picture, roots) - roots
    return [picture[pid] for pid in sorted(found) if not picture[pid].dead]


def _is_of_our_user(pid: int) -> bool:
    """Whether its environment could be ours to read; a process that hides it counts as no."""
    try:
        return os.geteuid() == 0 or os.stat(f"/proc/{pid}").st_uid == os.geteuid()
    except OSError:
        return False
