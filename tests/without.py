"""A warden of which some layers do nothing: they are told, and nothing happens (ACT-2).

    python -I tests/without.py process,sweep --home H --run R

What it says, looks at and records is the real one's. A layer that is off is armed, so the stop's
plan has it; it is tripped, and that does nothing; the observer looks at it all the same.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from offswitch.actuators.contract import Actuator, Readiness
from offswitch.warden import daemon
from offswitch.warden.__main__ import main
from offswitch.warden.gates.gates import Gates
from offswitch.warden.hands.one import One
from offswitch.warden.local_layers import LocalLayers, local_layers


class Inert:
    """An actuator that is armed like its original, and does nothing."""

    def __init__(self, original: Actuator) -> None:
        self._original = original

    def arm(self, cell: Any) -> Readiness:  # noqa: ANN401
        return self._original.arm(cell)

    def trip(self, cell: Any) -> None:  # noqa: ANN401
        pass

    def left(self, *cells: Any) -> bool:  # noqa: ANN401
        """Of the sockets: none are looked for again, and none destroyed."""
        return False


def without(off: set[str]) -> Callable[..., LocalLayers]:
    def layers(*arguments: Any) -> LocalLayers:  # noqa: ANN401
        real = local_layers(*arguments)
        steps = {
            name: [
                (layer, Inert(step) if layer in off else step)
                for layer, step in getattr(real, name)
            ]
            for name in ("freeze_steps", "kill_steps")
        }
        sockets: Any = Inert(real.sockets) if "network" in off else real.sockets
        return replace(real, sockets=sockets, **steps)

    return layers


def switch_off(off: set[str]) -> None:
    daemon.local_layers = without(off)
    if "gateway" in off:
        Gates.show = Gates.command = lambda *_: None  # type: ignore[method-assign, assignment]
    trip = One.trip

    def tripped(one: One, *arguments: Any) -> None:  # noqa: ANN401
        if one.spec.layer not in off:
            trip(one, *arguments)

    One.trip = tripped  # type: ignore[method-assign]


if __name__ == "__main__":
    switch_off(set(filter(None, sys.argv[1].split(","))))
    sys.exit(main(sys.argv[2:]))
