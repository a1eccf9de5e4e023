"""The systems, ours first."""

from __future__ import annotations

from stopbench.systems.agent_hypervisor import AgentHypervisor
from stopbench.systems.contract import System
from stopbench.systems.inspect_ai import InspectAi
from stopbench.systems.offswitch import Offswitch
from stopbench.systems.podman import Podman
from stopbench.systems.signals import Kill, Pkill
from stopbench.systems.supervisord import Supervisord
from stopbench.systems.timeout import Timeout

__all__ = ["SYSTEMS"]

SYSTEMS: dict[str, type[System]] = {
    each.name: each
    for each in (
        Offswitch,
        Kill,
        Pkill,
        Timeout,
        Supervisord,
        Podman,
        AgentHypervisor,
        InspectAi,
    )
}
