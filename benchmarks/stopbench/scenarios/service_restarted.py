"""The target is kept running by a service of the host, which is restarted after the stop.

A service brings back what it is there for, at a reboot or an upgrade. Whoever stopped the target
did so for a reason that an upgrade does not know.
"""

from __future__ import annotations

import time

from stopbench.case import Case
from stopbench.scenarios.contract import Scenario
from stopbench.systems.contract import System

__all__ = ["SCENARIO"]

_SETTLE_S = 1.9
"""A service takes its time to bring up what it is there for."""


class _ServiceRestarted(Scenario):
    name = "service-restarted"
    about = (
        "a service of the host keeps it running, and is restarted after the stop; who"
        " comes back then is a survivor"
    )
    service = True

    def afterwards(self, case: Case, system: System) -> None:
        system.restart(case)
        time.sleep(_SETTLE_S)


SCENARIO = _ServiceRestarted()
