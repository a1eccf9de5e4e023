"""The lower rung: a cell without a cgroup, for a warden without root or without cgroups.

The warden is its descendants' subreaper, so orphans stay in its tree. A kill is a series
of sweeps: walk /proc, stop what is new (a stopped parent bears no more children), walk
again until nothing new is found, then kill all that was found, by pidfd, so that a pid
that was given to a stranger meanwhile is not hit. Each call is bounded; what is still
there is seen by `populated`, and the call repeated.

It is *degraded*: `rung.ESCAPES` lists what gets away.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from offswitch.actuators.sock_diag import Diag, Sock
from offswitch.warden.cells.descendants import Process, Tracker, session_of, start_of
from offswitch.warden.cells.limits import Held, Limits
from offswitch.warden.cells.rung import Rung

__all__ = ["SubreaperCell", "send"]

_SWEEP_S = 0.05
_PATIENCE_S = 0.002


class SubreaperCell:
    """A cell on the last rung."""

    enclosed = False

    also: Sequence[int] = ()
    older: Sequence[Sock] = ()
    net: Diag | None = None

    def __init__(
        self, name: str, *, uid: int, held: Held, leader: int, leader_start: int, marker: str
    ) -> None:
        """Know a cell by its leader and its marker; a leader of 0 is yet to be born."""
        self.name = name
        self.path: str | None = None
        self.cgroup_id: int | None = None
        self.uid = uid
        self.own_uid = False
        self.held = held
        self.leader = leader
        self.marker = marker
        self._leader_start = leader_start
        self._pidfd = -1
        self._tracker: Tracker | None = None
        if leader:
            self._tracker = Tracker(leader, leader_start, marker)

    @classmethod
    def make(cls, name: str, *, uid: int, limits: Limits) -> SubreaperCell:
        """Make a cell that nothing lives in yet; limits are each process's own."""
        held = Held(
            "rlimit" if limits.processes else "nothing", "rlimit" if limits.memory else "nothing"
        )
        return cls(name, uid=uid, held=held, leader=0, leader_start=0, marker=secrets.token_hex(16))

    @classmethod
    def again(cls, facts: Mapping[str, Any]) -> SubreaperCell:
        """Find one again from its facts; what is left of it is found by its marker and groups."""
        return cls(
            str(facts["name"]),
            uid=int(facts["uid"]),
            held=Held(**facts["held"]),
            leader=int(facts["leader"]),
            leader_start=int(facts["leader_start"]),
            marker=str(facts["marker"]),
        )

    @property
    def entrance(self) -> tuple[int, ...]:
        """There is no way in: the child is a descendant of ours from the first."""
        return ()

    def join(self, fds: Sequence[int]) -> None:
        """There is nothing to go into."""

    def born(self) -> None:
        """Nothing was kept for the birth."""

    @property
    def session(self) -> int:
        """The process group that the target begins with."""
        return session_of(self.leader)

    @property
    def folder_fd(self) -> int:
        """There is no folder."""
        return -1

    @property
    def teller(self) -> tuple[int, int]:
        """Nothing tells of a change."""
        return -1, 0

    def enter(self, pid: int) -> None:
        """Take `pid`, which waits at its gate, as the leader."""
        self.leader = pid
        self._leader_start = start_of(pid)
        self._tracker = Tracker(pid, self._leader_start, self.marker)
        with contextlib.suppress(OSError):
            self._pidfd = os.pidfd_open(pid)

    def members(self) -> list[Process]:
        """Walk /proc for what lives in it."""
        return [] if self._tracker is None else self._tracker.members()

    def kill(self) -> None:
        """Stop, then kill, sweep after sweep, until nothing is found or the time is up."""
        end = time.monotonic() + _SWEEP_S
        while True:
            self._stop_all(end)
            found = self.members()
            for each in found:
                send(each, signal.SIGKILL)
            if not found or time.monotonic() > end:
                return
            time.sleep(
                _PATIENCE_S
            )  # the killed need a moment to die; not more than the sweep's end

    def freeze(self) -> None:
        """Stop all of it; one that goes on by SIGCONT is seen and stopped again, or killed."""
        self._stop_all(time.monotonic() + _SWEEP_S)

    def _stop_all(self, end: float) -> None:
        """Stop what is found until a walk finds nothing that is not stopped."""
        sent: set[tuple[int, int]] = set()
        while time.monotonic() < end:
            fresh = [
                each
                for each in self.members()
                if not each.stands and (each.pid, each.start) not in sent
            ]
            if not fresh:
                return
            for each in fresh:
                send(each, signal.SIGSTOP)
                sent.add((each.pid, each.start))

    def thaw(self) -> None:
        """Let all of it run again."""
        for each in self.members():
            send(each, signal.SIGCONT)

    def populated(self) -> bool | None:
        """Whether a walk finds anything alive."""
        return bool(self.members())

    def frozen(self) -> bool | None:
        """Whether all that a walk finds is stopped."""
        return all(each.stands for each in self.members())

    def pids(self) -> list[int]:
        """List what a walk finds."""
        return [each.pid for each in self.members()]

    def outside(self) -> list[int]:
        """Nothing that could be told from others: its user is shared."""
        return []

    def facts(self) -> dict[str, Any]:
        """Give what finds it again."""
        return {
            "rung": Rung.SUBREAPER.value,
            "name": self.name,
            "path": None,
            "cgroup_id": None,
            "twins": {},
            "uid": self.uid,
            "own_uid": False,
            "held": asdict(self.held),
            "leader": self.leader,
            "leader_start": self._leader_start,
            "marker": self.marker,
        }

    def fds(self) -> dict[str, int]:
        """Give the leader's pidfd, if it was born here."""
        return {"pidfd": self._pidfd} if self._pidfd >= 0 else {}

    def remove(self) -> bool:
        """There is nothing to be removed but what lives."""
        return not self.members()

    def close(self) -> None:
        """Close the leader's pidfd."""
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1


def send(each: Process, number: signal.Signals) -> None:
    """Signal this very process: its pid may be a stranger's by now, its pidfd cannot."""
    if each.pid <= 1:
        return
    try:
        pidfd = os.pidfd_open(each.pid)
    except OSError:
        return
    try:
        if start_of(each.pid) == each.start:
            signal.pidfd_send_signal(pidfd, number)
    except OSError:
        pass  # it has ended, or may not be signalled by us: the observer sees it live
    finally:
        os.close(pidfd)
