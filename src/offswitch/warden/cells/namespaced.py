"""The third rung: a cell that is a set of namespaces (their story is in `namespaces.py`).

A kill is one signal to the namespaces' init, by a pidfd that was opened before the target's
first instruction, and then one to each process, by itself: with both cores busy an init may
wait a fifth of a second for its turn to die. A freeze is a SIGSTOP to each, sweep after sweep,
as on the rung below. Its processes are all that descends from the init or from the process
that the warden forked: an orphan of the namespace comes to the init, and to nobody else.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from offswitch.errors import Storage
from offswitch.warden.cells import namespaces
from offswitch.warden.cells.descendants import Process, inhabitants, session_of, start_of, walk
from offswitch.warden.cells.limits import Held, Limits
from offswitch.warden.cells.rung import Rung
from offswitch.warden.cells.subreaper import SubreaperCell, send

__all__ = ["NamespaceCell", "again"]


class NamespaceCell(SubreaperCell):
    """A cell on the third rung."""

    enclosed = True

    def __init__(
        self,
        name: str,
        *,
        uid: int,
        held: Held,
        init: tuple[int, int],
        leader: tuple[int, int] = (0, 0),
        pidfd: int = -1,
    ) -> None:
        """Know a cell by its init; `pidfd` is the init's, and ours from now on."""
        super().__init__(
            name, uid=uid, held=held, leader=leader[0], leader_start=leader[1], marker=""
        )
        self._init, self._init_start = init
        self._init_fd = pidfd
        self._entrance: list[int] = []

    @classmethod
    def enclose(
        cls,
        name: str,
        *,
        uid: int,
        limits: Limits,
        covered: Sequence[str],
        read_only: Sequence[str],
    ) -> NamespaceCell:
        """Make a cell that nothing lives in but its init; limits are each process's own."""
        held = Held(
            "rlimit" if limits.processes else "nothing", "rlimit" if limits.memory else "nothing"
        )
        try:
            pidfd, ready, alive = namespaces.make(covered, read_only)
        except OSError as error:
            raise Storage(
                f"no namespaces for the cell: {error.strerror}", "see `offswitch doctor`"
            ) from None
        pid = _pid_of(pidfd)
        cell = cls(name, uid=uid, held=held, init=(pid, start_of(pid)), pidfd=pidfd)
        cell._entrance = [ready, alive]
        return cell

    @classmethod
    def again(cls, facts: Mapping[str, Any], pidfd: int = -1) -> NamespaceCell:
        """Find one again from its facts; its init may be gone, and with it all that lived there."""
        pid, start = int(facts["init"]), int(facts["init_start"])
        if pidfd < 0:
            try:
                pidfd = os.pidfd_open(pid)
            except OSError:
                pidfd = -1
            if pidfd >= 0 and start_of(pid) != start:
                os.close(pidfd)
                pidfd = -1
        leader = int(facts["leader"]), int(facts["leader_start"])
        return cls(
            str(facts["name"]),
            uid=int(facts["uid"]),
            held=Held(**facts["held"]),
            init=(pid, start),
            leader=leader,
            pidfd=pidfd,
        )

    @property
    def entrance(self) -> tuple[int, ...]:
        """What the child needs to go in: the init's pidfd, and the two pipes to it."""
        return (self._init_fd, *self._entrance)

    def join(self, fds: Sequence[int]) -> None:
        """In the child: go in, by `entrance` under its new numbers; returns inside only."""
        namespaces.join(fds[0], fds[1], fds[2])

    def enter(self, pid: int) -> None:
        """Take `pid`, which waits at its gate, as the one that will go in."""
        self.leader, self._leader_start = pid, start_of(pid)

    @property
    def session(self) -> int:
        """The process group of the target itself: the only child of the one that was forked."""
        try:
            with open(f"/proc/{self.leader}/task/{self.leader}/children", "rb") as file:
                return session_of(int(file.read().split()[0]))
        except (OSError, IndexError, ValueError):
            raise ProcessLookupError from None

    @property
    def teller(self) -> tuple[int, int]:
        """The init's pidfd: its end is the end of all that lived there."""
        return self._init_fd, select.EPOLLIN

    def members(self) -> list[Process]:
        """List what lives in it, init left out."""
        if self._init_is_gone():
            return []
        own = (self._init, self._init_start), (self.leader, self._leader_start)
        return inhabitants(walk(), *own)

    def kill(self) -> None:
        """End the init, which ends all; and each process, since the init may wait for its turn."""
        self._hand_over()
        try:
            signal.pidfd_send_signal(self._init_fd, signal.SIGKILL)
        except OSError:
            return  # it is gone, and with it all that lived there
        for each in self.members():
            send(each, signal.SIGKILL)

    def populated(self) -> bool | None:
        """Whether anything lives in it: never once its init is gone."""
        return bool(self.members())

    def _init_is_gone(self) -> bool:
        return self._init_fd < 0 or bool(select.select([self._init_fd], [], [], 0)[0])

    def _hand_over(self) -> None:
        """Let go of the pipes: the process that was forked for the target holds them, if any."""
        for fd in self._entrance:
            os.close(fd)
        self._entrance.clear()

    def facts(self) -> dict[str, Any]:
        """Give what finds it again."""
        return {
            "rung": Rung.NAMESPACE.value,
            "name": self.name,
            "path": None,
            "cgroup_id": None,
            "twins": {},
            "uid": self.uid,
            "own_uid": False,
            "held": asdict(self.held),
            "init": self._init,
            "init_start": self._init_start,
            "leader": self.leader,
            "leader_start": self._leader_start,
            "marker": "",
        }

    def fds(self) -> dict[str, int]:
        """Give the init's pidfd: readable when the cell is empty for good."""
        return {"init": self._init_fd} if self._init_fd >= 0 else {}

    def born(self) -> None:
        """Its target is on its way in: from now on init ends when the last process does."""
        self._hand_over()

    def remove(self) -> bool:
        """End the init, if nothing else lives in it; True if it is gone."""
        if not self._init_is_gone() and not self.members():
            self.kill()
        return self._init_is_gone()

    def close(self) -> None:
        """Close what is open."""
        self._hand_over()
        if self._init_fd >= 0:
            os.close(self._init_fd)
            self._init_fd = -1


def again(facts: Mapping[str, Any], fds: Sequence[int]) -> SubreaperCell:
    """Find a cell without a cgroup again from its facts and what was handed over: ours now."""
    if "init" in facts:
        return NamespaceCell.again(facts, *fds)
    cell = SubreaperCell.again(facts)
    for fd in fds:
        os.close(fd)
    return cell


def _pid_of(pidfd: int) -> int:
    with open(f"/proc/self/fdinfo/{pidfd}", "rb") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(b"Pid:"))
