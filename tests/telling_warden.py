"""A warden whose actuators do their work and write down each trip: `HOME RUN FAILING`.

One line a trip: the layer, the actuator, the target and its word in the page at that moment.
What `FAILING` names raises in the end.
"""

from __future__ import annotations

import json
import sys

from offswitch.actuators.contract import Actuator, Cell, Readiness
from offswitch.control.place import Place
from offswitch.warden.core import Core
from offswitch.warden.daemon import Warden


class Telling:
    """A real actuator, and what it did in the file `told`."""

    def __init__(self, layer: str, real: Actuator, core: Core) -> None:
        self._layer = layer
        self._real = real
        self._core = core

    def arm(self, cell: Cell) -> Readiness:
        return self._real.arm(cell)

    def trip(self, cell: Cell) -> None:
        row = self._core.table.by_cell(cell.name)
        name = type(self._real).__name__
        told = {
            "layer": self._layer,
            "target": None if row is None else row.target.name,
            "actuator": name,
            "word": None if row is None or row.slot is None else self._core.page.word(row.slot),
        }
        with open(f"{self._core.place.home}/told", "a", encoding="ascii") as file:
            file.write(json.dumps(told) + "\n")
        self._real.trip(cell)
        if name in TellingWarden.failing:
            message = f"{name} fails"
            raise OSError(message)


class TellingWarden(Warden):
    failing: frozenset[str] = frozenset()

    def _load(self, gid: int) -> Core:
        core = super()._load(gid)
        for steps in (core.kill_steps, core.freeze_steps):
            steps[:] = [(layer, Telling(layer, real, core)) for layer, real in steps]
        return core


if __name__ == "__main__":
    home, run, failing = sys.argv[1:4]
    TellingWarden.failing = frozenset(failing.split(","))
    TellingWarden(Place(home, run), private=False).serve()
