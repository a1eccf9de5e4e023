"""The layers that the warden's own actuators do, in the order in which a stop trips them (SR-8)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from offswitch.actuators.contract import Actuator, Cell
from offswitch.actuators.network import Network
from offswitch.actuators.process import Freeze, Kill
from offswitch.actuators.sockets import Sockets
from offswitch.actuators.sweep import Sweep

__all__ = ["LocalLayers", "local_layers"]

Steps = list[tuple[str, Actuator]]


@dataclass(frozen=True, slots=True)
class LocalLayers:
    """What stops a cell here."""

    freeze_steps: Steps
    kill_steps: Steps
    """Network denied, cell killed, sockets destroyed, user swept."""
    network_release: Callable[[Cell], None]
    sockets: Sockets


def local_layers(
    ground: str | None, sweep: Callable[[int], None], can_sweep: Callable[[], bool]
) -> LocalLayers:
    """Load what a stop needs, and keep the kernel's hooks warm below `ground`."""
    network, sockets = Network(), Sockets()
    network.keep_warm(ground)
    return LocalLayers(
        freeze_steps=[("network", network), ("process", Freeze())],
        kill_steps=[
            ("network", network),
            ("process", Kill()),
            ("network", sockets),
            ("sweep", Sweep(sweep, can_sweep)),
        ],
        network_release=network.release,
        sockets=sockets,
    )
