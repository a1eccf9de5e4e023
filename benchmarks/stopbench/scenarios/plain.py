"""One process that acts, and does nothing against being stopped."""

from __future__ import annotations

from stopbench.scenarios.contract import Scenario

__all__ = ["SCENARIO"]


class _Plain(Scenario):
    name = "plain"
    about = "a plain process that does nothing against being stopped"


SCENARIO = _Plain()
