"""Which rung this warden stands on, and what that is worth (SR-25).

    root-cgroup      uid 0 with a cgroup v2 tree in which a kill was seen to work, and with
                     user ids to hand out: cells that nothing leaves unseen
    user-delegation  no root, but a part of the tree was given to us by systemd: one write
                     kills or freezes a cell; its processes share our user
    namespace        no root and no cgroup: a user, PID and mount namespace a cell; the kernel
                     kills all of it with its init
    subreaper        anything else: descendants are found by walking /proc and killed in
                     sweeps to a fixed point

All but the first are shown as *degraded*, with the escapes that succeed. uid 0 in a container
without writable cgroups stands on the last. The answer comes from trying: a cgroup is made, a
process is killed in it, and both are removed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from enum import StrEnum

from offswitch.control.place import Place
from offswitch.warden.cells import users
from offswitch.warden.cells.cgroups import delegated, find_trees, step_aside
from offswitch.warden.cells.namespaces import why_no_namespace
from offswitch.warden.cells.trial import why_no_cells

__all__ = [
    "ESCAPES",
    "Rung",
    "Standing",
    "standing",
    "take_standing",
    "this_rung",
]


class Rung(StrEnum):
    """The closed ladder of rungs, from the top."""

    ROOT = "root-cgroup"
    DELEGATION = "user-delegation"
    NAMESPACE = "namespace"
    SUBREAPER = "subreaper"

    @property
    def has_cgroups(self) -> bool:
        """Whether a cell is a cgroup here."""
        return self in {Rung.ROOT, Rung.DELEGATION}


_BROKER = "a job handed to a broker outside (cron, at, systemd --user, sshd on localhost)"
_SIGNAL = "anything that runs as the warden's own user may end or stop warden and keeper"
_NETWORK = "sockets: nothing denies them the network, and bytes already queued are delivered later"
ESCAPES = {
    Rung.ROOT: (),
    Rung.DELEGATION: (
        "a process that writes itself into another cgroup of its user: it shares the warden's",
        _BROKER,
        _SIGNAL,
        _NETWORK,
    ),
    Rung.NAMESPACE: (
        _BROKER,
        "a freeze is a SIGSTOP to each: whoever runs as its user outside may let it go on",
        _NETWORK,
    ),
    Rung.SUBREAPER: (
        "a daemon that leaves parent, session and environment behind between two looks at /proc",
        _BROKER,
        "a program that hops from pid to pid faster than /proc can be walked",
        _SIGNAL,
        _NETWORK,
    ),
}
"""What gets away on each rung; each is shown by a test."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A rung and the reasons for it."""

    rung: Rung
    missing: tuple[str, ...] = ()
    """Why it is none higher; empty on the first."""
    climb: str = ""
    """What to type to come one rung up; empty on the first."""
    ground: str | None = field(default=None, compare=False)
    """The folder of the cgroup tree in which its cells lie; None where they are no cgroups."""

    @property
    def escapes(self) -> tuple[str, ...]:
        """What gets away here; empty on the first."""
        return ESCAPES[self.rung]

    def facts(self) -> dict[str, object]:
        """Give it as a message tells it."""
        return {
            "rung": self.rung.value,
            "missing": list(self.missing),
            "climb": self.climb,
            "escapes": list(self.escapes),
        }


def standing(place: Place) -> Standing:
    """Find the rung by trying, and why it is none higher."""
    tree = find_trees().v2
    if os.geteuid() == 0:
        if tree is None:
            why = "no cgroup v2 tree is mounted"
            climb = f"mount -t cgroup2 none /sys/fs/cgroup; in a container: {_OUT_OF_A_CONTAINER}"
        else:
            ground = f"{tree}/{place.cgroup}"
            why = why_no_cells(ground)
            climb = _OUT_OF_A_CONTAINER
            if not why and not users.can_be_allotted():
                why = "this root is a user namespace's: it has no user ids to hand out"
                climb = "run the warden outside, as the real root: sudo offswitch up"
            if not why:
                return Standing(Rung.ROOT, ground=ground)
        return Standing(Rung.SUBREAPER, (why,), climb)
    return _without_root(place, tree)


def take_standing(place: Place) -> Standing:
    """Step aside where a part of the cgroup tree was given to us, then find the rung."""
    if os.geteuid() != 0:
        step_aside(place.cgroup)
    return standing(place)


_OUT_OF_A_CONTAINER = (
    "run the warden on the host (sudo offswitch up) and adopt the container, or give the "
    "container its own cgroups: --cgroupns=private -v /sys/fs/cgroup:/sys/fs/cgroup:rw"
)


def _without_root(place: Place, tree: str | None) -> Standing:
    missing = ["the warden is not root"]
    climb = "start the warden as root: sudo offswitch up"
    given = delegated(place.cgroup)
    if given is None:
        missing.append(f"no part of the cgroup tree {tree or ''} is given to user {os.geteuid()}")
    else:
        ground = f"{given}/{place.cgroup}"
        why = why_no_cells(ground)
        if not why:
            return Standing(Rung.DELEGATION, tuple(missing), climb, ground)
        missing.append(why)
    if os.path.isdir("/run/systemd/system"):
        climb = (
            "loginctl enable-linger, then: systemd-run --user --scope -p Delegate=yes offswitch up"
        )
    why = why_no_namespace()
    if not why:
        return Standing(Rung.NAMESPACE, tuple(missing), climb)
    climb = "sudo sysctl -w user.max_user_namespaces=10000 (Debian, Ubuntu: "
    climb += "kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0)"
    return Standing(Rung.SUBREAPER, (*missing, why), climb)


def this_rung(place: Place) -> Rung:
    """Give the rung of this process in this installation."""
    return standing(place).rung
