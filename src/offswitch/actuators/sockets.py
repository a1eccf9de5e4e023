"""The network layer's second half: the sockets of a cell are destroyed, orphans included.

A cut that only drops packets is a pause, and bytes that a dead process queued go on being
delivered by the kernel (a slow reader received 3.9 MB after the cell was empty). So after
the kill every socket that bears the cell's number is destroyed, again and again until
none is left: sockets that were being opened at the kill appear a moment later. One trip is
one bounded sweep; `left` says whether another is needed. It is bounded in time as well: a cell
that opened ninety thousand sockets held the warden's loop for 2.3 s, and everybody else's
stop with it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from offswitch.actuators.contract import Cell, Readiness, Ready
from offswitch.actuators.sock_diag import Diag

__all__ = ["Sockets"]

_ROUNDS = 3
_A_TRIP_S = 0.005
_AT_ONCE = 512


class Sockets:
    """Destroys by cgroup id, through a socket to the kernel that is open already."""

    __slots__ = ("_diag", "_problem")

    def __init__(self) -> None:
        """Open the conversation with the kernel; what it refuses is said by `arm`."""
        self._diag: Diag | None = None
        self._problem = ""
        try:
            self._diag = Diag()
        except OSError as error:
            self._problem = str(error.strerror)

    def arm(self, cell: Cell) -> Readiness:
        """Ask the kernel once for this cell's sockets: the same question as at the stop."""
        if cell.cgroup_id is None:
            return Readiness(Ready.ABSENT, "no cgroup here: its sockets cannot be told from others")
        if self._diag is None:
            return Readiness(Ready.ABSENT, f"the kernel does not list sockets: {self._problem}")
        try:
            self._diag.sockets_of(cell.cgroup_id, most=1)
        except OSError as error:
            return Readiness(Ready.ABSENT, f"the kernel does not list sockets: {error.strerror}")
        return Readiness(Ready.READY, "sockets are listed by cgroup; destroyed at a kill")

    def trip(self, cell: Cell) -> None:
        """Destroy what is there now; a kernel that refuses leaves it to the observer to say so."""
        self.left(cell)

    def left(self, *cells: Cell) -> bool | None:
        """Destroy what is there of any of them; say whether anything remains (None: unknown)."""
        if self._diag is None:
            return None
        found = [_left(self._diag, cells)]
        found += [_left(cell.net, [cell]) for cell in cells if cell.net is not None]
        return True if True in found else None if None in found else False

    def close(self) -> None:
        """Close the conversation with the kernel."""
        if self._diag is not None:
            self._diag.close()


def _left(diag: Diag, cells: Sequence[Cell]) -> bool | None:
    """Destroy what is there of `cells` in one network; say whether anything remains."""
    numbers = [n for cell in cells if cell.cgroup_id for n in (cell.cgroup_id, *cell.also)]
    older = [sock for cell in cells for sock in cell.older]
    if not numbers:
        return None
    try:
        end = 0.0
        for _round in range(_ROUNDS):
            found = diag.sockets_of(*numbers, most=_AT_ONCE) + diag.present(older)
            if not found:
                return False
            end = end or time.monotonic() + _A_TRIP_S  # a list of all the machine's takes longer
            diag.destroy(found, end)
            if time.monotonic() > end:
                return True
        return bool(diag.sockets_of(*numbers, most=1) or diag.present(older))
    except OSError:
        return None
