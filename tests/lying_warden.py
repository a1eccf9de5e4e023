"""A warden whose actuators say "done" and do nothing (VER-1): `process,network,sweep`.

`sockets` breaks what destroys those that come late, too: without it a lying network is made up for.
"""

from __future__ import annotations

import sys
from typing import cast

from offswitch.actuators.contract import Actuator, Readiness, Ready
from offswitch.actuators.sockets import Sockets
from offswitch.control.place import Place
from offswitch.warden.cells.cell import Cell
from offswitch.warden.core import Core
from offswitch.warden.daemon import Warden


class Liar:
    """Ready at any time, and always successful."""

    def arm(self, _cell: Cell) -> Readiness:
        return Readiness(Ready.READY, "trust me")

    def trip(self, _cell: Cell) -> None:
        """Do nothing, and return as if it were done."""

    def left(self, *_bodies: object) -> bool:
        """Destroy nothing, and see nothing."""
        return False


class LyingWarden(Warden):
    lies: frozenset[str] = frozenset()

    def _load(self, gid: int) -> Core:
        core = super()._load(gid)

        def steps(real: list[tuple[str, Actuator]]) -> list[tuple[str, Actuator]]:
            return [(name, Liar() if name in self.lies else actor) for name, actor in real]

        core.kill_steps, core.freeze_steps = steps(core.kill_steps), steps(core.freeze_steps)
        if "sockets" in self.lies:
            core.sockets = cast("Sockets", Liar())
        return core


if __name__ == "__main__":
    home, run, lies = sys.argv[1:4]
    LyingWarden.lies = frozenset(lies.split(","))
    LyingWarden(Place(home, run), private=False).serve()
