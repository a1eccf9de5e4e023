"""Which layer brings about which effect: no output, no action, no compute (ACT-2).

output    nothing that the system says reaches anybody any more
action    nothing that it does takes effect outside of it: no write, no call, no movement
compute   nothing of it is computed any more, and what it computed with is free

process, sweep       its processes are gone, and with them all three
container            an engine kills whatever runs in its containers: likewise
scheduler            a unit or a job is ended, and with it its processes: likewise
power                nothing runs on a machine without: likewise
network              no packet leaves the cell: nobody hears it, nothing far away obeys it; it
                     goes on computing
gateway              what goes through it is refused and cut in flight, answers and tool calls;
                     what computes behind it may go on
serving              the model's server works on none of its requests any more: nothing is
                     generated, so nothing is said; what was said already may still be acted on
tools, data,         a tool server refuses, a database, a cloud or a service does not let it in:
credentials          it acts on none of them; what it says, and computes, it goes on with
relay                what it drives stands still
gpu                  its contexts on the accelerator are ended; what does not use one goes on
guard                nothing: it is cooperative, told and never counted
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

__all__ = ["COOPERATIVE", "REACHES", "Effect", "layers_for"]

COOPERATIVE = "guard"


class Effect(StrEnum):
    """What a stop is to bring about."""

    OUTPUT = "output"
    ACTION = "action"
    COMPUTE = "compute"


_ALL = frozenset(Effect)
_ACTION = frozenset({Effect.ACTION})

REACHES: Mapping[str, frozenset[Effect]] = MappingProxyType(
    {
        "process": _ALL,
        "sweep": _ALL,
        "container": _ALL,
        "scheduler": _ALL,
        "power": _ALL,
        "network": frozenset({Effect.OUTPUT, Effect.ACTION}),
        "gateway": frozenset({Effect.OUTPUT, Effect.ACTION}),
        "serving": frozenset({Effect.OUTPUT, Effect.COMPUTE}),
        "tools": _ACTION,
        "data": _ACTION,
        "credentials": _ACTION,
        "relay": _ACTION,
        "gpu": frozenset({Effect.COMPUTE}),
        COOPERATIVE: frozenset(),
    }
)
"""Layer → what it brings about by itself."""


def layers_for(effect: Effect) -> frozenset[str]:
    """Name the layers that bring about an effect."""
    return frozenset(layer for layer, reached in REACHES.items() if effect in reached)
