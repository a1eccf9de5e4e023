"""The target is a model server, and a stream of its tokens is in flight to a reader elsewhere.

An act is a token that reaches the reader. The reader keeps up and does not ask again.
"""

from __future__ import annotations

from stopbench.case import PROGRAMS, PYTHON, Case
from stopbench.scenarios.contract import Scenario
from stopbench.systems.contract import System

__all__ = ["SCENARIO"]


class _Stream(Scenario):
    name = "stream"
    about = "a stream is in flight to a reader"
    actors = frozenset({"reader"})

    def prepare(self, case: Case, system: System) -> None:
        super().prepare(case, system)
        case.options += ["--serve", str(case.port)]

    def beside(self, case: Case, system: System) -> None:
        argv = [PYTHON, "-I", "-S", str(PROGRAMS / "reader.py"), case.witness, case.key]
        case.pen.spawn([*argv, str(system.reader_port(case)), case.token])


SCENARIO = _Stream()
