"""Empty cells to be removed: the dead may not be reaped yet, last bytes be on their way."""

from __future__ import annotations

from typing import Any

from offswitch.warden.cells.cell import Cell
from offswitch.warden.loop import Loop

__all__ = ["Graves"]

_FIRST_S, _LAST_S = 0.05, 5.0


class Graves:
    """Removes cells, again and again until they are gone."""

    __slots__ = ("_loop", "_open")

    def __init__(self, loop: Loop) -> None:
        """Begin with none."""
        self._loop = loop
        self._open: dict[str, Cell] = {}

    def dig(self, cell: Cell, pause_s: float = _FIRST_S) -> None:
        """Remove `cell`, now or later; it is nobody's any more."""
        if cell.remove():
            self._open.pop(cell.name, None)
            cell.close()
            return
        self._open[cell.name] = cell
        later = min(pause_s * 2, _LAST_S)
        self._loop.later(pause_s, lambda: self.dig(cell, later))

    def facts(self) -> list[dict[str, Any]]:
        """Give what finds those again that are not removed yet."""
        return [cell.facts() for cell in self._open.values()]
