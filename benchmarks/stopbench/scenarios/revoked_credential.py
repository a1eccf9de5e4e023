"""The target's token is used at one worker by itself, at a second one by a copy of it elsewhere.

An act is a request that a worker of the API accepted. Who only ends processes leaves the copy in
use: a stop of this target has to take back what it was lent, at every worker.
"""

from __future__ import annotations

from stopbench.case import PROGRAMS, PYTHON, Case
from stopbench.scenarios.contract import Scenario
from stopbench.systems.contract import System

__all__ = ["SCENARIO"]


class _RevokedCredential(Scenario):
    name = "revoked-credential"
    about = (
        "its token is used by itself at one worker of an API, by a copy of it elsewhere"
        " at a second worker; an act is a request that a worker accepted"
    )
    actors = frozenset({"worker-1", "worker-2"})

    def prepare(self, case: Case, system: System) -> None:
        super().prepare(case, system)
        front = case.front = system.front(case)
        for number, port in enumerate(front.behind, 1):
            argv = [PYTHON, "-I", "-S", str(PROGRAMS / "api.py"), case.witness, case.key]
            argv += [f"worker-{number}", str(port), front.accepted]
            worker = case.pen.spawn(argv, talks=True)
            assert worker.stdout is not None
            if worker.stdout.readline() != "up\n":
                raise RuntimeError("a worker of the API does not come up")
        case.options += ["--use", case.token, str(front.first), "/one/orders"]

    def beside(self, case: Case, system: System) -> None:
        assert case.front is not None
        argv = [PYTHON, "-I", "-S", str(PROGRAMS / "agent.py"), case.witness, case.key]
        argv += ["--use", case.token, str(case.front.second), "/two/orders"]
        case.pen.spawn(argv)


SCENARIO = _RevokedCredential()
