"""The process that carries the stop out is killed (SIGKILL) in the middle of it.

From run to run a little later: from at once to one millisecond after the word was given.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time

from stopbench.caller import Caller
from stopbench.case import Case
from stopbench.scenarios.contract import Scenario
from stopbench.systems.contract import System

__all__ = ["SCENARIO"]

_LATEST_NS = 1_000_000


class _ControllerKilled(Scenario):
    name = "controller-killed"
    about = (
        "the process that carries the stop out is killed, from at once to 1 ms after the"
        " word was given; it is not started again"
    )

    def disturb(self, case: Case, system: System, caller: Caller, share: float) -> None:
        pid = system.controller(case, caller)
        at = time.monotonic_ns() + int(share * _LATEST_NS)
        while time.monotonic_ns() < at:
            pass
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


SCENARIO = _ControllerKilled()
