"""Which rung this warden stands on, and what that is worth (SR-25).

    root-cgroup   uid 0 with a writable cgroup v2: cells that nothing leaves unseen
    subreaper     anything else: descendants are found by walking /proc and killed in
                  sweeps to a fixed point; shown as *degraded*, with the escapes that
                  succeed

uid 0 in a container without writable cgroups stands on the lower rung. The answer comes
from trying: a cgroup is made, looked at and removed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum

from offswitch.control.place import Place
from offswitch.warden.cells.cgroups import find_trees

__all__ = ["SUBREAPER_ESCAPES", "Rung", "Standing", "standing", "this_rung"]

SUBREAPER_ESCAPES = (
    "a daemon that leaves parent, session and environment behind between two looks at /proc",
    "a job handed to a broker outside (cron, at, systemd --user, sshd on localhost)",
    "a program that hops from pid to pid faster than /proc can be walked",
    "anything that runs as the warden's own user may signal and trace the warden",
    "sockets: bytes already queued are delivered after the processes are dead",
)
"""What gets away on the subreaper rung; each is shown by a test."""


class Rung(StrEnum):
    """The closed ladder of rungs built so far."""

    ROOT = "root-cgroup"
    SUBREAPER = "subreaper"


@dataclass(frozen=True, slots=True)
class Standing:
    """A rung and the reasons for it."""

    rung: Rung
    missing: tuple[str, ...] = ()
    """Why it is not the first rung; empty on the first."""
    escapes: tuple[str, ...] = ()
    """What gets away here; empty on the first."""

    def facts(self) -> list[str]:
        """Say it to people, one sentence each."""
        return [*self.missing, *(f"escapes here: {escape}" for escape in self.escapes)]


def _lower(*missing: str) -> Standing:
    return Standing(Rung.SUBREAPER, missing, SUBREAPER_ESCAPES)


def standing(place: Place) -> Standing:
    """Find the rung by trying, and why it is none higher."""
    if os.geteuid() != 0:
        return _lower("the warden is not root: start it as root for cells that hold")
    tree = find_trees().v2
    if tree is None:
        return _lower("no cgroup v2 tree is mounted: mount -t cgroup2 none /sys/fs/cgroup/unified")
    parent = f"{tree}/{place.cgroup}"
    probe = f"{parent}/probe-{os.getpid()}"
    ours = not os.path.isdir(parent)
    try:
        os.makedirs(probe)
    except OSError as error:
        return _lower(
            f"{probe} cannot be made ({error.strerror}): the cgroup tree is read-only here"
        )
    try:
        if not os.access(f"{probe}/cgroup.kill", os.W_OK):
            return _lower("the kernel has no cgroup.kill: Linux 5.14 or newer is needed")
        if not os.access(f"{probe}/cgroup.freeze", os.W_OK):
            return _lower("the kernel has no cgroup.freeze: Linux 5.2 or newer is needed")
    finally:
        os.rmdir(probe)
        if ours:
            _remove_if_empty(parent)
    return Standing(Rung.ROOT)


def _remove_if_empty(folder: str) -> None:
    try:
        os.rmdir(folder)
    except OSError:
        return  # somebody has made a cell in it meanwhile


def this_rung(place: Place) -> Rung:
    """Give the rung of this process in this installation."""
    return standing(place).rung
