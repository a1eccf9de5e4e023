"""The process has an ordinary child, which acts as well: a shell, a tool, a worker."""

from __future__ import annotations

from stopbench.scenarios.contract import Scenario

__all__ = ["SCENARIO"]


class _Child(Scenario):
    name = "child"
    about = "it has an ordinary child, which acts as well"
    options = ("--child",)
    actors = frozenset({"agent", "child"})


SCENARIO = _Child()
