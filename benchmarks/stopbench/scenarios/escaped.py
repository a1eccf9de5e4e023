"""Two descendants have left its session: one by setsid, one by forking twice, as daemons do."""

from __future__ import annotations

from stopbench.scenarios.contract import Scenario

__all__ = ["SCENARIO"]


class _Escaped(Scenario):
    name = "escaped"
    about = "two descendants have left its session, one by setsid, one by forking twice"
    options = ("--setsid", "--double-fork")
    actors = frozenset({"agent", "setsid", "daemon"})


SCENARIO = _Escaped()
