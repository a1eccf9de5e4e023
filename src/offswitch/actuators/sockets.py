"""The network layer's second half: the sockets of a cell are destroyed, orphans included.

A cut that only drops packets is a pause, and bytes that a dead process queued go on being
delivered by the kernel (a slow reader received 3.9 MB after the cell was empty). So after
the kill every socket that bears the cell's number is destroyed, again and again until
none is left: sockets that were being opened at the kill appear a moment later. One trip is
one bounded sweep; `left` says whether another is needed.
"""

from __future__ import annotations

from offswitch.actuators import sock_diag
from offswitch.actuators.contract import Cell, Readiness, Ready

__all__ = ["Sockets"]

_ROUNDS = 3


class Sockets:
    """Destroys by cgroup id, through sock_diag."""

    __slots__ = ()

    def arm(self, cell: Cell) -> Readiness:
        """Ask the kernel once for this cell's sockets: the same question as at the stop."""
        if cell.cgroup_id is None:
            return Readiness(Ready.ABSENT, "no cgroup here: its sockets cannot be told from others")
        try:
            sock_diag.sockets_of(cell.cgroup_id)
        except OSError as error:
            return Readiness(Ready.ABSENT, f"the kernel does not list sockets: {error.strerror}")
        return Readiness(Ready.READY, "sockets are listed by cgroup; destroyed at a kill")

    def trip(self, cell: Cell) -> None:
        """Destroy what is there now; a kernel that refuses leaves it to the observer to say so."""
        self.left(cell)

    def left(self, cell: Cell) -> bool | None:
        """Destroy what is there; say whether anything remains (None: unknown)."""
        if cell.cgroup_id is None:
            return None
        try:
            for _round in range(_ROUNDS):
                found = sock_diag.sockets_of(cell.cgroup_id)
                if not found:
                    return False
                sock_diag.destroy(found)
            return bool(sock_diag.sockets_of(cell.cgroup_id))
        except OSError:
            return None
