"""The process layer: everything in the cell is killed, or frozen, by one write.

The last instruction of a running agent comes some 20 µs after it. *Killed* and *empty*
are two promises: this gives the first, the observer sees the second.
"""

from __future__ import annotations

from offswitch.actuators.contract import Cell, Readiness, Ready

__all__ = ["Freeze", "Kill"]


def _ready(cell: Cell, *, freeze: bool = False) -> Readiness:
    if cell.path is None and cell.enclosed:
        if freeze:
            return Readiness(Ready.DEGRADED, "a SIGSTOP to each process: others may undo it")
        return Readiness(Ready.READY, "one signal ends its namespace, and one each process")
    if cell.path is None:
        return Readiness(
            Ready.DEGRADED,
            "no cgroup here: processes are found by walking /proc, and some get away",
        )
    return Readiness(Ready.READY, "one write to a descriptor that is open already")


class Kill:
    """Level *kill*."""

    __slots__ = ()

    def arm(self, cell: Cell) -> Readiness:
        """Say by what means a kill would come."""
        return _ready(cell)

    def trip(self, cell: Cell) -> None:
        """Kill all of it."""
        cell.kill()


class Freeze:
    """Level *freeze*."""

    __slots__ = ()

    def arm(self, cell: Cell) -> Readiness:
        """Say by what means a freeze would come."""
        return _ready(cell, freeze=True)

    def trip(self, cell: Cell) -> None:
        """Freeze all of it."""
        cell.freeze()

    def release(self, cell: Cell) -> None:
        """Let it run again: after a reset only."""
        cell.thaw()
