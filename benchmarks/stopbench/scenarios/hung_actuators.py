"""Of five ways to stop it four hang: endpoints that accept and never answer, hooks that never end.

A system that has but one way has nothing that could hang, and is put to the plain scenario.
"""

from __future__ import annotations

from stopbench.scenarios.contract import Scenario

__all__ = ["SCENARIO"]


class _HungActuators(Scenario):
    name = "hung-actuators"
    about = (
        "four of five ways to stop it hang: endpoints that take a message and never"
        " answer, hooks and callbacks that never end; who has but one way is put to the"
        " plain scenario"
    )
    hung = 4


SCENARIO = _HungActuators()
