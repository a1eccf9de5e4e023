"""Steps: little targets below one that a gateway serves, each holding a part of it back (DEC-6).

    shop/agent          its requests
    shop/agent/writes   … of those, calls of tools that change something

A step has a word of its own and nothing in flight. What lies below a target by one of these names
is a step of it, where nobody declared it for something else.
"""

from __future__ import annotations

from collections.abc import Container

from offswitch.warden.table import Tracked

__all__ = ["STEPS", "whole_of"]

STEPS = ("writes", "tools", "sessions", "model")


def whole_of(row: Tracked, served: Container[str]) -> str:
    """Name the target that `row` is a step of; `served` are those of gateways; empty: of none."""
    above, _, last = row.target.name.rpartition("/")
    undeclared = row.target.kind == "gateway" and row.cell is None
    return above if undeclared and last in STEPS and above in served else ""
