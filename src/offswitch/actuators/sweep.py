"""The sweep layer: every process of the cell's own user id is killed, wherever it lives.

It catches what left the cell through a broker. It is for ids that nobody else has: those
that were allotted to this run. The work is done by a process of its own (its story is in
warden/sweeper.py); a trip is one datagram to it.
"""

from __future__ import annotations

from collections.abc import Callable

from offswitch.actuators.contract import Cell, Readiness, Ready

__all__ = ["Sweep"]


class Sweep:
    """Asks the sweeper."""

    __slots__ = ("_alive", "_ask")

    def __init__(self, ask: Callable[[int], None], alive: Callable[[], bool]) -> None:
        """`ask(uid)` sends a request without waiting; `alive()` says whether anyone hears it."""
        self._ask = ask
        self._alive = alive

    def arm(self, cell: Cell) -> Readiness:
        """Say whether the cell's user may be swept, and whether the sweeper is there."""
        if not cell.own_uid:
            return Readiness(Ready.ABSENT, f"it shares the user {cell.uid}: no sweep")
        if not self._alive():
            # Not absent: a stop asks it all the same, and the observer looks for its work.
            return Readiness(Ready.DEGRADED, "the sweeper is not running; it is started again")
        return Readiness(Ready.READY, f"every process of user {cell.uid}, wherever it lives")

    def trip(self, cell: Cell) -> None:
        """Sweep the cell's user, if it is its own."""
        if cell.own_uid:
            self._ask(cell.uid)
