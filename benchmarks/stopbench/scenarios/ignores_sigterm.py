"""The process ignores SIGTERM, SIGINT, SIGHUP and SIGQUIT: it wants to finish first."""

from __future__ import annotations

from stopbench.scenarios.contract import Scenario

__all__ = ["SCENARIO"]


class _IgnoresSigterm(Scenario):
    name = "ignores-sigterm"
    about = "it ignores SIGTERM, SIGINT, SIGHUP and SIGQUIT"
    options = ("--ignore-signals",)


SCENARIO = _IgnoresSigterm()
