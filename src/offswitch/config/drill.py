"""The table `[drill]`: how often the stop is rehearsed by itself.

    [drill]
    canary = "1h"     # or "off", which is said wherever the configuration is: nothing proves the
                      # layers any more, and what a drill proved is older every day

A drill kills a little target of its own and costs half a second; ten days of clean ones an hour
apart show a failure on demand below one in a hundred.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from offswitch.config.duration import format_duration, parse_duration
from offswitch.config.section import Section

__all__ = ["Drill"]

_OFF = "off"
_HOUR_US = 3_600_000_000
_SHORTEST_US = 10_000_000
"""A drill takes half a second, and one in ten is more than enough."""


def _every(value: object) -> int | None:
    if value == _OFF:
        return None
    if not isinstance(value, str):
        raise ValueError('a duration such as "1h", or "off"')  # noqa: TRY004
    every = parse_duration(value)
    if every < _SHORTEST_US:
        raise ValueError('at least "10s" apart, or "off"')
    return every


def _spelt(every: int | None) -> str:
    return _OFF if every is None else format_duration(every)


Every = Annotated[
    int | None,
    BeforeValidator(_every),
    PlainSerializer(_spelt, return_type=str),
    WithJsonSchema({"type": "string", "examples": ["1h", _OFF]}),
]
"""How often, in microseconds; None: never."""


class Drill(Section):
    """Rehearsals of the stop, on targets that are made for them."""

    canary: Every = _HOUR_US
    """How often the canary drill runs by itself; "off": never, which is a degraded state."""

    def degraded(self) -> list[str]:
        """Say what is given up by this table; empty: nothing."""
        if self.canary is not None:
            return []
        return ['no canary drill runs by itself ([drill] canary = "off"): no layer is proven anew']
