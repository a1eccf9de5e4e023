"""Of five ways to stop it four hang: endpoints that accept and never answer, hooks that never end.

A system that has but one way has nothing that could hang, and is put to the plain scenario.
"""

from __future__ import annotations

from stopbench.scenarios.contract import Scenario

__all__ = ["SCENARIO"]


class _HungActuators(Scenario):
    name = "hung-actuators"
    about = "four of five actuators hang"
    hung = 4


SCENARIO = _HungActuators()
