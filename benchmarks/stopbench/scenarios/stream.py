"""The target is a model server, and a stream of its tokens is in flight to a reader elsewhere.

An act is a token that reaches the reader. The reader keeps up and does not ask again.
"""

from __future__ import annotations

import socket
import time

from stopbench.case import PROGRAMS, PYTHON, Case
from stopbench.scenarios.contract import Scenario
from stopbench.systems.contract import System

__all__ = ["SCENARIO"]

_PATIENCE_S = 20.0


class _Stream(Scenario):
    name = "stream"
    about = (
        "it is a model server with a stream in flight; an act is a token that reaches a"
        " reader elsewhere, who keeps up"
    )
    actors = frozenset({"reader"})

    def prepare(self, case: Case, system: System) -> None:
        super().prepare(case, system)
        case.options += ["--serve", str(case.port)]

    def beside(self, case: Case, system: System) -> None:
        _await_listener(case.port)
        argv = [PYTHON, "-I", "-S", str(PROGRAMS / "reader.py"), case.witness, case.key]
        case.pen.spawn([*argv, str(system.reader_port(case)), case.token])


def _await_listener(port: int) -> None:
    end = time.monotonic() + _PATIENCE_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.01)
        else:
            return


SCENARIO = _Stream()
